package train

import (
	"context"
	"fmt"

	"shira/internal/adapter"
	"shira/internal/config"
	"shira/internal/eval"
	"shira/internal/nn"
)

// closeGates measures how far foura's gates are open over the calibration examples, and with gate: frozen fixes them there.
// The validation loss is then that of what is written.
func (t *trainer) closeGates(ctx context.Context, r *Result) error {
	if t.cfg.Method != "foura" || t.gate() == config.GateNone {
		return nil
	}
	scorer := t.scorer
	if scorer == nil {
		var err error
		if scorer, err = eval.NewScorer(t.model); err != nil {
			return err
		}
		defer scorer.Close()
	}
	examples := calibrationExamples(t.train, t.cfg.CalibrationSamples)
	means, err := scorer.MeanGates(ctx, t.model.Linears(), examples, evalTokens)
	if err != nil {
		return err
	}
	for _, d := range t.deltas {
		if mean, ok := means[d.Module()]; ok {
			r.OpenRanks = append(r.OpenRanks, eval.OpeningOf(d.Module(), mean))
		}
	}
	t.openRanks = r.OpenRanks
	if t.gate() != config.GateFrozen {
		return nil
	}
	for _, d := range t.deltas {
		if f, ok := d.(*adapter.FouRA); ok {
			f.Freeze(means[f.Name])
			t.model.Linear(f.Name).LowRank[0].Gate = &nn.Gate{Mean: f.Gate.Mean}
		}
	}
	t.obs.Notice(fmt.Sprintf("the gates are fixed to their means over %d examples", examples.Len()))
	if t.scorer == nil {
		return nil
	}
	score, err := t.score(ctx)
	if err != nil {
		return err
	}
	r.EvalLoss = &score.Loss
	return nil
}
