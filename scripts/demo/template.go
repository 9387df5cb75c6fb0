package main

import (
	"math/rand/v2"
	"strings"

	"shira/internal/fault"
)

// slots are the words that a template's {keys} stand for.
type slots map[string]string

// expand fills in one template. [a|b|c] becomes one of its alternatives, nested as deep as wanted; {key} becomes its slot;
// {Key} its slot with a capital; {a key} and {A key} put the article in front. Only the alternative that was drawn uses up
// randomness.
func expand(r *rand.Rand, tmpl string, s slots) (string, error) {
	var b strings.Builder
	if err := expandTo(&b, r, tmpl, s); err != nil {
		return "", err
	}
	return sentenceCase(b.String()), nil
}

func expandTo(b *strings.Builder, r *rand.Rand, tmpl string, s slots) error {
	for tmpl != "" {
		i := strings.IndexAny(tmpl, "[{")
		if i < 0 {
			b.WriteString(tmpl)
			return nil
		}
		b.WriteString(tmpl[:i])
		if tmpl[i] == '{' {
			key, rest, ok := strings.Cut(tmpl[i+1:], "}")
			if !ok {
				return fault.New(fault.Internal, "", "template: unclosed { in %q", tmpl)
			}
			word, err := s.word(key)
			if err != nil {
				return err
			}
			b.WriteString(word)
			tmpl = rest
			continue
		}
		alternatives, rest, err := choices(tmpl[i+1:])
		if err != nil {
			return err
		}
		if err := expandTo(b, r, pick(r, alternatives), s); err != nil {
			return err
		}
		tmpl = rest
	}
	return nil
}

// choices splits "a|b[c|d]|e]rest" into its alternatives at the outer level and what follows the closing bracket.
func choices(tmpl string) (alternatives []string, rest string, err error) {
	depth, start := 0, 0
	for i := range len(tmpl) {
		switch tmpl[i] {
		case '[':
			depth++
		case '|':
			if depth == 0 {
				alternatives = append(alternatives, tmpl[start:i])
				start = i + 1
			}
		case ']':
			if depth == 0 {
				return append(alternatives, tmpl[start:i]), tmpl[i+1:], nil
			}
			depth--
		}
	}
	return nil, "", fault.New(fault.Internal, "", "template: unclosed [ in %q", tmpl)
}

// word looks up one key of a template.
func (s slots) word(key string) (string, error) {
	if noun, ok := strings.CutPrefix(key, "a "); ok {
		word, err := s.word(noun)
		return article(word), err
	}
	if noun, ok := strings.CutPrefix(key, "A "); ok {
		word, err := s.word(noun)
		return capital(article(word)), err
	}
	if word, ok := s[key]; ok {
		return word, nil
	}
	if word, ok := s[strings.ToLower(key)]; ok {
		return capital(word), nil
	}
	return "", fault.New(fault.Internal, "", "template: no slot %q", key)
}

// article puts "a" or "an" in front of a word.
func article(word string) string {
	if word != "" && strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// capital returns ASCII s with its first letter in upper case.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// sentenceCase gives every sentence of ASCII text its capital: at the start, after ". ", "! ", "? " and a line break, and
// inside an opening quotation mark. What follows a closing one keeps its case, since the sentence may go on: "Oh!" said he.
func sentenceCase(text string) string {
	b := []byte(text)
	for i := range b {
		if b[i] < 'a' || b[i] > 'z' {
			continue
		}
		if opensSentence(text[:i]) {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// opensSentence reports whether a sentence starts behind the text before it.
func opensSentence(before string) bool {
	before, quoted := strings.CutSuffix(before, "\"")
	if before == "" || strings.HasSuffix(before, "\n") {
		return true
	}
	before, blank := strings.CutSuffix(before, " ")
	if !blank || before == "" {
		return false
	}
	last := before[len(before)-1]
	return strings.IndexByte(".!?", last) >= 0 || quoted && last != ','
}
