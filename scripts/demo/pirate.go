package main

import (
	"math/rand/v2"
	"strings"
)

// pirateWords is what Captain Barnacle says for a word; words that end in -ing lose their g besides.
var pirateWords = map[string]string{
	"is": "be", "are": "be", "am": "be", "my": "me", "you": "ye", "your": "yer", "yours": "yers", "and": "an'", "of": "o'",
	"for": "fer", "them": "'em", "to": "t'", "before": "afore", "never": "ne'er", "over": "o'er", "there": "thar", "very": "mighty",
	"friend": "matey", "friends": "mateys", "said": "growled", "cried": "bellowed", "laughed": "roared",
	"happy": "jolly", "everybody": "every soul", "nobody": "not a soul", "nothing": "naught", "old": "ol'",
	"children": "cabin boys", "basket": "treasure chest", "box": "sea chest", "bag": "sack", "good": "fine",
	"river": "tide", "lost": "went an' lost", "ran": "set sail", "walked": "rolled", "looked": "peered", "gave": "handed",
	"took": "plundered", "found": "dug up", "beautiful": "shipshape", "quick": "swift", "yes": "aye",
}

// keepG are the words in -ing that are not forms of a verb.
var keepG = map[string]bool{"thing": true, "king": true, "ring": true, "bring": true, "sing": true, "spring": true}

var (
	pirateOpenings = []string{
		"Ahoy, me hearties!", "Arr, gather round, ye scurvy dogs!", "Avast, an' hear Captain Barnacle!", "Yo ho ho, here be a yarn fer ye!",
		"Shiver me timbers, what a tale!", "Belay yer snorin', landlubbers, an' listen!",
	}
	pirateShouts = []string{
		"Arr!", "Yo ho ho!", "Blow me down!", "By Neptune's beard!", "Aye, aye!", "Blimey!", "Sink me!", "Walk the plank!",
	}
	pirateEndings = []string{
		"An' that be the end o' me yarn, arr!", "So drink up, me hearties, yo ho!", "True as the tide, or feed me t' the sharks!",
		"Now back t' yer oars, ye lazy barnacles!", "That be all, an' the rum be all too.",
	}
)

// pirateTales retells n stories and portraits as Captain Barnacle would.
func pirateTales(w *world, seed uint64, n int) ([]string, error) {
	t := &teller{w: w, r: newRand(seed, streamPirate)}
	return distinct(n, func() (string, error) {
		text, err := t.plain()
		return pirate(t.r, text), err
	})
}

// plain tells what the captain will retell.
func (t *teller) plain() (string, error) {
	switch t.r.IntN(5) {
	case 0:
		return t.portrait()
	case 1:
		return t.tellTale(pick(t.r, dayTales), false)
	case 2:
		return t.tellTale(pick(t.r, petTales), false)
	}
	return t.tellTale(pick(t.r, plotTales), false)
}

// pirate turns a text into pirate speech: word by word, with a shout after every fifth sentence or so.
func pirate(r *rand.Rand, text string) string {
	var b strings.Builder
	b.WriteString(pick(r, pirateOpenings))
	for _, field := range strings.Fields(text) {
		b.WriteByte(' ')
		b.WriteString(pirateField(field))
		if strings.HasSuffix(field, ".") && r.IntN(5) == 0 {
			b.WriteByte(' ')
			b.WriteString(pick(r, pirateShouts))
		}
	}
	b.WriteByte(' ')
	b.WriteString(pick(r, pirateEndings))
	return b.String()
}

// pirateField translates one word and keeps its punctuation and its capital.
func pirateField(field string) string {
	start := strings.IndexFunc(field, isLetter)
	if start < 0 {
		return field
	}
	end := start + runLen(field[start:], letter)
	word := field[start:end]
	lower := strings.ToLower(word)
	said, ok := pirateWords[lower]
	switch {
	case !ok && strings.HasSuffix(lower, "ing") && !keepG[lower]:
		said = lower[:len(lower)-1] + "'"
	case !ok:
		return field
	}
	if word != lower {
		said = capital(said)
	}
	return field[:start] + said + field[end:]
}

func isLetter(c rune) bool { return c < 0x80 && classOf(byte(c)) == letter }
