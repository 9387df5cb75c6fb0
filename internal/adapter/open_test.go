package adapter

import "testing"

// TestOpen holds an opened adapter to the loaded one, also after its pages were dropped.
func TestOpen(t *testing.T) {
	for _, m := range methods {
		t.Run(m.Name, func(t *testing.T) {
			path := t.TempDir()
			d := fresh[m.Name](testModule)
			trained[m.Name](d)
			must(t, (&Adapter{Config: configOf(m.Name), Deltas: []Delta{d}}).Save(path))
			loaded, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			for range 2 {
				if opened.Digest() != loaded.Digest() || opened.Parameters() != loaded.Parameters() {
					t.Error("an opened adapter is another than the loaded one")
				}
				for _, d := range opened.Deltas {
					opened.Release(d)
				}
			}
			loaded.Release(loaded.Deltas[0])
			if err := loaded.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
