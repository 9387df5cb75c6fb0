package adapter

import (
	"os"
	"path/filepath"
	"testing"

	"shira/internal/fault"
)

// TestSaveOver saves an adapter over one of another configuration: what is not its own stays, and every moment between has one of
// the two.
func TestSaveOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "a")
	before, after := sample(t), sample(t)
	after.Config.R, after.Config.Mask = 0, "wm"
	after.Config.Density = 0.5
	must(t, before.Save(dir))
	writeText(t, filepath.Join(dir, "README.md"), "mine")
	wantDigest := func(a *Adapter) {
		t.Helper()
		got, err := Load(dir)
		must(t, err)
		if got.Digest() != a.Digest() || got.Config.Mask != a.Config.Mask {
			t.Errorf("the adapter is another: %+v", got.Config)
		}
	}
	wantFiles := func(want int) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != want {
			t.Errorf("%s holds %v", dir, entries)
		}
	}
	old, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	must(t, err)
	for range 2 { // the second time nothing changes
		must(t, after.Save(dir))
		wantDigest(after)
		wantFiles(3)
	}

	// Neither configuration goes with the other tensors; each file of tensors stands alone.
	must(t, os.Remove(filepath.Join(dir, ConfigFile)))
	wantDigest(after)
	writeText(t, filepath.Join(dir, ConfigFile), string(old))
	if _, err := Load(dir); fault.KindOf(err) != fault.Incompatible {
		t.Errorf("a mixture is loaded: %v", err)
	}

	// What cannot be replaced keeps all from changing.
	for _, name := range []string{ConfigFile, TensorsFile} {
		must(t, after.Save(dir))
		must(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, "aside")))
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		wantError(t, before.Save(dir), fault.Environment, name+": is a directory", "")
		wantFiles(4)
		must(t, os.Remove(filepath.Join(dir, name)))
		must(t, os.Rename(filepath.Join(dir, "aside"), filepath.Join(dir, name)))
		wantDigest(after)
	}
}
