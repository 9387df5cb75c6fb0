package switcher

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// store is a model's directory, and in it the one that holds the journals of its switches:
//
//	lock           locked while a switch works; never deleted
//	undo-N.tmp     a journal in the making, worth nothing
//	undo-N.hot     the journal of a switch that has begun to change weights: what they were before is in it
//	applied-N      the journal of a switch that is complete: what the base's weights were is in it
//	base           the base's fingerprint, while there is an applied-N, and a little longer
//
// The applied-N of the highest N says what the weights hold; without any they are the base's. Where somebody has removed it,
// base tells that they are not.
type store struct {
	model   string // as the user calls it
	fs      fsx.FS
	dir     string // of the journals
	single  string // the name of a model of one file with a directory of its own for journals; "" for others
	block   int    // elements of a block
	workers int
}

// blockElements is how many elements of a tensor are worked on at a time.
const blockElements = 1 << 18

// names are the journals that a store holds, by number, ascending.
type names struct {
	tmp, hot, applied []uint64
}

// name returns the name of a journal in the model's directory.
func (s *store) name(kind string, n uint64) string { return s.dir + "/" + fmt.Sprintf(kind, n) }

// scan lists the journals. There are none where the directory does not exist.
func (s *store) scan() (names, error) {
	var n names
	list, err := s.fs.List(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	for _, name := range list {
		for _, k := range []struct {
			kind string
			to   *[]uint64
		}{{checkpoint.JournalMaking, &n.tmp}, {checkpoint.JournalHot, &n.hot}, {checkpoint.JournalApplied, &n.applied}} {
			before, after, _ := strings.Cut(k.kind, "%d")
			digits, ok := strings.CutPrefix(name, before)
			if !ok {
				continue
			}
			if digits, ok = strings.CutSuffix(digits, after); !ok {
				continue
			}
			if number, err := strconv.ParseUint(digits, 10, 63); err == nil && fmt.Sprintf(k.kind, number) == name {
				insert(k.to, number)
			}
		}
	}
	return n, nil
}

// insert puts v into the ascending list.
func insert(list *[]uint64, v uint64) {
	i := len(*list)
	for i > 0 && (*list)[i-1] > v {
		i--
	}
	*list = append(*list, 0)
	copy((*list)[i+1:], (*list)[i:])
	(*list)[i] = v
}

func (n names) equal(m names) bool {
	return slices.Equal(n.tmp, m.tmp) && slices.Equal(n.hot, m.hot) && slices.Equal(n.applied, m.applied)
}

// exists says whether the directory of the journals is there.
func (s *store) exists() bool {
	_, err := s.fs.List(s.dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// lock makes the directory where it is missing, durably, and takes the lock. A lock that is held is a Locked error.
func (s *store) lock() (io.Closer, error) {
	if _, err := s.fs.List(s.dir); errors.Is(err, fs.ErrNotExist) {
		if err := s.fs.Mkdir(s.dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	// One that is there may be of a process that was killed before it came to this.
	if err := s.fs.SyncDir("."); err != nil {
		return nil, err
	}
	lock, ok, err := s.fs.Lock(s.dir + "/lock")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Locked, s.fs.Path("."), "another process is switching this model")
	}
	return lock, nil
}

// openJournal opens the journal of that name.
func (s *store) openJournal(name string) (*journal, io.Closer, error) {
	f, err := s.fs.Open(name, false)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	var j *journal
	if err == nil {
		j, err = openJournal(s.fs.Path(name), f, st.Size)
	}
	if err == nil {
		err = s.checkFiles(j)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, f, nil
}

// current opens the journal that says what the weights hold, nil for the base.
func (s *store) current(n names) (*journal, io.Closer, error) {
	if len(n.applied) == 0 {
		return nil, nil, nil
	}
	highest := n.applied[len(n.applied)-1]
	j, c, err := s.openJournal(s.name(checkpoint.JournalApplied, highest))
	if err == nil && j.Sequence != highest {
		c.Close()
		return nil, nil, errDamaged(j.path, "it has the number %d", j.Sequence)
	}
	return j, c, err
}

// maxMark bounds a fingerprint with its newline.
const maxMark = 256

// mark writes the base's fingerprint durably, but for its name, which a sync of the directory follows before weights change.
func (s *store) mark(base string) error {
	if err := s.unmark(); err != nil {
		return err
	}
	f, err := s.fs.Create(s.dir + "/base")
	if err != nil {
		return err
	}
	if _, err = f.WriteAt([]byte(base+"\n"), 0); err == nil {
		err = f.Datasync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, s.unmark())
	}
	return nil
}

// unmark removes it.
func (s *store) unmark() error {
	if err := s.fs.Remove(s.dir + "/base"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// marked returns the fingerprint that mark wrote, "" for none. One that is not whole was never synced: no weights were changed
// after it.
func (s *store) marked() (string, error) {
	f, err := s.fs.Open(s.dir+"/base", false)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxMark))
	if base, ok := strings.CutSuffix(string(b), "\n"); ok && !strings.ContainsAny(base, "\x00\n") {
		return base, err
	}
	return "", err
}

// next returns the number of the journal after j, which is nil for the base.
func (j *journal) next() uint64 {
	if j == nil {
		return 1
	}
	return j.Sequence + 1
}
