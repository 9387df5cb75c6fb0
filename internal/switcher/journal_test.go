package switcher

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"shira/internal/fault"
)

// toyJournals returns journals of all kinds of segments: of switches from and to sparse and dense states.
func toyJournals(t testing.TB) [][]byte {
	var list [][]byte
	for seed := range uint64(6) {
		w := newToy(rand.New(rand.NewPCG(seed, 3)))
		f := w.disk()
		for i := 1; i < len(w.changes); i++ {
			if err := w.to(f, i); err != nil {
				t.Fatal(err)
			}
			list = append(list, f.Get(fmt.Sprintf(".shira/applied-%d", i)))
		}
	}
	return list
}

// readAll reads all that a journal holds, as a recovery does before it changes anything.
func readAll(data []byte) (*journal, error) {
	j, err := openJournal("j", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return j, j.verify()
}

// TestDamagedJournal changes every byte of a journal in turn, and cuts it at each: nothing of it passes.
func TestDamagedJournal(t *testing.T) {
	tried := 0
	for _, data := range toyJournals(t)[:4] {
		if _, err := readAll(data); err != nil {
			t.Fatal(err)
		}
		for i := range data {
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << (i % 8)
			for _, d := range [][]byte{damaged, data[:i]} {
				tried++
				if _, err := readAll(d); fault.KindOf(err) != fault.Unrecoverable {
					t.Fatalf("byte %d of %d: %v", i, len(data), err)
				}
			}
		}
		if _, err := readAll(append(bytes.Clone(data), 0)); err == nil {
			t.Error("a byte after the end")
		}
	}
	t.Logf("%d damaged journals", tried)
}

// TestNewerJournal: a journal of a later version is not touched, and the error says what to do.
func TestNewerJournal(t *testing.T) {
	data := bytes.Replace(toyJournals(t)[0], []byte(`"version":1`), []byte(`"version":2`), 1)
	signHeader(data)
	_, err := readAll(data)
	if fault.KindOf(err) != fault.Unrecoverable || !strings.Contains(fault.HintOf(err), "a newer one") {
		t.Errorf("%v", err)
	}
}

// signHeader puts the right checksum of the header into a journal, so that what a test changes in it is looked at.
func signHeader(data []byte) {
	if len(data) < 16 {
		return
	}
	if n := int64(binary.LittleEndian.Uint32(data[8:])); n <= int64(len(data)-16) {
		binary.LittleEndian.PutUint32(data[12:], crc32.Checksum(data[16:16+n], castagnoli))
	}
}

// signSegment does that for a segment.
func signSegment(b []byte) {
	binary.LittleEndian.PutUint32(b[28:], crc32.Update(crc32.Checksum(b[:28], castagnoli), castagnoli, b[segmentHead:]))
}

// FuzzJournal: no input makes the reader fail in another way than with an Unrecoverable error, and what passes has only
// entries inside its tensors. Checksums are made right, as an attacker's would be.
func FuzzJournal(f *testing.F) {
	for _, data := range toyJournals(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		signHeader(data)
		j, err := openJournal("j", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if fault.KindOf(err) != fault.Unrecoverable {
				t.Errorf("kind %v: %v", fault.KindOf(err), err)
			}
			return
		}
		var s segment
		for _, p := range j.places {
			signSegment(data[p.off : p.off+int64(p.length)])
			if err := j.segment(&s, p); err != nil {
				if fault.KindOf(err) != fault.Unrecoverable {
					t.Errorf("kind %v: %v", fault.KindOf(err), err)
				}
				continue
			}
			rec := &j.Tensors[s.tensor]
			block := rec.blockLen(j.Block, s.first)
			if s.n > block || len(s.before) != s.n*rec.size || len(s.base) != len(s.before) || !s.run && len(s.keys) != s.n {
				t.Errorf("a segment of %d entries in a block of %d", s.n, block)
			}
			for i, key := range s.keys {
				if int(key>>1) >= block || i > 0 && key>>1 <= s.keys[i-1]>>1 {
					t.Errorf("entry %d at %d of %d", i, key>>1, block)
				}
			}
		}
		_ = j.verify()
	})
}
