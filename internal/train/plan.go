package train

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/nn"
	"shira/internal/procstat"
)

// MakePlan sets a run up, without training or writing anything, and returns what it would do. What keeps a run from
// starting is no error here: a note, or where it would not fit in memory the plan's Refusal.
func MakePlan(ctx context.Context, cfg *config.Train) (*Plan, error) {
	s := &session{cfg: cfg, dry: true}
	if err := s.setUp(ctx); err != nil {
		return nil, err
	}
	defer s.close()
	machine, err := s.compile()
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	if err := checkOutput(cfg); fault.KindOf(err) == fault.Usage {
		s.notices = append(s.notices, fmt.Sprintf("a run would not start: %v: %s", err, fault.HintOf(err)))
	} else if err != nil {
		return nil, err
	}
	from, err := resumeFrom(cfg, func(n string) { s.notices = append(s.notices, n) })
	if err != nil {
		return nil, err
	}
	if from != nil {
		defer from.close()
		if changed := cfg.Changed(from.Config); len(changed) > 0 {
			return nil, from.refuse(changed)
		}
		s.notices = append(s.notices, fmt.Sprintf("the run goes on after step %d, from %s", from.Step, from.dir))
	}
	plan := s.plan()
	plan.Refusal = s.checkMemory()
	return plan, nil
}

// overMemory returns the estimate of a run that takes more than max_memory, and 0 of any other. The graph must be compiled.
func (s *session) overMemory() int64 {
	if need := totalMemory(s.planMemory()); s.cfg.MaxMemory > 0 && need > int64(s.cfg.MaxMemory*(1<<30)) {
		return need
	}
	return 0
}

// checkMemory refuses a run that does not fit in max_memory whatever compile turned on for that.
func (s *session) checkMemory() error {
	need := s.overMemory()
	if need == 0 {
		return nil
	}
	var lower []string
	if s.loader.BatchSize() > 1 {
		lower = append(lower, "lower per_device_train_batch_size")
	}
	lower = append(lower, "lower max_seq_length")
	if !s.cfg.Half() {
		lower = append(lower, "set compute_dtype: bfloat16")
	}
	hint := strings.Join(lower, ", or ")
	if !s.dry {
		hint += "; --dry-run lists what takes the memory"
	}
	return fault.New(fault.Usage, "", "the run needs about %.2f GiB even with gradient_checkpointing; max_memory is %g GiB",
		float64(need)/(1<<30), s.cfg.MaxMemory).WithHint("%s", hint)
}

func totalMemory(memory []PlanMemory) (n int64) {
	for _, m := range memory {
		n += m.Bytes
	}
	return n
}

// machineMemory is procstat.Memory but in tests.
var machineMemory = procstat.Memory

// tooMuch says that a run needs more memory than the machine has, "" where it does not, or limit is 0 for unknown.
func tooMuch(memory []PlanMemory, limit int64) string {
	need := totalMemory(memory)
	if limit == 0 || need <= limit {
		return ""
	}
	return fmt.Sprintf("the run needs about %.2f GiB, more than the %.3g GiB of this machine: set max_memory, or lower per_device_train_batch_size or max_seq_length",
		float64(need)/(1<<30), float64(limit)/(1<<30))
}

// factorsFit refuses factors that would take more than max_memory, or than the machine has, before they are made: each of
// their values has a gradient and two moments beside it.
func (s *session) factorsFit(targets []*nn.Weight) error {
	var need int64
	for _, w := range targets {
		r, _, err := s.ranks.Rank(w.Name)
		if err != nil {
			return fault.Wrap(fault.Usage, "", err, "%s", fault.Quote(w.Name))
		}
		need += 4 * 4 * int64(r) * int64(w.Out+w.In)
	}
	limit, what := machineMemory(), "this machine has"
	if m := int64(s.cfg.MaxMemory * (1 << 30)); m > 0 && (limit == 0 || m < limit) {
		limit, what = m, "max_memory is"
	}
	if limit == 0 || need <= limit {
		return nil
	}
	return fault.New(fault.Usage, "", "factors of this rank take about %.2f GiB in training; %s %.3g GiB",
		float64(need)/(1<<30), what, float64(limit)/(1<<30)).WithHint("lower r or rank_pattern")
}

