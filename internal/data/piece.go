package data

import (
	"strconv"
	"strings"
)

// Piece is a stretch of an example of which all tokens count, or none.
type Piece struct {
	Text   string `json:"text"`
	Counts bool   `json:"counts"`
	Tokens int    `json:"tokens"`
}

// Pieces returns the text of an example, cut where the tokens that count begin and end. Without a tokenizer the text is
// that of the ids.
func (e Example) Pieces(tok Tokenizer) []Piece {
	var pieces []Piece
	before := ""
	for start := 0; start < len(e.IDs); {
		counts := e.countsAt(start)
		end := start + 1
		for end < len(e.IDs) && e.countsAt(end) == counts {
			end++
		}
		p := Piece{Counts: counts, Tokens: end - start}
		if tok == nil {
			p.Text = numbers(e.IDs[start:end])
		} else {
			// Decoded from the start: what a token stands for may depend on those before it.
			upTo := tok.Decode(e.IDs[:end])
			n := 0
			for n < len(upTo) && n < len(before) && upTo[n] == before[n] {
				n++
			}
			p.Text, before = upTo[n:], upTo
		}
		pieces = append(pieces, p)
		start = end
	}
	return pieces
}

// countsAt says whether token i counts. Labels other than the token itself do too.
func (e Example) countsAt(i int) bool { return i > 0 && e.Labels[i] != Ignore }

func numbers(ids []int32) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(int(id)))
	}
	return b.String()
}
