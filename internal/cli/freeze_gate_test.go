package cli

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/testmodel"
)

// TestFrozenGateFuses wants an adapter with a gate that was frozen to score fused as it does beside the weights.
func TestFrozenGateFuses(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := testmodel.Write("base", 1, checkpoint.F32); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("data.jsonl", []byte(strings.Repeat(`{"text":"the cat sat on the mat"}`+"\n", 20)), 0o644); err != nil {
		t.Fatal(err)
	}
	do := func(line string) string {
		t.Helper()
		code, stdout, stderr := run(strings.Fields(line)...)
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", line, code, stderr)
		}
		return stdout
	}
	loss := func(line string) float64 {
		t.Helper()
		var o struct {
			Results struct{ Perplexity struct{ Loss float64 } }
		}
		if err := json.Unmarshal([]byte(do(line)), &o); err != nil {
			t.Fatal(err)
		}
		return o.Results.Perplexity.Loss
	}
	const config = "model_name_or_path: base\ntrain_file: data.jsonl\noutput_dir: out\nmethod: foura\nr: 2\n" +
		"target_modules: [q_proj, v_proj]\nmax_steps: 6\nlearning_rate: 5e-2\nmax_seq_length: 32\n"
	if err := os.WriteFile("run.yaml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	do("train -q --config run.yaml")
	do("freeze-gate out --model base --data data.jsonl -o frozen")
	do("fuse base frozen -o fused")
	base, beside, fused := loss("eval base --data data.jsonl --json"),
		loss("eval base --data data.jsonl --adapter frozen --json"), loss("eval fused --data data.jsonl --json")
	if math.Abs(fused-beside) > 1e-5 || math.Abs(base-beside) < 1e-3 {
		t.Errorf("the loss of the base is %v, with the adapter %v, fused %v", base, beside, fused)
	}
}
