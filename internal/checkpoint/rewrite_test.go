package checkpoint

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shira/internal/fault"
)

// TestRewrite writes new forms of files whose data starts anywhere: copied, patched, and with metadata that come last.
func TestRewrite(t *testing.T) {
	for name, metadata := range map[string]map[string]string{"plain": nil, "long header": {"k": strings.Repeat("x", 5000)}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			entries := []Entry{
				{Name: "b", DType: U8, Shape: []int{3}, Bytes: []byte("abc")},
				{Name: "a", DType: U8, Shape: []int{6}, Bytes: []byte("defghi")},
			}
			if err := Write(src, entries, metadata); err != nil {
				t.Fatal(err)
			}
			f, err := Open(src)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := f.Rewrite(dst, map[string]string{"record": "0000"})
			if err != nil {
				t.Fatal(err)
			}
			a, _ := f.Lookup("a")
			for _, err := range []error{r.Copy(0, 3), r.WriteAt(a, []byte("XY"), 4), r.Copy(3, 4), r.SetMetadata(map[string]string{"record": "1"})} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := r.WriteAt(a, []byte("XY"), 5); fault.KindOf(err) != fault.Internal {
				t.Errorf("past the tensor's end: %v", err)
			}
			if err := r.SetMetadata(map[string]string{"record": strings.Repeat("x", 9000)}); fault.KindOf(err) != fault.Internal {
				t.Errorf("metadata that grew: %v", err)
			}
			if err := r.Commit(); err != nil {
				t.Fatal(err)
			}
			got, err := Open(dst)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if x, _ := got.Lookup("a"); !bytes.Equal(x.Data(), []byte("defgXY")) || x.Offset()%cloneUnit != a.Offset()%cloneUnit {
				t.Errorf("a is %q at %d, in the source at %d", x.Data(), x.Offset(), a.Offset())
			}
			if got.Metadata()["record"] != "1" {
				t.Errorf("metadata %v", got.Metadata())
			}
			if left, _ := os.ReadDir(dir); len(left) != 2 {
				t.Errorf("%d files", len(left))
			}
		})
	}
}