// plan describes the run. The graph must be compiled.
func (s *session) plan() *Plan {
	cfg := s.cfg
	p := &Plan{
		Model: cfg.ModelNameOrPath, Method: cfg.Method, Parameters: s.model.Parameters(), Trained: s.trained(),
		Files: s.planFiles(), StepsPerEpoch: s.loader.Steps(1, cfg.GradientAccumulationSteps),
		Examples: s.train.Len(), Truncated: s.train.Stats.Truncated, NoLabels: s.train.Stats.NoLabels, Steps: s.steps, Notices: s.notices,
		TokensPerStep: s.batchTokens() * cfg.GradientAccumulationSteps,
	}
	if cfg.Method == "full" {
		p.Targets = []PlanTarget{{Pattern: "all", Matched: len(s.model.Weights()) + len(s.model.Gains()), Weights: p.Parameters, Trained: p.Trained}}
	} else {
		if cfg.UsesMask() {
			if p.Mask = cfg.Mask; s.start != nil {
				p.Mask = s.start.Config.Mask
			}
		}
		p.Targets = s.planTargets()
	}
	var weights int64
	for _, t := range p.Targets {
		weights += t.Weights
	}
	p.ShareOfTargets = float64(p.Trained) / float64(weights)
	p.ShareOfModel = float64(p.Trained) / float64(p.Parameters)
	p.AdapterBytes = s.writtenBytes()
	p.Memory = s.planMemory()
	p.MemoryTotal, p.Checkpointing = totalMemory(p.Memory), cfg.GradientCheckpointing
	if n := tooMuch(p.Memory, machineMemory()); n != "" && cfg.MaxMemory == 0 {
		p.Notices = append(p.Notices, n)
	}
	return p
}

// trained returns the number of trained values.
func (s *session) trained() int64 {
	if s.cfg.Method == "full" {
		return s.model.Parameters()
	}
	var n int64
	for _, d := range s.deltas {
		n += s.trainedOf(d)
	}
	return n
}

// trainedOf returns the number of values that training changes for a delta.
func (s *session) trainedOf(d adapter.Delta) int64 {
	var n int64
	for _, p := range s.weightOf(d).Params() {
		n += int64(len(p.Value))
	}
	return n
}

// batchTokens is the most tokens of one micro-batch.
func (s *session) batchTokens() int {
	return s.loader.BatchSize() * min(s.rowLimit, s.longestRow())
}

// longestRow is the most tokens of a training row.
func (s *session) longestRow() int {
	if s.cfg.Packing {
		return s.rowLimit
	}
	return s.train.Stats.Longest
}

// planTargets groups the trained weights by the target that matched them, or by kind of layer where the deltas come from an
// adapter or from no list of names.
func (s *session) planTargets() []PlanTarget {
	t, err := newTargets(s.cfg)
	names := s.cfg.TargetModules
	find := func(module string) int { return t.find(module) }
	if err != nil || s.start != nil || !t.named() {
		names = layerKinds(s.model)
		find = func(module string) int {
			return slices.IndexFunc(names, func(n string) bool { return config.MatchesModule(module, n) })
		}
	}
	rows := make([]PlanTarget, len(names))
	for _, d := range s.deltas {
		i := find(d.Module())
		if i < 0 {
			continue
		}
		r := &rows[i]
		out, in := d.Shape()
		if r.Matched == 0 {
			*r = PlanTarget{Pattern: names[i], Out: out, In: in}
		}
		r.Matched++
		r.Weights += int64(out) * int64(in)
		r.Trained += s.trainedOf(d)
		if rank := s.rankOf(d); rank > 0 && !slices.Contains(r.Ranks, rank) {
			r.Ranks = append(r.Ranks, rank)
		}
	}
	var used []PlanTarget
	for _, r := range rows {
		if r.Matched > 0 {
			slices.Sort(r.Ranks)
			used = append(used, r)
		}
	}
	return used
}

