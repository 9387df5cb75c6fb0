package tokenizer

import "strings"

// A scanner returns the end of the piece of s that starts at i, i < len(s). Scanners stand for the regular expressions
// of split patterns, which need lookahead and are far too slow on an engine.
type scanner func(s string, i int) int

// patterns lists the split patterns known, each with its scanner. All of them match every character, so that the
// pieces are the matches and nothing lies between.
var patterns = map[string]scanner{
	// GPT-2, RoBERTa, GPT-NeoX
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: scanGPT2,
	// Llama 3, OLMo 2, SmolLM3: cl100k_base of tiktoken, and its spelling there
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanLlama3,
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`:       scanLlama3,
	// Qwen 2 and 3: the same with single digits
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanQwen,
}

func scanGPT2(s string, i int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	c, n := classAt(s, i)
	if s[i] == ' ' && i+1 < len(s) {
		if after, width := classAt(s, i+1); !after.isSpace() {
			c, n = after, 1+width
		}
	}
	if !c.isSpace() {
		return runOf(s, i+n, c)
	}
	end, last, _ := whitespace(s, i)
	return beforeWord(s, i, end, last)
}

func scanLlama3(s string, i int) int { return scanCL100K(s, i, 3) }

func scanQwen(s string, i int) int { return scanCL100K(s, i, 1) }

// scanCL100K takes at most digits numerals at once.
func scanCL100K(s string, i, digits int) int {
	if s[i] == '\'' {
		if n := foldedContraction(s[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	c, n := classAt(s, i)
	switch c {
	case letter:
		return runOf(s, i+n, letter)
	case number:
		return numerals(s, i, digits)
	case other, space: // [^\r\n\p{L}\p{N}]?\p{L}+ and then  ?[^\s\p{L}\p{N}]+[\r\n]*
		after := other
		if i+n < len(s) {
			after, _ = classAt(s, i+n)
			if after == letter {
				return runOf(s, i+n, letter)
			}
		}
		if c == other || s[i] == ' ' && i+1 < len(s) && after == other {
			return runOf(s, runOf(s, i+n, other), newline)
		}
	}
	end, last, afterNewline := whitespace(s, i)
	if afterNewline > 0 { // \s*[\r\n]+ ends at the last line break
		return afterNewline
	}
	return beforeWord(s, i, end, last)
}

// numerals returns the end of at most most characters of class number from i.
func numerals(s string, i, most int) int {
	for ; most > 0 && i < len(s); most-- {
		c, n := classAt(s, i)
		if c != number {
			break
		}
		i += n
	}
	return i
}

// whitespace returns the end of the run of \s that starts at i, where its last character starts, and the end of the
// last line break in it (0 where there is none).
func whitespace(s string, i int) (end, last, afterNewline int) {
	last = i
	for i < len(s) {
		c, n := classAt(s, i)
		if !c.isSpace() {
			break
		}
		last = i
		i += n
		if c == newline {
			afterNewline = i
		}
	}
	return i, last, afterNewline
}

// beforeWord is \s+(?!\S)|\s+ : before a word the last space is left to it, unless it is the only one.
func beforeWord(s string, i, end, last int) int {
	if end == len(s) || last == i {
		return end
	}
	return last
}

// contraction returns the length of s|t|re|ve|m|ll|d at the start of s, 0 for none.
func contraction(s string) int {
	if s == "" {
		return 0
	}
	switch s[0] {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v':
		if len(s) > 1 && s[1] == 'e' {
			return 2
		}
	case 'l':
		if len(s) > 1 && s[1] == 'l' {
			return 2
		}
	}
	return 0
}

// foldedContraction is contraction in any case. The long s folds to s, the only letter outside ASCII to match.
func foldedContraction(s string) int {
	if strings.HasPrefix(s, "ſ") {
		return len("ſ")
	}
	var lower [2]byte
	n := min(len(s), 2)
	for k := range n {
		lower[k] = s[k]
		if 'A' <= s[k] && s[k] <= 'Z' {
			lower[k] += 'a' - 'A'
		}
	}
	return contraction(string(lower[:n]))
}

// scanDigit isolates every numeral, scanDigits every run of them.
func scanDigit(s string, i int) int { return digitsOr(s, i, 1) }

func scanDigits(s string, i int) int { return digitsOr(s, i, len(s)) }

// digitsOr returns the end of at most most numerals at i, or else of what comes before the next numeral.
func digitsOr(s string, i, most int) int {
	if end := numerals(s, i, most); end > i {
		return end
	}
	for i < len(s) {
		c, n := classAt(s, i)
		if c == number {
			break
		}
		i += n
	}
	return i
}

// scanBefore starts a piece at every occurrence of mark (MergedWithNext).
func scanBefore(mark string) scanner {
	return func(s string, i int) int {
		if strings.HasPrefix(s[i:], mark) {
			i += len(mark)
		}
		if k := strings.Index(s[i:], mark); k >= 0 {
			return i + k
		}
		return len(s)
	}
}

// scanAfter ends a piece after every occurrence of mark (MergedWithPrevious).
func scanAfter(mark string) scanner {
	return func(s string, i int) int {
		if k := strings.Index(s[i:], mark); k >= 0 {
			return i + k + len(mark)
		}
		return len(s)
	}
}

// scanAround makes every occurrence of mark a piece of its own (Isolated).
func scanAround(mark string) scanner {
	return func(s string, i int) int {
		switch k := strings.Index(s[i:], mark); {
		case k == 0:
			return i + len(mark)
		case k > 0:
			return i + k
		}
		return len(s)
	}
}

// scanMetaspaceWords starts a piece at every run of the metaspace character.
func scanMetaspaceWords(s string, i int) int {
	for strings.HasPrefix(s[i:], metaspace) {
		i += len(metaspace)
	}
	if k := strings.Index(s[i:], metaspace); k >= 0 {
		return i + k
	}
	return len(s)
}
