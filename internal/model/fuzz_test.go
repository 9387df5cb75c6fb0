package model

import (
	"os"
	"path/filepath"
	"testing"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/nn"
	"shira/internal/testmodel"
)

// FuzzConfig reads arbitrary bytes as the config.json of a tiny model. What is refused is a fault of the file, not of this
// program; what loads can be built.
func FuzzConfig(f *testing.F) {
	dir := f.TempDir()
	if err := testmodel.Write(dir, 1, checkpoint.F32); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, name := range Architectures() {
		f.Add([]byte(`{"model_type":"` + name + `"}`))
		f.Add([]byte(`{"model_type":"` + name + `","hidden_size":16,"num_attention_heads":4,"num_hidden_layers":2147483648}`))
	}
	f.Add([]byte(`{"model_type":"llama","vocab_size":99,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,` +
		`"num_key_value_heads":2,"head_dim":4,"hidden_act":"silu","rms_norm_eps":1e-5,"tie_word_embeddings":true,"max_position_embeddings":8,` +
		`"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":32}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		if err := os.WriteFile(path, config, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Load(dir)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Malformed && kind != fault.Incompatible {
				t.Fatalf("kind %d: %v", kind, err)
			}
			return
		}
		defer m.Close()
		if m.VocabSize <= 0 || m.MaxPositions <= 0 || m.Parameters() <= 0 {
			t.Fatalf("%+v, %d parameters", m.Info, m.Parameters())
		}
		if _, err := m.Loss(nn.NewGraph(nn.Options{})); err != nil {
			t.Fatal(err)
		}
	})
}
