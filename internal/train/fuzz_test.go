package train

import (
	"os"
	"path/filepath"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// FuzzCheckpoint reads arbitrary bytes as the state, the metrics and the list of hashes of a checkpoint; without a list it has
// the right hashes. What is refused is the file's fault.
func FuzzCheckpoint(f *testing.F) {
	f.Add(`{"version":1,"step":3,"loader":{"epoch":0,"row":2},"config":{"seed":"42"}}`, []byte(`{"step":1,"loss":2}`+"\n"), "")
	f.Add(`{"version":1,"step":-1}`, []byte("{"), "")
	f.Add(`{"version":99}`, []byte(`{"step":1e400}`), "00  training_state.safetensors\n")
	f.Add(`{`, []byte("\n\n"), "x")
	f.Fuzz(func(t *testing.T, state string, metrics []byte, sums string) {
		dir := t.TempDir()
		tensors := []checkpoint.Entry{checkpoint.Float32Entry("w"+valueSuffix, checkpoint.F32, []int{2}, []float32{1, 2})}
		if err := checkpoint.Write(filepath.Join(dir, stateFile), tensors, map[string]string{stateKey: state}); err != nil {
			return // no text that a safetensors file can hold
		}
		if err := os.WriteFile(filepath.Join(dir, metricsFile), metrics, 0o600); err != nil {
			t.Fatal(err)
		}
		if sums == "" {
			if err := writeSums(dir); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(filepath.Join(dir, sumsFile), []byte(sums), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openCheckpoint(dir)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Malformed && kind != fault.Incompatible {
				t.Fatalf("kind %d: %v", kind, err)
			}
			return
		}
		if s.Step < 1 {
			t.Errorf("a checkpoint of step %d", s.Step)
		}
		s.close()
	})
}
