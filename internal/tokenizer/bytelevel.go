package tokenizer

import "unicode/utf8"

// The byte-level alphabet of GPT-2 (bytes_to_unicode in encoder.py): every byte has a printable character, so that
// any text is a string over 256 characters. Printable Latin-1 stands for itself, the rest for U+0100 onwards.
var (
	byteChar [256]string  // the character of a byte
	charByte [0x144]int16 // the byte of a character, -1 for none
)

func init() {
	for r := range charByte {
		charByte[r] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !('!' <= r && r <= '~' || 0xA1 <= r && r <= 0xAC || 0xAE <= r) {
			r = next
			next++
		}
		byteChar[b] = string(r)
		charByte[r] = int16(b)
	}
}

// appendBytes appends the bytes a byte-level token stands for. A token with a character outside the alphabet, such as
// an added one, stands for its own text.
func appendBytes(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		if int(r) >= len(charByte) || charByte[r] < 0 {
			return append(dst[:start], token...)
		}
		dst = append(dst, byte(charByte[r]))
	}
	return dst
}

// lossyString is b with every maximal ill-formed part replaced by U+FFFD (Unicode 3.9, as Rust and the WHATWG do;
// strings.ToValidUTF8 would fold neighbouring parts into one).
func lossyString(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = illFormed(b)
		}
		out = utf8.AppendRune(out, r)
		b = b[n:]
	}
	return string(out)
}

// illFormed returns the length of the maximal ill-formed part at the start of b: the longest prefix of some valid
// sequence, at least one byte.
func illFormed(b []byte) int {
	low, high, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case 0xE0 <= c && c <= 0xEF:
		need = 1
	case 0xF0 <= c && c <= 0xF4:
		need = 2
	}
	switch b[0] {
	case 0xE0:
		low = 0xA0
	case 0xED:
		high = 0x9F
	case 0xF0:
		low = 0x90
	case 0xF4:
		high = 0x8F
	}
	n := 1
	for n <= need && n < len(b) && low <= b[n] && b[n] <= high {
		low, high = 0x80, 0xBF
		n++
	}
	return n
}
