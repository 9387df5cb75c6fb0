package train

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/config"
	"shira/internal/data"
	"shira/internal/fault"
)

// TestEpochIsAnEpoch wants every row once an epoch, whatever batches and accumulation divide it into: the last step has
// what is left, and its loss is still the mean over its tokens.
func TestEpochIsAnEpoch(t *testing.T) {
	rows := make([][]int64, 10)
	tokens := 0
	for i := range rows {
		for j := range 3 + i {
			rows[i] = append(rows[i], int64(3+(i*7+j*5)%20))
		}
		tokens += len(rows[i])
	}
	for _, tt := range []struct{ batch, accumulate, steps int }{{10, 1, 1}, {1, 16, 1}, {4, 1, 3}, {2, 2, 3}, {3, 2, 2}} {
		t.Run(fmt.Sprintf("%d x %d", tt.batch, tt.accumulate), func(t *testing.T) {
			cfg := tinyConfig(t, checkpoint.F32)
			cfg.TrainFile, cfg.ValidationFile = writeRows(t, rows), ""
			cfg.Packing, cfg.Shuffle = false, false
			cfg.MaxSteps, cfg.NumTrainEpochs, cfg.LearningRate = 0, 2, 1e-30 // so small that nothing changes
			cfg.BatchSize, cfg.GradientAccumulationSteps = tt.batch, tt.accumulate
			res, rec := mustRun(t, cfg)
			if res.Steps != 2*tt.steps {
				t.Fatalf("%d steps, want %d", res.Steps, 2*tt.steps)
			}
			for epoch := 1; epoch <= 2; epoch++ {
				last := rec.steps[epoch*tt.steps-1]
				if last.Tokens != int64(epoch*tokens) || last.Epoch != float64(epoch) {
					t.Errorf("after epoch %d: %d tokens, want %d; epoch %g", epoch, last.Tokens, epoch*tokens, last.Epoch)
				}
			}
			// The token-weighted mean over the steps of an epoch is that over its tokens, whatever the steps.
			var sum, counted float64
			seen := int64(0)
			rowsDone := 0
			for _, s := range rec.steps[:tt.steps] {
				n := min(tt.batch*tt.accumulate, len(rows)-rowsDone)
				labels := float64(s.Tokens-seen) - float64(n) // a row's first token does not count
				seen, rowsDone = s.Tokens, rowsDone+n
				sum, counted = sum+s.Loss*labels, counted+labels
			}
			if want := epochLoss(t, rows); math.Abs(sum/counted-want) > 1e-5 {
				t.Errorf("mean loss of the epoch %v, want %v", sum/counted, want)
			}
		})
	}
}

// epochLoss is the loss over all rows in one step.
func epochLoss(t *testing.T, rows [][]int64) float64 {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.TrainFile, cfg.ValidationFile = writeRows(t, rows), ""
	cfg.Packing, cfg.Shuffle = false, false
	cfg.MaxSteps, cfg.BatchSize = 1, len(rows)
	_, rec := mustRun(t, cfg)
	return rec.steps[0].Loss
}

// TestHeldOut trains on a part of the data and validates on the rest.
func TestHeldOut(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	cfg.ValidationFile, cfg.ValSetSize, cfg.MaxSteps = "", 0.25, 1
	res, rec := mustRun(t, cfg)
	if res.EvalLoss == nil || len(rec.evals) != 2 {
		t.Fatal("no validation")
	}
	var examples [2]int
	for i, f := range rec.plan.Files {
		examples[i] = f.Examples
	}
	if len(rec.plan.Files) != 2 || examples[1] == 0 || examples[0] <= 2*examples[1] {
		t.Errorf("parts of %v examples", examples)
	}
}

// TestMixedFiles trains on two files with weights, one of them with odd names.
func TestMixedFiles(t *testing.T) {
	cfg := tinyConfig(t, checkpoint.F32)
	a := writeRows(t, [][]int64{{3, 4, 5}, {4, 5, 6}, {5, 6, 7}, {6, 7, 8}})
	b := filepath.Join(t.TempDir(), "b.json")
	if err := os.WriteFile(b, []byte(`[{"ids": [7, 8, 9]}, {"ids": [9, 8, 7]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.TrainFile, cfg.ValidationFile = "", ""
	cfg.Datasets = []config.Dataset{{Path: a, Weight: 1}, {Path: b, Type: "tokens", Weight: 1, Columns: map[string]string{"input_ids": "ids"}}}
	cfg.MaxSteps, cfg.NumTrainEpochs, cfg.Packing, cfg.BatchSize = 0, 3, false, 1
	res, rec := mustRun(t, cfg)
	if res.Steps != 12 || rec.plan.StepsPerEpoch != 4 {
		t.Errorf("%d steps, %d an epoch, want 12 and 4: two examples of each file", res.Steps, rec.plan.StepsPerEpoch)
	}
}

// TestDatasetTables compares the names that the configuration knows with those that package data does.
func TestDatasetTables(t *testing.T) {
	for name, aliases := range config.DatasetTypes {
		for _, n := range append([]string{name}, aliases...) {
			if got, ok := data.TypeNamed(n); !ok || got != name {
				t.Errorf("type %s is %q in package data, want %s", n, got, name)
			}
		}
	}
	if len(config.DatasetTypes) != len(data.Types()) {
		t.Errorf("%d types, in package data %d", len(config.DatasetTypes), len(data.Types()))
	}
	if got, want := fmt.Sprint(config.DatasetFormats, config.DatasetSamples), fmt.Sprint(data.Formats, data.Samples); got != want {
		t.Errorf("%s, in package data %s", got, want)
	}
	for _, f := range data.Fields {
		d := config.Dataset{Path: "a", Columns: map[string]string{f: "x"}}
		if !strings.Contains(d.String(), f) {
			t.Errorf("the configuration has no name for the field %s", f)
		}
	}
}

// TestDataErrors wants what is wrong with data to be found before anything is written.
func TestDataErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*config.Train)
		kind   fault.Kind
		want   string
	}{
		"beyond the vocabulary": {func(c *config.Train) { c.TrainFile = writeRows(t, [][]int64{{1, 1 << 20}}) }, fault.Malformed, "outside the vocabulary"},
		"nothing counts":        {func(c *config.Train) { c.TrainFile = writeRows(t, [][]int64{{1}}) }, fault.Malformed, ":1: no token to predict"},
		"all held out":          {func(c *config.Train) { c.ValidationFile, c.ValSetSize = "", 1e6 }, fault.Usage, "none would be left"},
		"no template":           {func(c *config.Train) { c.ChatTemplate = "absent" }, fault.Environment, "no chat template of that name"},
	} {
		cfg := tinyConfig(t, checkpoint.F32)
		tt.change(cfg)
		_, err := MakePlan(context.Background(), cfg)
		if err == nil || fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
