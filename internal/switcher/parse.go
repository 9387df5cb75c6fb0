package switcher

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"

	"shira/internal/fault"
)

// journal is an open journal whose header and structure are checked. Its segments can be read in any order, and by several
// goroutines.
type journal struct {
	header
	path   string
	r      io.ReaderAt
	size   int64
	places []place // of the segments, in order
	same   int64   // bytes of the lists that do not repeat the base's
}

// place is where a segment is.
type place struct {
	tensor int
	first  int64 // element of the tensor
	off    int64 // in the file
	length int   // with its head
}

// errDamaged is the error of a journal that is not as it was written, as after a disk fault.
func errDamaged(path, format string, args ...any) error {
	return fault.New(fault.Unrecoverable, path, "the journal is damaged: "+format, args...).
		WithHint("nothing was changed; keep this file, and restore the model from where it came from")
}

// openJournal reads the header of a journal of size bytes and finds its segments, whose content is checked when they are
// read. What breaks the format is Unrecoverable; nothing is allocated that the file does not hold.
func openJournal(path string, r io.ReaderAt, size int64) (*journal, error) {
	j := &journal{path: path, r: r, size: size}
	start, err := j.read(nil, 0, 16)
	if err != nil {
		return nil, err
	}
	if string(start[:8]) != journalMagic {
		return nil, errDamaged(path, "it does not begin as one")
	}
	n := int64(binary.LittleEndian.Uint32(start[8:]))
	if n > maxHeader {
		return nil, errDamaged(path, "it claims a header of %d bytes", n)
	}
	b, err := j.read(nil, 16, n)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(start[12:]) {
		return nil, errDamaged(path, "the checksum of its header is wrong")
	}
	if err := j.header.decode(path, b); err != nil {
		return nil, err
	}
	return j, j.walk(16 + n)
}

// read reads n bytes at off, in the memory of b where that suffices.
func (j *journal) read(b []byte, off, n int64) ([]byte, error) {
	if n > j.size-off || n > math.MaxInt {
		return nil, errDamaged(j.path, "it ends too early")
	}
	b = slices.Grow(b[:0], int(n))[:n]
	if k, err := j.r.ReadAt(b, off); k < len(b) {
		if err == io.EOF {
			return nil, errDamaged(j.path, "it ends too early")
		}
		return nil, err
	}
	return b, nil
}

// decode reads a header strictly: it must be the very bytes that this program writes for what they say.
func (h *header) decode(path string, b []byte) error {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err == nil && version.Version > journalVersion {
		return fault.New(fault.Unrecoverable, path, "the journal has version %d, but this program reads only up to %d",
			version.Version, journalVersion).WithHint("use the shira that wrote it, or a newer one")
	}
	if err := json.Unmarshal(b, h); err != nil {
		return errDamaged(path, "header: %v", err)
	}
	if again, err := json.Marshal(h); err != nil || !bytes.Equal(again, b) {
		return errDamaged(path, "its header is not in the form that is written")
	}
	if err := h.check(); err != nil {
		return errDamaged(path, "header: %v", err)
	}
	return nil
}

// check finds what no switch would have written.
func (h *header) check() error {
	switch {
	case h.Version < 1 || h.Version > journalVersion:
		return fmt.Errorf("version %d", h.Version)
	case h.Block < 1 || h.Block > maxBlock:
		return fmt.Errorf("blocks of %d elements", h.Block)
	case h.Sequence == 0:
		return fmt.Errorf("sequence 0")
	case len(h.Files) == 0:
		return fmt.Errorf("no files")
	}
	for i, f := range h.Files {
		if !plain(f.Name) || f.Size < 8 || i > 0 && f.Name <= h.Files[i-1].Name {
			return fmt.Errorf("file %s of %d bytes", fault.Quote(f.Name), f.Size)
		}
		if sum, err := hex.DecodeString(f.Header); err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("file %s: no checksum", fault.Quote(f.Name))
		}
	}
	at, end := 0, int64(8)
	for i := range h.Tensors {
		t := &h.Tensors[i]
		if t.File < at || t.File >= len(h.Files) {
			return fmt.Errorf("tensor %s: file %d", fault.Quote(t.Name), t.File)
		}
		if t.File > at {
			at, end = t.File, 8
		}
		if t.size = sizeOf(t.DType); t.size == 0 {
			return fmt.Errorf("tensor %s: type %s", fault.Quote(t.Name), fault.Quote(t.DType))
		}
		room := h.Files[at].Size - t.Offset
		if t.Offset < end || room < 0 || t.Rows < 1 || t.Cols < 1 || t.Cols > maxCols ||
			int64(t.Rows) > room/int64(t.size)/int64(t.Cols) {
			return fmt.Errorf("tensor %s: %d×%d elements at offset %d", fault.Quote(t.Name), t.Rows, t.Cols, t.Offset)
		}
		end = t.Offset + t.len()*int64(t.size)
	}
	return nil
}

