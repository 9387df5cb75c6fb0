package tokenizer

import (
	"strings"
	"unicode/utf8"

	"shira/internal/fault"
)

// metaspace is the character SentencePiece writes a space as.
const metaspace = "▁"

// step is one stage of pre-tokenization: it rewrites a piece of text and cuts it up.
type step struct {
	// rewrite may be nil. first says that the piece starts the text.
	rewrite func(piece string, first bool) string
	// cut may be nil.
	cut scanner
}

// preTokenizer cuts normalized text into the words that the model encodes one by one.
type preTokenizer struct {
	steps     []step
	byteLevel bool // words are encoded over the byte-level alphabet
}

// newPreTokenizer reads the pre_tokenizer of a tokenizer.json, null for none.
func newPreTokenizer(n node) preTokenizer {
	var p preTokenizer
	if n.null() {
		return p
	}
	for _, part := range flatten(n, "pretokenizers") {
		if p.byteLevel {
			part.report.unsupportedf("%s after ByteLevel", part.at)
			break
		}
		switch part.field("type").str() {
		case "ByteLevel":
			p.byteLevel = true
			p.add(byteLevelStep(part))
		case "Digits":
			if part.field("individual_digits").boolean(false) {
				p.add(step{cut: scanDigit})
			} else {
				p.add(step{cut: scanDigits})
			}
		case "Metaspace":
			p.add(metaspaceStep(part))
		case "Split":
			p.add(splitStep(part))
		default:
			part.unsupportedType()
		}
	}
	return p
}

func (p *preTokenizer) add(s step) {
	if s.rewrite != nil || s.cut != nil {
		p.steps = append(p.steps, s)
	}
}

func byteLevelStep(n node) step {
	var s step
	if n.field("add_prefix_space").boolean(true) {
		s.rewrite = func(piece string, _ bool) string { return withPrefix(piece, " ") }
	}
	if n.field("use_regex").boolean(true) {
		s.cut = scanGPT2
	}
	return s
}

func withPrefix(s, prefix string) string {
	if strings.HasPrefix(s, prefix) {
		return s
	}
	return prefix + s
}

// metaspaceScheme reads the replacement character and prepend scheme of a Metaspace pre-tokenizer or decoder.
// add_prefix_space is the older spelling of the scheme.
func metaspaceScheme(n node) (mark, scheme string) {
	mark, scheme = n.field("replacement").str(), "always"
	if utf8.RuneCountInString(mark) != 1 {
		n.field("replacement").wrong("one character")
	}
	if s := n.field("prepend_scheme"); !s.null() {
		scheme = s.str()
	} else if !n.field("add_prefix_space").boolean(true) {
		scheme = "never"
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		n.field("prepend_scheme").wrong("always, first or never")
	}
	return mark, scheme
}

func metaspaceStep(n node) step {
	mark, scheme := metaspaceScheme(n)
	s := step{rewrite: func(piece string, first bool) string {
		piece = strings.ReplaceAll(piece, " ", mark)
		if scheme == "always" || scheme == "first" && first {
			return withPrefix(piece, mark)
		}
		return piece
	}}
	if n.field("split").boolean(true) {
		s.cut = scanBefore(mark)
	}
	return s
}

func splitStep(n node) step {
	literal, regex := n.field("pattern").pattern()
	behavior, invert := n.field("behavior").str(), n.field("invert").boolean(false)
	if regex != "" {
		cut, ok := patterns[regex]
		if !ok {
			n.report.unsupportedf("%s by the regular expression %s", n.at, fault.Quote(regex))
		}
		// All matches are kept as they are; what lies between them is empty for the patterns known.
		if behavior != "Isolated" && !(behavior == "Removed" && invert) {
			n.report.unsupportedf("%s by a regular expression with behavior %s", n.at, fault.Quote(behavior))
		}
		return step{cut: cut}
	}
	var cut scanner
	switch behavior {
	case "Isolated":
		cut = scanAround(literal)
	case "MergedWithPrevious":
		cut = scanAfter(literal)
	case "MergedWithNext":
		cut = scanBefore(literal)
	}
	if cut == nil || invert {
		n.report.unsupportedf("%s with behavior %s and invert %t", n.at, fault.Quote(behavior), invert)
	}
	return step{cut: cut}
}
