package checkpoint

import (
	"os"
	"path/filepath"
	"testing"
)

// sharedDir returns a folder of the reference data that lies beside the repository, and skips the test without it.
func sharedDir(t testing.TB, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("reference data %s is not here", path)
	}
	return path
}

// opened opens a file for the length of the test.
func opened(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// openedModel opens a model for the length of the test.
func openedModel(t testing.TB, path string) *Model {
	t.Helper()
	m, err := OpenModel(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// put writes a safetensors file of entries into dir and returns its path.
func put(t testing.TB, dir, name string, entries ...Entry) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := Write(path, entries, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// f32 is an entry of one dimension.
func f32(name string, values ...float32) Entry {
	return Float32Entry(name, F32, []int{len(values)}, values)
}

func fingerprint(t testing.TB, m *Model) string {
	t.Helper()
	fp, err := m.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return fp
}
