package switcher

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// shards are a model's weight files, open and locked.
type shards struct {
	files []file
	data  []int64 // where the tensors' data begins in each
	open  []fsx.File
	infos []fs.FileInfo // nil of files that are not the system's
}

// openShards opens the named files. To write, it keeps all other processes of this program from them. Symbolic links and files
// of several names are Incompatible, since others would see the change: a hub's cache shares its files among revisions.
func (s *store) openShards(names []string, write bool) (*shards, error) {
	sh := &shards{}
	for _, name := range names {
		if err := s.add(sh, name, write); err != nil {
			sh.close()
			return nil, err
		}
	}
	return sh, nil
}

func (s *store) add(sh *shards, name string, write bool) error {
	f, err := s.fs.Open(name, write)
	if err != nil {
		return err
	}
	sh.open = append(sh.open, f)
	st, err := f.Stat()
	path := s.fs.Path(name)
	switch {
	case err != nil:
		return err
	case st.Links > 1:
		return fault.New(fault.Incompatible, path, "has %d names (hard links): the others would change too", st.Links).
			WithHint("copy the model (cp -rL) and switch the copy")
	}
	if write && !f.Exclude() {
		return fault.New(fault.Locked, path, "is in use by another process of shira").WithHint("wait for it to end")
	}
	sum, data, err := headerSum(f, st.Size, path)
	sh.files = append(sh.files, file{Name: name, Size: st.Size, Header: sum})
	sh.data = append(sh.data, data)
	sh.infos = append(sh.infos, st.Info)
	return err
}

// areOf fails where these files are not those of m, which were opened by their paths before: somebody has put another directory
// or other files there meanwhile, and what is known of the one is not of the other.
func (sh *shards) areOf(m *checkpoint.Model) error {
	for i, f := range m.Files() {
		if !f.Is(sh.infos[i]) {
			return fault.New(fault.Environment, f.Path(), "was replaced while the model was opened").WithHint("nothing was changed; try again")
		}
	}
	return nil
}

// headerSum returns the SHA-256 of a safetensors file's header with its length, and where the data begins.
func headerSum(f io.ReaderAt, size int64, path string) (sum string, data int64, err error) {
	var n [8]byte
	if _, err := f.ReadAt(n[:], 0); err != nil {
		return "", 0, shortened(err, path)
	}
	length := binary.LittleEndian.Uint64(n[:])
	if size < 8 || length > uint64(size-8) {
		return "", 0, fault.New(fault.Malformed, path, "claims a header of %d bytes and has %d", length, size)
	}
	data = 8 + int64(length)
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, data)); err != nil {
		return "", 0, shortened(err, path)
	}
	return hex.EncodeToString(h.Sum(nil)), data, nil
}

// shortened turns an early end into a fault.
func shortened(err error, path string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Environment, path, "became shorter while it was read")
	}
	return err
}

func (sh *shards) close() {
	for _, f := range sh.open {
		f.Close()
	}
}

// match fails with an Unrecoverable error when a journal is not of these files, or has entries outside their tensors' data.
func (j *journal) match(sh *shards, remedy string) error {
	for i, f := range j.Files {
		if len(sh.files) != len(j.Files) || sh.files[i] != f {
			return fault.New(fault.Unrecoverable, j.path, "the journal is of other weights: %s had %d bytes and another header",
				fault.Quote(f.Name), f.Size).WithHint("%s", remedy)
		}
	}
	for i := range j.Tensors {
		if t := &j.Tensors[i]; t.Offset < sh.data[t.File] {
			return errDamaged(j.path, "tensor %s lies in the header of its file", fault.Quote(t.Name))
		}
	}
	return nil
}

// checkFiles refuses a journal of files that are no weights of this model, which somebody else has put here.
func (s *store) checkFiles(j *journal) error {
	for _, f := range j.Files {
		if s.single != "" && f.Name != s.single || !strings.HasSuffix(f.Name, ".safetensors") && s.single == "" {
			return fault.New(fault.Unrecoverable, j.path, "the journal is of %s, which is none of this model's files", fault.Quote(f.Name)).
				WithHint("where the model was renamed, give it its old name")
		}
	}
	return nil
}

// fileNames returns the names of the files that a journal is of.
func (j *journal) fileNames() []string {
	list := make([]string, len(j.Files))
	for i, f := range j.Files {
		list[i] = f.Name
	}
	return list
}
