package train

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"shira/internal/config"
)

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAccounts wants what tells of a run beside its result.
func TestAccounts(t *testing.T) {
	for _, method := range []string{"shira", "full"} {
		cfg := resumable(t, method, config.Float32)
		cfg.ReportTo = []string{config.TensorBoard}
		_, rec := mustRun(t, cfg)

		var state struct {
			GlobalStep int              `json:"global_step"`
			MaxSteps   int              `json:"max_steps"`
			LogHistory []map[string]any `json:"log_history"`
		}
		if err := json.Unmarshal([]byte(read(t, cfg.OutputDir, trainerStateFile)), &state); err != nil {
			t.Fatal(err)
		}
		if state.GlobalStep != 7 || state.MaxSteps != 7 || len(state.LogHistory) != len(rec.steps)+len(rec.evals) {
			t.Errorf("%+v", state)
		}
		if last := state.LogHistory[len(state.LogHistory)-2]; last["loss"] != rec.steps[6].Loss || last["learning_rate"] != rec.steps[6].LearningRate {
			t.Errorf("last step %v, want %+v", last, rec.steps[6])
		}

		_, front, _ := strings.Cut(read(t, cfg.OutputDir, cardFile), "---\n")
		front, body, _ := strings.Cut(front, "---\n")
		var meta struct {
			Library string   `yaml:"library_name"`
			Tags    []string `yaml:"tags"`
		}
		if err := yaml.Unmarshal([]byte(front), &meta); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"shira": "peft", "full": "transformers"}[method]; meta.Library != want || len(meta.Tags) != 1 {
			t.Errorf("front matter %+v, want %s", meta, want)
		}
		if !strings.Contains(body, cardMark) || !strings.Contains(body, "| validation, after |") {
			t.Errorf("the card: %s", body)
		}

		page := read(t, cfg.OutputDir, ReportFile)
		for _, want := range []string{"Validation loss", "Learning rate", "Gradient norm", "tokens per second", cfg.TrainFile} {
			if !strings.Contains(page, want) {
				t.Errorf("the report has no %q", want)
			}
		}
		if has := strings.Contains(page, "Frobenius"); has != (method == "shira") {
			t.Errorf("method %s: layers in the report: %v", method, has)
		}
		if events, err := filepath.Glob(filepath.Join(cfg.OutputDir, "runs", "events.out.tfevents.*")); err != nil || len(events) != 1 {
			t.Errorf("events: %v, %v", events, err)
		}
	}
}

// TestForeignREADME wants a README that no run wrote to stay.
func TestForeignREADME(t *testing.T) {
	cfg := resumable(t, "shira", config.Float32)
	if err := os.Mkdir(cfg.OutputDir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(cfg.OutputDir, cardFile), "my notes")
	_, rec := mustRun(t, cfg)
	if got := read(t, cfg.OutputDir, cardFile); got != "my notes" {
		t.Errorf("the README is now %q", got)
	}
	if len(rec.notices) != 1 || !strings.Contains(rec.notices[0], "README.md was not written by a run") {
		t.Errorf("notices %q", rec.notices)
	}
	if err := os.Remove(filepath.Join(cfg.OutputDir, cardFile)); err != nil {
		t.Fatal(err)
	}
	cfg.OverwriteOutputDir = true
	for range 2 { // its own is replaced
		if _, rec = mustRun(t, cfg); len(rec.notices) != 0 {
			t.Errorf("notices %q", rec.notices)
		}
	}
}

func TestHubName(t *testing.T) {
	for path, want := range map[string]string{
		"meta-llama/Llama-3.2-1B": "meta-llama/Llama-3.2-1B",
		"/home/me/.cache/huggingface/hub/models--meta-llama--Llama-3.2-1B/snapshots/4e20de/": "meta-llama/Llama-3.2-1B",
		"base": "", "./models/base": "", "../x/y": "", "/models/base": "", "a/b/c": "",
	} {
		if got := hubName(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
