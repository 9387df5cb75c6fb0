package tokenizer

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A decoder turns the tokens of a text, as the vocabulary spells them, towards text.
type decoder func(tokens []string) []string

// newDecoder returns the decoders of a tokenizer.json in their order, none for null.
func newDecoder(n node) []decoder {
	if n.null() {
		return nil
	}
	growth := 1
	var list []decoder
	for _, part := range flatten(n, "decoders") {
		if d := decoderPart(part, &growth); d != nil {
			list = append(list, d)
		}
	}
	return list
}

func decoderPart(n node, growth *int) decoder {
	switch n.field("type").str() {
	case "ByteLevel":
		return decodeByteLevel
	case "ByteFallback":
		return decodeByteFallback
	case "Fuse":
		return func(tokens []string) []string { return []string{strings.Join(tokens, "")} }
	case "Replace":
		return each(newReplace(n, growth))
	case "Strip":
		content, start, stop := n.field("content").str(), n.field("start").count(), n.field("stop").count()
		if utf8.RuneCountInString(content) != 1 {
			n.field("content").wrong("one character")
		}
		return each(func(token string) string { return strip(token, content, start, stop) })
	case "Metaspace":
		mark, scheme := metaspaceScheme(n)
		return func(tokens []string) []string { return decodeMetaspace(tokens, mark, scheme) }
	}
	n.unsupportedType()
	return nil
}

func each(change func(string) string) decoder {
	return func(tokens []string) []string {
		for i, token := range tokens {
			tokens[i] = change(token)
		}
		return tokens
	}
}

func decodeByteLevel(tokens []string) []string {
	var text []byte
	for _, token := range tokens {
		text = appendBytes(text, token)
	}
	return []string{lossyString(text)}
}

// decodeByteFallback joins runs of <0x00> tokens into the text of their bytes. A run that is not UTF-8 becomes one
// U+FFFD per byte.
func decodeByteFallback(tokens []string) []string {
	out := make([]string, 0, len(tokens))
	var run []byte
	flush := func() {
		switch {
		case len(run) == 0:
			return
		case utf8.Valid(run):
			out = append(out, string(run))
		default:
			out = append(out, strings.Repeat("\uFFFD", len(run)))
		}
		run = run[:0]
	}
	for _, token := range tokens {
		if b, ok := byteToken(token); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, token)
	}
	flush()
	return out
}

// byteToken parses <0x00>.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

// strip removes at most start times content from the front and stop times from the end.
func strip(token, content string, start, stop int) string {
	for ; start > 0 && strings.HasPrefix(token, content); start-- {
		token = token[len(content):]
	}
	for ; stop > 0 && strings.HasSuffix(token, content); stop-- {
		token = token[:len(token)-len(content)]
	}
	return token
}

// decodeMetaspace writes mark as a space, and drops it from the first token where the tokenizer prepends it.
func decodeMetaspace(tokens []string, mark, scheme string) []string {
	for i, token := range tokens {
		if i == 0 && scheme != "never" {
			tokens[i] = strings.ReplaceAll(token, mark, "")
		} else {
			tokens[i] = strings.ReplaceAll(token, mark, " ")
		}
	}
	return tokens
}
