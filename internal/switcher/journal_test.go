package switcher

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
	"shira/internal/fsx/crashfs"
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
	seen := map[byte]bool{}
	for i, data := range toyJournals(t) {
		j, err := readAll(data)
		if err != nil {
			t.Fatal(err)
		}
		fresh := i < 4
		for _, p := range j.places {
			fresh = fresh || !seen[data[p.off]]
			seen[data[p.off]] = true
		}
		if !fresh {
			continue
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
	if len(seen) != 3 {
		t.Errorf("kinds of segments %v, want all three", seen)
	}
}

// as1 returns a journal as version 1 would say it.
func as1(data []byte) []byte {
	data = bytes.Replace(data, []byte(`"version":2`), []byte(`"version":1`), 1)
	signHeader(data)
	sum := sha256.Sum256(data[:len(data)-sha256.Size])
	copy(data[len(data)-sha256.Size:], sum[:])
	return data
}

// TestOlderJournal: journals of version 1 are read, which had not all kinds of segments.
func TestOlderJournal(t *testing.T) {
	read, refused := 0, 0
	for _, data := range toyJournals(t) {
		j, err := readAll(data)
		if err != nil {
			t.Fatal(err)
		}
		later := slices.ContainsFunc(j.places, func(p place) bool { return data[p.off] == kindWhole })
		_, err = readAll(as1(data))
		if later && fault.KindOf(err) != fault.Unrecoverable || !later && err != nil {
			t.Errorf("version 1, with what only version 2 has: %v; %v", later, err)
		}
		if later {
			refused++
		} else {
			read++
		}
	}
	if read == 0 || refused == 0 {
		t.Errorf("%d journals are read and %d refused", read, refused)
	}
}

// TestOlderHotJournal: a switch that a program of version 1 began is undone.
func TestOlderHotJournal(t *testing.T) {
	w := newToy(rand.New(rand.NewPCG(1, 1)))
	const hot = ".shira/undo-1.hot"
	for die := 1; ; die++ {
		f := w.disk()
		f.Die = die
		if err := w.to(f, 1); err == nil {
			t.Fatal("it was never killed while the weights were written")
		}
		if f = f.Crash(crashfs.Nothing, nil); f.Get(hot) == nil || bytes.Equal(f.Get("one.safetensors"), w.base["one.safetensors"]) {
			continue
		}
		f.Put(hot, as1(f.Get(hot)))
		if err := w.repair(f); err != nil {
			t.Fatal(err)
		}
		if got, err := w.holds(f); err != nil || got != 0 {
			t.Errorf("in state %d, %v; want the base", got, err)
		}
		return
	}
}

// TestNewerJournal: a journal of a later version is not touched, and the error says what to do.
func TestNewerJournal(t *testing.T) {
	data := bytes.Replace(toyJournals(t)[0], []byte(`"version":2`), []byte(`"version":3`), 1)
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
			before := s.n
			if s.whole {
				before = block
			}
			if s.n > block || len(s.before) != before*rec.size || len(s.base) != s.n*rec.size || !s.run && len(s.keys) != s.n {
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

// TestUnreadableHeader: what the reader would refuse is not written.
func TestUnreadableHeader(t *testing.T) {
	for name, good := range map[string]bool{"w.safetensors": true, "\xc3\xa9.safetensors": true, "w\xff.safetensors": false} {
		h := &header{Version: journalVersion, Sequence: 1, Block: 1, Base: "b", Applied: []Applied{}, Tensors: []tensor{},
			Files: []file{{Name: name, Size: 8, Header: strings.Repeat("0", 2*sha256.Size)}}}
		f, err := crashfs.New().Create("j")
		if err != nil {
			t.Fatal(err)
		}
		_, err = newJournalWriter(f, h)
		if good && err != nil || !good && fault.KindOf(err) != fault.Incompatible {
			t.Errorf("%q: %v", name, err)
		}
	}
}
