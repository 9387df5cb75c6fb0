package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/fault"
)

// setWeights makes all values of a tensor of cfg's base, which is in float32, the given one.
func setWeights(t *testing.T, cfg *config.Train, name string, value float32) {
	t.Helper()
	path := filepath.Join(cfg.ModelNameOrPath, checkpoint.ModelFile)
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	offset, n := tensor.Offset(), tensor.Len()
	f.Close()
	b := []byte(read(t, path))
	for i := range n {
		binary.LittleEndian.PutUint32(b[offset+int64(4*i):], math.Float32bits(value))
	}
	write(t, path, string(b))
}

// TestNotFiniteBase wants the first bad tensor by its name, and the base blamed, not the learning rate.
func TestNotFiniteBase(t *testing.T) {
	const nan, large = "model.layers.1.mlp.down_proj.weight", 1e38
	for _, c := range []struct {
		tensor     string
		value      float32
		validation bool
		want       string
	}{
		{nan, float32(math.NaN()), false, `step 1: the weights of "model.layers.1.mlp.down_proj" are not finite`},
		{nan, float32(math.NaN()), true, `verse.jsonl is NaN: the weights of "model.layers.1.mlp.down_proj" are not finite`},
		{"model.norm.weight", float32(math.Inf(1)), false, `step 1: the weights of "model.norm.weight" are not finite`},
		// Values that are finite, but whose products are not.
		{"model.layers.0.mlp.down_proj.weight", large, false, "is that of the linear model.layers.0.mlp.down_proj"},
		{"model.layers.0.mlp.down_proj.weight", large, true, "verse.jsonl:1 is NaN: the first value that is not finite is that of the linear model.layers.0.mlp.down_proj"},
		{"model.layers.1.self_attn.q_proj.weight model.layers.1.self_attn.k_proj.weight", 1e25, false, "is that of the attention after model.layers.1.self_attn.q_proj"},
	} {
		cfg := tinyConfig(t, checkpoint.F32)
		for name := range strings.FieldsSeq(c.tensor) {
			setWeights(t, cfg, name, c.value)
		}
		if !c.validation {
			cfg.ValidationFile = ""
		}
		cfg.OutputDir = filepath.Join(cfg.OutputDir, "deeper")
		_, err := Run(context.Background(), cfg, &recorder{})
		if _, err := os.Stat(filepath.Dir(cfg.OutputDir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s = %v: a run that came to nothing left its directory: %v", c.tensor, c.value, err)
		}
		e, _ := errors.AsType[*fault.Error](err)
		if fault.KindOf(err) != fault.Numerical || e == nil || !strings.Contains(e.Hint, "base's weights") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v: %v, want %q", c.tensor, c.value, err, c.want)
		}
	}
}

// TestDivergenceKeepsCheckpoint wants the checkpoints before a divergence to stay, and the error to name the last.
func TestDivergenceKeepsCheckpoint(t *testing.T) {
	cfg := resumable(t, "full", config.Float32)
	// A first step at rate 0, and then one that is far too long.
	cfg.LearningRate, cfg.MaxGradNorm, cfg.SaveSteps, cfg.SaveTotalLimit, cfg.EvalSteps = 1e20, 0, 1, 0, 0
	_, err := Run(context.Background(), cfg, &recorder{})
	if fault.KindOf(err) != fault.Numerical || !strings.Contains(err.Error(), "step 3: the ") || !strings.Contains(fault.HintOf(err), "the last checkpoint is "+filepath.Join(cfg.OutputDir, "checkpoint-2")) {
		t.Fatalf("%v (hint %q)", err, fault.HintOf(err))
	}
	for _, step := range []int{1, 2} {
		if err := checkSums(filepath.Join(cfg.OutputDir, fmt.Sprintf("checkpoint-%d", step))); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(cfg.OutputDir, checkpoint.ModelFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a result was written: %v", err)
	}
}

func TestSpikes(t *testing.T) {
	var s spikes
	noise := func(i int) float64 { return 3 + 0.1*float64(i%5) }
	for i := range 100 {
		if s.see(noise(i)) != 0 {
			t.Fatalf("step %d of a quiet run is a spike", i)
		}
	}
	if s.see(3.6) != 0 {
		t.Error("a little more is a spike")
	}
	if above := s.see(5); above < 3 || above > 3.4 {
		t.Errorf("a spike from %v", above)
	}
	if s.see(6) != 0 {
		t.Error("the same spike is told twice")
	}
	var few spikes
	few.see(1)
	if few.see(9) != 0 {
		t.Error("a second step is a spike")
	}
}
