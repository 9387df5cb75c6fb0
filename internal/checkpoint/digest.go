package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"shira/internal/fault"
)

// digestChunk is the number of bytes hashed at a time. It is part of the digest's definition, and small enough to stay in
// a core's cache between reading and hashing.
const digestChunk = 256 << 10

// Digest identifies the type, shape and content of a tensor, but not its name: two tensors with one digest are equal but
// for a chance of 2^-64. It is no protection against someone who wants two tensors to agree.
//
// It is the XXH64 of: the type's name and a zero byte; the rank and each dimension as 8 bytes, little-endian; and the
// XXH64 of each 256 KiB of the data, the last part shorter. Every byte counts, since an adapter may change a single
// element, and sampling would miss it.
type Digest uint64

// String returns 16 hexadecimal digits.
func (d Digest) String() string { return fmt.Sprintf("%016x", uint64(d)) }

// Digest reads the whole tensor and returns its digest.
func (t Tensor) Digest() (Digest, error) {
	all, err := Digests([]Tensor{t})
	if err != nil {
		return 0, err
	}
	return all[0], nil
}

// Digests returns the digest of each tensor, on all cores. The files are read, not mapped, so that memory stays small.
func Digests(tensors []Tensor) ([]Digest, error) { return digests(tensors, nil) }

// overFunc changes what was read of a tensor: chunk is its bytes from off on. Calls run beside each other.
type overFunc = func(t Tensor, off int64, chunk []byte) error

func digests(tensors []Tensor, over overFunc) ([]Digest, error) {
	// Chunk c of tensor i is sums[first[i]+c].
	first := make([]int, len(tensors)+1)
	for i, t := range tensors {
		first[i+1] = first[i] + int((t.size+digestChunk-1)/digestChunk)
	}
	sums := make([]uint64, first[len(tensors)])
	if err := sumChunks(tensors, first, sums, over); err != nil {
		return nil, err
	}
	list := make([]Digest, len(tensors))
	for i, t := range tensors {
		list[i] = t.digest(sums[first[i]:first[i+1]])
	}
	return list, nil
}

// digest combines the hashes of the tensor's chunks.
func (t Tensor) digest(sums []uint64) Digest {
	b := append([]byte(t.DType.String()), 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(t.Shape)))
	for _, dim := range t.Shape {
		b = binary.LittleEndian.AppendUint64(b, uint64(dim))
	}
	for _, sum := range sums {
		b = binary.LittleEndian.AppendUint64(b, sum)
	}
	return Digest(xxh64(b))
}

// sumChunks hashes all chunks, in the order of the files but on all cores.
func sumChunks(tensors []Tensor, first []int, sums []uint64, over overFunc) error {
	workers := min(runtime.GOMAXPROCS(0), len(sums))
	errs := make([]error, workers)
	var next atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			buf := make([]byte, digestChunk)
			for {
				job := int(next.Add(1)) - 1
				if job >= len(sums) {
					return
				}
				i, found := slices.BinarySearch(first, job)
				if !found {
					i--
				}
				for first[i+1] == job { // a tensor without data has no chunk
					i++
				}
				var err error
				if sums[job], err = tensors[i].sumChunk(job-first[i], buf, over); err != nil {
					errs[w] = err
					next.Store(int64(len(sums))) // the others may stop
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// sumChunk reads chunk c of the tensor into buf and hashes it as over leaves it.
func (t Tensor) sumChunk(c int, buf []byte, over overFunc) (uint64, error) {
	off := int64(c) * digestChunk
	buf = buf[:min(digestChunk, t.size-off)]
	if err := t.ReadAt(buf, off); err != nil {
		return 0, err
	}
	if over != nil {
		if err := over(t, off, buf); err != nil {
			return 0, err
		}
	}
	return xxh64(buf), nil
}

// fingerprintPrefix begins a fingerprint.
const fingerprintPrefix = "xxh64-sha256:"

// FingerprintLength is the length of every fingerprint.
const FingerprintLength = len(fingerprintPrefix) + 2*sha256.Size

// Fingerprint identifies the model by its tensors: names, types, shapes and every byte of content. It does not depend on
// how they are spread over files, on their order, or on metadata. All data is read, at memory speed when it is cached
// (2 GB take about half a second on two cores) and at the disk's otherwise.
//
// It is "xxh64-sha256:" and the SHA-256, in hexadecimal, of each tensor in the order of names: the length of the name as 8
// bytes, little-endian, the name, and its [Digest] as 8 bytes.
func (m *Model) Fingerprint() (string, error) { return m.FingerprintOf(m.Names()) }

// FingerprintOver is Fingerprint of a model that differs from this one: over puts what it has otherwise into what was read of
// a tensor, chunk being its bytes from off on. Calls run beside each other.
func (m *Model) FingerprintOver(over func(t Tensor, off int64, chunk []byte) error) (string, error) {
	return m.fingerprint(m.Names(), over)
}

// FingerprintOf is Fingerprint over the named tensors only, in any order and without repeats: what an adapter that touches
// just those must check. A name that the model lacks is a [fault.Incompatible].
func (m *Model) FingerprintOf(names []string) (string, error) { return m.fingerprint(names, nil) }

func (m *Model) fingerprint(names []string, over overFunc) (string, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	tensors := make([]Tensor, 0, len(names))
	var missing fault.Problems
	for _, name := range names {
		t, ok := m.Lookup(name)
		if !ok {
			missing.Add("the model has no tensor %s", fault.Quote(name))
		}
		tensors = append(tensors, t)
	}
	if err := missing.Err(fault.Incompatible, m.dir, ""); err != nil {
		return "", err
	}
	list, err := digests(tensors, over)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	var b []byte
	for i, name := range names {
		b = binary.LittleEndian.AppendUint64(b[:0], uint64(len(name)))
		b = append(b, name...)
		h.Write(binary.LittleEndian.AppendUint64(b, uint64(list[i])))
	}
	return fingerprintPrefix + hex.EncodeToString(h.Sum(nil)), nil
}
