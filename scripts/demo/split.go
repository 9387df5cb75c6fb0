package main

import "strings"

// contractions are the endings that the GPT-2 pattern splits off first.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// split cuts ASCII text into words as the pattern of GPT-2 does:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func split(text string) []string {
	var words []string
	for text != "" {
		n := wordLen(text)
		words = append(words, text[:n])
		text = text[n:]
	}
	return words
}

// wordLen returns the length of the first word of text, which is not empty.
func wordLen(text string) int {
	for _, c := range contractions {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	start := 0
	if text[0] == ' ' && len(text) > 1 {
		start = 1
	}
	if kind := classOf(text[start]); kind != space {
		return start + runLen(text[start:], kind)
	}
	n := runLen(text, space)
	if n == len(text) || n == 1 {
		return n
	}
	return n - 1 // \s+(?!\S): the last blank belongs to the word that follows
}

// class is what the pattern tells apart in ASCII.
type class int

const (
	space class = iota
	letter
	digit
	other
)

func classOf(c byte) class {
	switch {
	case c == ' ' || '\t' <= c && c <= '\r':
		return space
	case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		return letter
	case '0' <= c && c <= '9':
		return digit
	}
	return other
}

// runLen returns how many bytes at the start of text are of one class.
func runLen(text string, kind class) int {
	n := 0
	for n < len(text) && classOf(text[n]) == kind {
		n++
	}
	return n
}
