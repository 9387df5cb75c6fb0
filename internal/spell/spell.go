// Package spell finds the name that a mistyped one was meant to be.
package spell

import (
	"math"
	"strings"
)

// maxWord bounds the words that are compared: longer ones are no slips of the hand, and the cost grows with their product.
const maxWord = 64

// Nearest returns the candidate closest to word, the first of several. It reports false when none is close: more than a
// third of the longer word's letters differ. Case and the choice between - and _ do not count.
func Nearest(word string, candidates []string) (string, bool) {
	best, found, least := "", false, math.MaxInt
	w := fold(word)
	if len(w) > maxWord {
		return "", false
	}
	for _, c := range candidates {
		f := fold(c)
		if len(f) > maxWord {
			continue
		}
		if d := distance(w, f); d < least && 3*d <= max(len(w), len(f)) {
			best, found, least = c, true, d
		}
	}
	return best, found
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance counts the letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, prev, row = prev, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j+1]+1, row[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
