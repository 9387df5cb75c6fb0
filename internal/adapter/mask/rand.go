package mask

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// random visits entries uniformly without replacement: in the order in which a stream of uniform numbers comes upon them. The
// stream is ChaCha8 (C2SP chacha8rand) seeded by the run's seed and the weight's name, so that layers of one shape get masks
// of their own. A given request selects the same entries in every version of this program.
func random(w *walk) {
	src, n := stream(w.Seed, w.Name), uint64(w.entries())
	for w.visit(below(src, n)) {
	}
}

// stream returns the generator of one weight: ChaCha8 seeded by sha256("shira rand mask 1" ‖ seed, 8 bytes little-endian ‖
// name).
func stream(seed uint64, name string) *rand.ChaCha8 {
	b := binary.LittleEndian.AppendUint64([]byte("shira rand mask 1"), seed)
	return rand.NewChaCha8(sha256.Sum256(append(b, name...)))
}

// below returns a uniform number in [0, n) by Lemire's multiplication with rejection. It is spelled out here because the
// methods of rand.Rand may change their way from stream to number between Go versions; the stream itself may not.
func below(src *rand.ChaCha8, n uint64) int64 {
	hi, lo := bits.Mul64(src.Uint64(), n)
	if lo < n {
		for least := -n % n; lo < least; {
			hi, lo = bits.Mul64(src.Uint64(), n)
		}
	}
	return int64(hi)
}