// plain accepts the name of a file in the model's own directory.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\\x00")
}

// walk finds the segments, which begin at off, and checks that they are those of different blocks in ascending order, and
// that the file ends where they do.
func (j *journal) walk(off int64) error {
	var head []byte
	last := place{tensor: -1}
	for {
		var err error
		if head, err = j.read(head, off, segmentHead); err != nil {
			return err
		}
		p, end, err := j.place(head, off)
		switch {
		case err != nil:
			return err
		case end && off+segmentHead+sha256.Size != j.size:
			return errDamaged(j.path, "more follows after its end")
		case end:
			return nil
		case p.compare(last) <= 0:
			return errDamaged(j.path, "segments are not in order")
		}
		j.places = append(j.places, p)
		if head[0] == kindList && head[1]&flagSame != 0 {
			j.same += int64(p.length)
		}
		last = p
		off += int64(p.length)
	}
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.tensor, q.tensor), cmp.Compare(p.first, q.first))
}

// place reads the head of a segment at off. It reports end for that of the journal.
func (j *journal) place(head []byte, off int64) (p place, end bool, err error) {
	kind, flags := head[0], head[1]
	index, first := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint64(head[8:])
	n, gaps := int64(binary.LittleEndian.Uint32(head[16:])), int64(binary.LittleEndian.Uint32(head[20:]))
	var allowed byte
	switch kind {
	case kindList:
		allowed = flagSame
	case kindRun:
		allowed = flagSame | flagLive
	}
	switch {
	case head[2] != 0 || head[3] != 0 || flags&^allowed != 0:
		return p, false, errDamaged(j.path, "a segment with flags %x", head[1:4])
	case kind == kindEnd:
		want := make([]byte, segmentHead)
		putHead(want, kindEnd, 0, 0, 0, 0, 0, 0)
		if !bytes.Equal(head, want) {
			return p, false, errDamaged(j.path, "its end is not one")
		}
		return p, true, nil
	case kind != kindList && kind != kindRun && (kind != kindWhole || j.Version < 2):
		return p, false, errDamaged(j.path, "a segment of kind %d", kind)
	case int64(index) >= int64(len(j.Tensors)):
		return p, false, errDamaged(j.path, "a segment of tensor %d of %d", index, len(j.Tensors))
	}
	t := &j.Tensors[index]
	if first >= uint64(t.len()) || int64(first)%t.step(j.Block) != 0 {
		return p, false, errDamaged(j.path, "a segment of element %d of %s", first, fault.Quote(t.Name))
	}
	block := int64(t.blockLen(j.Block, int64(first)))
	if n < 1 && kind != kindWhole || n > block || kind == kindRun && (n != block || gaps != 0) ||
		kind != kindRun && (gaps < n || gaps > 5*n) {
		return p, false, errDamaged(j.path, "a segment of %d entries in a block of %d", n, block)
	}
	before := n
	if kind == kindWhole {
		before = block
	}
	length := segmentHead + gaps + before*int64(t.size)
	if flags&flagSame == 0 {
		length += n * int64(t.size)
	}
	if length > j.size-off-segmentHead-sha256.Size {
		return p, false, errDamaged(j.path, "it ends too early")
	}
	return place{tensor: int(index), first: int64(first), off: off, length: int(length)}, false, nil
}

