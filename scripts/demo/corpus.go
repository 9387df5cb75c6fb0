package main

import "strings"

// genre is one kind of text in the corpus and how often it is written.
type genre struct {
	name   string
	weight int
	write  func(*teller) (string, error)
}

var genres = []genre{
	{"portrait", 26, (*teller).portrait},
	{"housemates", 6, (*teller).housemates},
	{"circle", 6, (*teller).circle},
	{"chat", 10, (*teller).chat},
	{"gossip", 20, (*teller).gossip},
	{"day tale", 24, func(t *teller) (string, error) { return t.tale(dayTales) }},
	{"pet tale", 20, func(t *teller) (string, error) { return t.tale(petTales) }},
	{"plot tale", 32, func(t *teller) (string, error) { return t.tale(plotTales) }},
}

// corpus writes n different texts about the world.
func corpus(w *world, seed uint64, n int) ([]string, error) {
	t := &teller{w: w, r: newRand(seed, streamCorpus)}
	total := 0
	for _, g := range genres {
		total += g.weight
	}
	return distinct(n, func() (string, error) {
		at := t.r.IntN(total)
		for _, g := range genres {
			if at -= g.weight; at < 0 {
				return g.write(t)
			}
		}
		return "", nil
	})
}

// distinct calls write until it has n different texts.
func distinct(n int, write func() (string, error)) ([]string, error) {
	seen := make(map[string]bool, n)
	texts := make([]string, 0, n)
	for len(texts) < n {
		text, err := write()
		if err != nil {
			return nil, err
		}
		if !seen[text] {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// tale tells one of the stories, every fourth under its title.
func (t *teller) tale(from []tale) (string, error) {
	return t.tellTale(pick(t.r, from), t.r.IntN(4) == 0)
}

func (t *teller) tellTale(story tale, titled bool) (string, error) {
	s := t.scene()
	text, err := t.tell(s, story.lines)
	if err != nil || !titled {
		return text, err
	}
	title, err := expand(t.r, story.title, s)
	if err != nil {
		return "", err
	}
	return titleCase(title) + "\n" + text, nil
}

// titleCase gives every word of a title a capital.
func titleCase(title string) string {
	words := strings.Fields(title)
	for i, word := range words {
		words[i] = capital(word)
	}
	return strings.Join(words, " ")
}
