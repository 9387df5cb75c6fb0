package train

import (
	"cmp"
	"encoding/json"
	"slices"
)

// trainerStateFile is what the Trainer of Hugging Face leaves, for tools that read it.
const trainerStateFile = "trainer_state.json"

// trainerState returns its content, with the fields of transformers' TrainerState.
func (t *trainer) trainerState() ([]byte, error) {
	type entry struct {
		step int
		line map[string]any
	}
	var log []entry
	for _, s := range t.out.steps {
		log = append(log, entry{s.Step, map[string]any{
			"epoch": s.Epoch, "grad_norm": s.GradNorm, "learning_rate": s.LearningRate, "loss": s.Loss, "step": s.Step}})
	}
	for _, e := range t.out.evals {
		log = append(log, entry{e.Step, map[string]any{"epoch": e.Epoch, "eval_loss": e.Loss, "step": e.Step}})
	}
	slices.SortStableFunc(log, func(a, b entry) int { return cmp.Compare(a.step, b.step) })
	history := []map[string]any{}
	for _, e := range log {
		history = append(history, e.line)
	}
	var best any
	if t.keepBest() > 0 {
		best = t.out.checkpointDir(t.BestStep)
	}
	state := map[string]any{
		"best_global_step": t.BestStep, "best_metric": t.BestLoss, "best_model_checkpoint": best,
		"epoch": t.Epoch, "eval_steps": t.cfg.EvalSteps, "global_step": t.Step,
		"is_hyper_param_search": false, "is_local_process_zero": true, "is_world_process_zero": true,
		"log_history": history, "logging_steps": t.cfg.LoggingSteps, "max_steps": t.steps, "num_input_tokens_seen": t.Tokens,
		"num_train_epochs": t.cfg.NumTrainEpochs, "save_steps": t.cfg.SaveSteps, "stateful_callbacks": map[string]any{},
		"total_flos": 0, "train_batch_size": t.cfg.BatchSize, "trial_name": nil, "trial_params": nil,
	}
	b, err := json.MarshalIndent(state, "", "  ")
	return append(b, '\n'), err
}
