package checkpoint

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// sparseModel writes a file of one tensor whose data is a hole of size bytes.
func sparseModel(b *testing.B, dtype DType, size int64) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "model.safetensors")
	entry := Entry{Name: "w", DType: dtype, Shape: []int{int(size) / dtype.Size()}}
	head, total, err := encodeHeader(path, []Entry{entry}, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, head, 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(path, total); err != nil {
		b.Skip("no sparse files here:", err)
	}
	return path
}

// Opening must cost the same for any size.
func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		name string
		size int64
	}{{"1MB", 1 << 20}, {"64GB", 64 << 30}} {
		b.Run(c.name, func(b *testing.B) {
			path := sparseModel(b, BF16, c.size)
			for b.Loop() {
				f, err := Open(path)
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

func BenchmarkFingerprint(b *testing.B) {
	const size = 1 << 30
	m, err := OpenModel(sparseModel(b, BF16, size))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Fingerprint(); err != nil { // now the file is cached
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if _, err := m.Fingerprint(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkXXH64(b *testing.B) {
	buf := make([]byte, digestChunk)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		xxh64(buf)
	}
}

// The rates count the bytes of the stored type.
func BenchmarkDecodeFloat32(b *testing.B) {
	for _, dtype := range []DType{F64, F32, F16, BF16} {
		b.Run(dtype.String(), func(b *testing.B) {
			dst := make([]float32, 1<<20)
			src := make([]byte, len(dst)*dtype.Size())
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				DecodeFloat32(dst, dtype, src)
			}
		})
	}
}

func BenchmarkEncodeFloat32(b *testing.B) {
	for _, dtype := range []DType{F64, F32, F16, BF16} {
		b.Run(dtype.String(), func(b *testing.B) {
			src := make([]float32, 1<<20)
			for i := range src {
				src[i] = float32(i%2001-1000) * 1e-3
			}
			dst := make([]byte, len(src)*dtype.Size())
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				EncodeFloat32(dst, dtype, src)
			}
		})
	}
}

func BenchmarkCopy(b *testing.B) {
	const size = 256 << 20
	f, err := Open(sparseModel(b, F32, size))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	t, _ := f.Lookup("w")
	if err := t.copyTo(io.Discard); err != nil { // now the file is cached
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if err := t.copyTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