// segment reads the segment at p into s, whose memory is used again.
func (j *journal) segment(s *segment, p place) error {
	var err error
	if s.buf, err = j.read(s.buf, p.off, int64(p.length)); err != nil {
		return err
	}
	b := s.buf
	if again, end, err := j.place(b, p.off); err != nil || end || again != p {
		return errDamaged(j.path, "it changed while it was read")
	}
	crc := crc32.Update(crc32.Checksum(b[:28], castagnoli), castagnoli, b[segmentHead:])
	if crc != binary.LittleEndian.Uint32(b[28:]) {
		return errDamaged(j.path, "the checksum of a segment is wrong")
	}
	t := &j.Tensors[p.tensor]
	s.tensor, s.first, s.run, s.whole, s.live = p.tensor, p.first, b[0] == kindRun, b[0] == kindWhole, b[1]&flagLive != 0
	s.n = int(binary.LittleEndian.Uint32(b[16:]))
	before := s.n * t.size
	if s.whole {
		before = t.blockLen(j.Block, s.first) * t.size
	}
	s.after = binary.LittleEndian.Uint32(b[24:])
	gaps := b[segmentHead : segmentHead+int(binary.LittleEndian.Uint32(b[20:]))]
	rest := b[segmentHead+len(gaps):]
	s.before = rest[:before:before]
	if s.base = s.before; b[1]&flagSame == 0 {
		s.base = rest[before:]
	}
	if s.keys = s.keys[:0]; !s.run {
		if msg := s.readGaps(gaps, t.blockLen(j.Block, s.first)); msg != "" {
			return errDamaged(j.path, "a segment of %s: %s", fault.Quote(t.Name), msg)
		}
	}
	if s.whole && slices.ContainsFunc(s.keys, func(key uint32) bool { return key&1 == 0 }) {
		return errDamaged(j.path, "a segment of %s lists an entry that is not live", fault.Quote(t.Name))
	}
	return nil
}

// readGaps makes keys of a list's gaps, in a block of the given length. It says what is wrong.
func (s *segment) readGaps(gaps []byte, block int) string {
	s.keys = slices.Grow(s.keys, s.n)
	index := int64(-1)
	for i := range s.n {
		var v uint64
		k := 1
		switch { // nearly all take one byte or two
		case len(gaps) > 0 && gaps[0] < 0x80:
			v = uint64(gaps[0])
		case len(gaps) > 1 && gaps[1] < 0x80:
			v, k = uint64(gaps[0]&0x7f)|uint64(gaps[1])<<7, 2
		default:
			if v, k = binary.Uvarint(gaps); k <= 0 {
				return "an index is cut short"
			}
		}
		gaps = gaps[k:]
		gap := int64(v >> 1)
		if i == 0 {
			gap++
		}
		if gap < 1 || gap >= int64(block)-index {
			return "an index lies outside its block"
		}
		index += gap
		s.keys = append(s.keys, uint32(index)<<1|uint32(v&1))
	}
	if len(gaps) > 0 {
		return "it has more indices than entries"
	}
	return ""
}

// verify reads all of the journal and compares its checksums.
func (j *journal) verify() error {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(j.r, 0, j.size-sha256.Size)); err != nil {
		return err
	}
	want, err := j.read(nil, j.size-sha256.Size, sha256.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return errDamaged(j.path, "its checksum is wrong")
	}
	var s segment
	for _, p := range j.places {
		if err := j.segment(&s, p); err != nil {
			return err
		}
	}
	return nil
}

// index returns the index of a tensor, −1 where the journal, which may be nil, does not have it.
func (j *journal) index(t tensor) int {
	if j == nil {
		return -1
	}
	i, ok := slices.BinarySearchFunc(j.Tensors, t, tensor.compare)
	if !ok || j.Tensors[i] != t {
		return -1
	}
	return i
}

// has says whether there are segments of a tensor.
func (j *journal) has(tensor int) bool {
	i, _ := slices.BinarySearchFunc(j.places, place{tensor: tensor}, place.compare)
	return i < len(j.places) && j.places[i].tensor == tensor
}

// find returns the place of the segment of a tensor's block that begins at element first.
func (j *journal) find(tensor int, first int64) (place, bool) {
	i, ok := slices.BinarySearchFunc(j.places, place{tensor: tensor, first: first}, place.compare)
	if !ok {
		return place{}, false
	}
	return j.places[i], true
}