// rankOf returns the rank of the factors that are trained for a delta, 0 where there are none.
func (s *session) rankOf(d adapter.Delta) int {
	w := s.weightOf(d)
	switch {
	case w.Masked != nil:
		return w.Masked.R
	case len(w.LowRank) > 0:
		return w.LowRank[0].R
	}
	return 0
}

// writtenBytes is the size of the tensors that the run writes.
func (s *session) writtenBytes() int64 {
	if s.cfg.Method == "full" {
		return s.model.Checkpoint.Size()
	}
	var n int64
	for _, d := range s.deltas {
		entries := int64(0)
		switch d := d.(type) {
		case *adapter.Sparse:
			entries = int64(len(d.Values))
		case *adapter.ShiraDora:
			entries = int64(len(d.S.Values))
		}
		n += 4*int64(d.Parameters()) + indexBytes*entries
	}
	return n
}

// indexBytes is what an adapter file holds per trained entry besides its value: two indices.
const indexBytes = 8

// trainedBytes is what all that is trained takes in memory.
func (s *session) trainedBytes() int64 {
	// Each trained value has a gradient and two moments, and is itself no part of the model but with method full.
	perValue := int64(3 * 4)
	if s.deltas != nil {
		perValue += 4
	}
	if s.cfg.GradientAccumulationSteps > 1 {
		perValue += 4
	}
	n := perValue * s.trained()
	for _, d := range s.deltas {
		n += s.weightOf(d).TrainingBytes()
	}
	return n
}

// planMemory estimates the peak by component.
func (s *session) planMemory() []PlanMemory {
	longest := min(s.rowLimit, s.train.Stats.Longest)
	m := s.graph.Memory(s.batchTokens(), longest)
	var scoring nn.Memory
	scored := 0 // the longest row that is
	if s.valid != nil {
		scored = s.valid.Stats.Longest
	}
	if s.cfg.Method == "foura" && s.gate() != config.GateNone { // in the end, the gates over calibration examples
		scored = max(scored, s.train.Stats.Longest)
	}
	if scored > 0 {
		if g := nn.NewGraph(nn.Options{}); s.addLoss(g) == nil {
			scoring = g.Memory(max(evalTokens, scored), scored)
		}
	}
	weights, trained, examples := s.weightBytes(), s.trainedBytes(), s.train.Resident()
	// The mask is calibrated before all that a step needs is there.
	step := trained + m.Activations + m.Shared + scoring.Shared + m.Logits + scoring.Logits + m.Attention + scoring.Attention
	all := []PlanMemory{
		{"weights", weights},
		{"trained values, gradients and optimizer", trained},
		{"activations kept for the backward pass", m.Activations},
		{"activations shared by the layers", m.Shared + scoring.Shared},
		{"logits", m.Logits + scoring.Logits},
		{"attention", m.Attention + scoring.Attention},
		{"examples", examples},
		{"program", max(programBytes, s.resident-weights-trained-examples) + garbageBytes},
	}
	if more := s.calibration - step; more > 0 {
		all = append(all, PlanMemory{"calibration of the mask, beyond what a step takes", more})
	}
	return all
}

// weightBytes is what the model's weights take.
func (s *session) weightBytes() int64 {
	var n int64
	for _, w := range s.model.Weights() {
		n += 4*int64(len(w.Data)) + 2*int64(len(w.Half))
	}
	for _, g := range s.model.Gains() {
		n += 4 * int64(len(g.Data))
	}
	return n
}

// programBytes is the least that the program itself takes: code, runtime and the graph. What is resident once everything is
// loaded says more where the system knows that.
const programBytes = 24 << 20

// garbageBytes is what steps leave to the garbage collector before it runs.
const garbageBytes = 8 << 20

func (s *session) addLoss(g *nn.Graph) error {
	_, err := s.model.Loss(g)
	return err
}
