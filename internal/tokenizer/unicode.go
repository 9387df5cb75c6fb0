package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// unicodeForm is a Unicode normalization form.
type unicodeForm struct {
	form      norm.Form
	decompose norm.Form // what form begins with
	compose   bool
}

var unicodeForms = map[string]unicodeForm{
	"NFC":  {norm.NFC, norm.NFD, true},
	"NFD":  {norm.NFD, norm.NFD, false},
	"NFKC": {norm.NFKC, norm.NFKD, true},
	"NFKD": {norm.NFKD, norm.NFKD, false},
}

// joiner is U+034F, which package norm inserts into runs of more than 30 combining marks (Stream-Safe Text Format, UAX
// 15) and no normalization form makes or removes.
const joiner = "\u034F"

// normalize returns s in the form, without joiners of package norm. Bytes that are not UTF-8 stay as they are.
func (f unicodeForm) normalize(s string) string {
	out := f.form.String(s)
	if strings.Count(out, joiner) == strings.Count(s, joiner) || !utf8.ValidString(s) {
		return out
	}
	return f.normalizeSlowly(s)
}

// marked is a character with its canonical combining class, 0 for a starter.
type marked struct {
	char  rune
	class uint8
}

// normalizeSlowly follows the definition: decompose, order marks by class, compose.
func (f unicodeForm) normalizeSlowly(s string) string {
	var text []marked
	for _, r := range s {
		for _, d := range f.decompose.String(string(r)) {
			text = append(text, marked{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
	}
	for i := 0; i < len(text); i++ {
		start := i
		for i < len(text) && text[i].class != 0 {
			i++
		}
		slices.SortStableFunc(text[start:i], func(a, b marked) int { return int(a.class) - int(b.class) })
	}
	if f.compose {
		text = composed(text)
	}
	var b strings.Builder
	for _, m := range text {
		b.WriteRune(m.char)
	}
	return b.String()
}

// composed joins each starter with the characters after it that nothing blocks (Unicode 3.11, D115 and D117).
func composed(text []marked) []marked {
	out := text[:0]
	starter := -1 // in out
	for _, m := range text {
		if starter >= 0 {
			last := out[len(out)-1]
			adjacent := len(out)-1 == starter
			if adjacent || last.class != 0 && last.class < m.class {
				if r, ok := pairComposition(out[starter].char, m.char); ok {
					out[starter].char = r
					continue
				}
			}
		}
		if m.class == 0 {
			starter = len(out)
		}
		out = append(out, m)
	}
	return out
}

// pairComposition returns the character that a starter and the next one make, if there is one.
func pairComposition(a, b rune) (rune, bool) {
	s := []rune(norm.NFC.String(string(a) + string(b)))
	return s[0], len(s) == 1
}
