package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"shira/internal/fault"
)

// maxAddedToken bounds an added token in bytes, and with it the work per byte of text of looking for them.
const maxAddedToken = 1024

// addedToken is a token that is found in the text as it is written, before the model sees the rest.
type addedToken struct {
	content    string
	decoded    string // what decoders get: the content, normalized where the token is
	id         int32
	special    bool
	normalized bool // sought in the normalized text
	singleWord bool // only where no word character touches it
	lstrip     bool // takes the whitespace before it
	rstrip     bool // takes the whitespace after it
}

// addedTokens are the added tokens of a tokenizer.
type addedTokens struct {
	byID       map[int32]*addedToken
	byContent  map[string]*addedToken
	verbatim   matcher // those sought in the text as given
	normalized matcher // those sought in the normalized text
	size       int     // highest id plus one
}

// newAddedTokens reads the added_tokens array, null for none, and checks it against the model's vocabulary.
func newAddedTokens(n node, vocab *vocabulary, normal []normalizer) *addedTokens {
	a := &addedTokens{byID: map[int32]*addedToken{}, byContent: map[string]*addedToken{}}
	if n.null() {
		return a
	}
	for _, item := range n.items() {
		t := readAddedToken(item)
		if t.content == "" {
			continue // as the reference library does
		}
		if id, ok := vocab.id(t.content); ok && id != t.id {
			n.report.malformedf("added token %s has id %d, but %d in the vocabulary", fault.Quote(t.content), t.id, id)
		}
		if token, ok := vocab.token(t.id); ok && token != t.content {
			n.report.malformedf("added token %s has the id %d of token %s", fault.Quote(t.content), t.id, fault.Quote(token))
		}
		if a.byID[t.id] != nil || a.byContent[t.content] != nil {
			n.report.malformedf("added token %s (id %d) is given twice", fault.Quote(t.content), t.id)
			continue
		}
		t.decoded = t.content
		if t.normalized {
			t.decoded = normalize(normal, t.content)
		}
		a.byID[t.id], a.byContent[t.content] = t, t
		a.size = max(a.size, int(t.id)+1)
		if t.normalized {
			a.normalized.add(t.decoded, t)
		} else {
			a.verbatim.add(t.decoded, t)
		}
	}
	return a
}

func readAddedToken(n node) *addedToken {
	special := n.field("special").boolean(false)
	t := &addedToken{
		content:    n.field("content").str(),
		id:         n.field("id").tokenID(),
		special:    special,
		normalized: n.field("normalized").boolean(!special),
		singleWord: n.field("single_word").boolean(false),
		lstrip:     n.field("lstrip").boolean(false),
		rstrip:     n.field("rstrip").boolean(false),
	}
	if len(t.content) > maxAddedToken {
		n.report.malformedf("%s has %d bytes, more than %d", n.at, len(t.content), maxAddedToken)
		t.content = ""
	}
	return t
}

// matcher finds the leftmost-longest of a set of strings with a trie over bytes.
type matcher struct {
	starts [256]bool
	nodes  []trieNode // nodes[0] is the root
	edges  map[uint64]int32
}

type trieNode struct{ token *addedToken }

func (m *matcher) empty() bool { return len(m.nodes) == 0 }

func edge(node int32, b byte) uint64 { return uint64(node)<<8 | uint64(b) }

func (m *matcher) add(s string, t *addedToken) {
	if s == "" {
		return
	}
	if m.empty() {
		m.nodes, m.edges = make([]trieNode, 1), map[uint64]int32{}
	}
	m.starts[s[0]] = true
	at := int32(0)
	for k := range len(s) {
		e := edge(at, s[k])
		next, ok := m.edges[e]
		if !ok {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, trieNode{})
			m.edges[e] = next
		}
		at = next
	}
	m.nodes[at].token = t
}

// find returns the first match in s at or after i; where several start there, the longest.
func (m *matcher) find(s string, i int) (t *addedToken, start, end int) {
	for ; i < len(s); i++ {
		if !m.starts[s[i]] {
			continue
		}
		at := int32(0)
		for k := i; k < len(s); k++ {
			next, ok := m.edges[edge(at, s[k])]
			if !ok {
				break
			}
			at = next
			if found := m.nodes[at].token; found != nil {
				t, end = found, k+1
			}
		}
		if t != nil {
			return t, i, end
		}
	}
	return nil, len(s), len(s)
}

// split calls text for what lies between added tokens, with where it starts in s, and token for every added token.
func (m *matcher) split(s string, text func(piece string, start int), token func(*addedToken)) {
	if m.empty() {
		if s != "" {
			text(s, 0)
		}
		return
	}
	done := 0 // up to here s is dealt with
	for i := 0; ; {
		t, start, end := m.find(s, i)
		if t == nil {
			break
		}
		i = end
		if t.singleWord && (endsInWord(s[:start]) || startsWithWord(s[end:])) {
			continue
		}
		if t.lstrip {
			start = max(done, len(strings.TrimRightFunc(s[:start], unicode.IsSpace)))
		}
		if t.rstrip {
			end = len(s) - len(strings.TrimLeftFunc(s[end:], unicode.IsSpace))
		}
		if done < start {
			text(s[done:start], done)
		}
		token(t)
		done = end
	}
	if done < len(s) {
		text(s[done:], done)
	}
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode TR 18: Alphabetic, Mark, Decimal_Number, Connector_Punctuation and Join_Control.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
