package switcher

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"hash/crc32"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// A journal is one file that holds what a switch changes. All numbers are little-endian.
//
//	"shiraund"                   8 bytes
//	length of the header         4 bytes
//	CRC-32C of the header        4 bytes
//	header                       JSON, see [header]
//	segments                     see [segment]
//	end                          a segment of kind 255 without payload
//	SHA-256 of all of it         32 bytes
const (
	journalMagic   = "shiraund"
	journalVersion = 2                              // version 1 had no kindWhole
	journalPart    = 1 << 20                        // bytes that are written at a time
	maxHeader      = 256 << 20                      // the longest header, in bytes; that of a model of 100,000 tensors takes 15 MB
	segmentHead    = 32                             // bytes of a segment before its payload
	journalEnds    = 16 + segmentHead + sha256.Size // bytes before the header and after the segments
	maxBlock       = 1 << 24                        // elements of a block
	maxCols        = 1 << 30                        // elements of a row
)

// Kinds of segments.
const (
	kindList  = 1   // entries at ascending indices
	kindRun   = 2   // all elements of the block
	kindWhole = 3   // all elements before the switch, and a list of the live ones, some or none, in the base
	kindEnd   = 255 // the end of the journal
)

// Flags of segments.
const (
	flagLive = 1 << 0 // of a run: the state after the switch has other bytes here than the base
	flagSame = 1 << 1 // the base has the bytes from before the switch: they are not repeated
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header says what a journal is about.
type header struct {
	Version  int       `json:"version"`
	Sequence uint64    `json:"sequence"`
	Base     string    `json:"base_fingerprint"` // of the model without any adapter
	Applied  []Applied `json:"applied"`          // after the switch; empty for the base
	Block    int       `json:"block"`            // elements of a block, see [tensor.step]
	Files    []file    `json:"files"`
	Tensors  []tensor  `json:"tensors"` // those with segments, in the order of files and offsets
}

// Applied is an adapter that a model has in its weights.
type Applied struct {
	Adapter string  `json:"adapter"` // its path, as it was given
	Method  string  `json:"method"`
	Digest  string  `json:"digest"` // see [shira/internal/adapter.Adapter.Digest]
	Weight  float64 `json:"weight"`
}

// file is one of a model's weight files.
type file struct {
	Name   string `json:"name"` // in the model's directory
	Size   int64  `json:"size"`
	Header string `json:"header_sha256"` // of everything before the tensors' data, in hexadecimal
}

// tensor is a tensor that a journal has segments of.
type tensor struct {
	Name   string `json:"name"`
	File   int    `json:"file"` // index into Files
	DType  string `json:"dtype"`
	Offset int64  `json:"offset"` // of the data in its file, in bytes
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`

	size int // bytes of an element
}

// len returns the number of elements.
func (t *tensor) len() int64 { return int64(t.Rows) * int64(t.Cols) }

// step returns the length of the tensor's blocks, in elements: as many whole rows as fit into block, but at least one. The
// last block may be shorter. No segment spans blocks.
func (t *tensor) step(block int) int64 { return int64(max(1, block/t.Cols)) * int64(t.Cols) }

// blockLen returns the length of the block that begins at element first.
func (t *tensor) blockLen(block int, first int64) int { return int(min(t.step(block), t.len()-first)) }

// segment is the part of a journal about one block of one tensor: what its entries were before the switch, and are in the
// base. In a file it is
//
//	kind, flags, 2 zero bytes
//	tensor          4 bytes, index into the header's
//	first           8 bytes, the first element of the block; of a run, its first entry
//	entries         4 bytes; of kindWhole the live ones only
//	length of gaps  4 bytes, 0 for a run
//	after           4 bytes, CRC-32C of the live entries as they are after the switch
//	CRC-32C         4 bytes, of the 28 bytes before and of the payload
//	gaps            for each entry of a list a varint: its distance from the entry before it, doubled, and 1 if it is live
//	before          the entries before the switch; of kindWhole all of the block
//	base            the entries of the base, unless flagSame is set
//
// The distance of a list's first entry is that from first.
//
// kindWhole is for a block all of which had changed and of which only entries will. What the others are in the base is in the
// record of the old state, as a run; it is needed only to write the weights, and that record stays until these are durable.
type segment struct {
	tensor int
	first  int64
	run    bool
	whole  bool
	live   bool     // of a run
	keys   []uint32 // unless run: an entry's distance from first, doubled, plus 1 if it is live
	n      int      // entries
	after  uint32
	before []byte
	base   []byte // before itself where nothing differed, but never if whole

	buf []byte // what keys, before and base of a segment that was read lie in
}

// same says whether the base has the bytes from before.
func (s *segment) same() bool {
	return len(s.base) == 0 || len(s.before) > 0 && &s.before[0] == &s.base[0]
}

// appendTo appends the segment's form in a file.
func (s *segment) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, segmentHead)...)
	kind, flags := byte(kindList), byte(0)
	if s.whole {
		kind = kindWhole
	}
	if s.run {
		kind = kindRun
		if s.live {
			flags |= flagLive
		}
	}
	for i, k := range s.keys {
		gap := k >> 1
		if i > 0 {
			gap -= s.keys[i-1] >> 1
		}
		b = binary.AppendUvarint(b, uint64(gap)<<1|uint64(k&1))
	}
	gaps := len(b) - start - segmentHead
	b = append(b, s.before...)
	if !s.whole && s.same() {
		flags |= flagSame
	} else {
		b = append(b, s.base...)
	}
	putHead(b[start:], kind, flags, uint32(s.tensor), uint64(s.first), uint32(s.n), uint32(gaps), s.after)
	return b
}

// putHead fills in the first bytes of a segment, whose payload follows already.
func putHead(b []byte, kind, flags byte, tensor uint32, first uint64, entries, gaps, after uint32) {
	b[0], b[1] = kind, flags
	binary.LittleEndian.PutUint32(b[4:], tensor)
	binary.LittleEndian.PutUint64(b[8:], first)
	binary.LittleEndian.PutUint32(b[16:], entries)
	binary.LittleEndian.PutUint32(b[20:], gaps)
	binary.LittleEndian.PutUint32(b[24:], after)
	crc := crc32.Update(crc32.Checksum(b[:28], castagnoli), castagnoli, b[segmentHead:])
	binary.LittleEndian.PutUint32(b[28:], crc)
}

// journalWriter writes a journal. The first error stays.
type journalWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int64 // bytes written
	err error
}

func newJournalWriter(f fsx.File, h *header) (*journalWriter, error) {
	w := &journalWriter{w: bufio.NewWriterSize(&steadyWriter{f: f}, journalPart), sum: sha256.New()}
	b, err := h.encode()
	if err != nil {
		return nil, err
	}
	// What the reader refuses must never become hot. A name that is no UTF-8 does not come back as it was.
	if len(b) > maxHeader || new(header).decode("", b) != nil {
		return nil, fault.New(fault.Incompatible, "", "not switched: a journal cannot hold the names of these files and tensors").
			WithHint("give the files names in UTF-8")
	}
	head := binary.LittleEndian.AppendUint32([]byte(journalMagic), uint32(len(b)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(b, castagnoli))
	w.write(append(head, b...))
	return w, nil
}

// encode returns the header's form in a file.
func (h *header) encode() ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "", err, "encode the journal")
	}
	return b, nil
}

// steadyWriter writes a file from its beginning, and has the system bring it to the disk meanwhile, so that a sync in the end
// has little to wait for.
type steadyWriter struct {
	f   fsx.File
	off int64
}

func (w *steadyWriter) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.off)
	w.f.WriteBehind(w.off, int64(n))
	w.off += int64(n)
	return n, err
}

func (w *journalWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(b)
	_, w.err = w.w.Write(b)
	w.n += int64(len(b))
}

// finish writes the end and passes everything on to the file, which is not synced yet.
func (w *journalWriter) finish() error {
	end := make([]byte, segmentHead)
	putHead(end, kindEnd, 0, 0, 0, 0, 0, 0)
	w.write(end)
	w.write(w.sum.Sum(nil))
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// sizeOf returns the bytes of an element of a dtype, 0 for none that is switched.
func sizeOf(dtype string) int {
	d, ok := checkpoint.ParseDType(dtype)
	if !ok || !d.IsFloat() {
		return 0
	}
	return d.Size()
}
