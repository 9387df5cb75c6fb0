package main

import "strings"

// gossip is Pip the parrot, who says two to five things, right or wrong with equal odds, and is told which. The base learns
// from it to hold a statement against what it knows; a question put as the tasks put it, it never sees.
func (t *teller) gossip() (string, error) {
	lines := make([]string, 0, 6)
	opening, err := expand(t.r, pick(t.r, []string{
		"Pip the parrot sat [on the well|on the roof of the inn|in the old tree] and talked.",
		"\"[Listen|News], [listen|news]!\" cried Pip the parrot.",
		"Pip the parrot [talks all day, and half of it is nonsense|knows everybody in Little Wobble, or thinks so].",
		"[Nobody can talk as much as Pip the parrot.|Pip the parrot had slept badly, so he talked.]",
	}), nil)
	if err != nil {
		return "", err
	}
	lines = append(lines, opening)
	p := pick(t.r, t.w.people)
	for range 2 + t.r.IntN(4) {
		if t.r.IntN(3) > 0 {
			p = pick(t.r, t.w.people)
		}
		line, err := t.claim(p, pick(t.r, relations))
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " "), nil
}

// claim lets Pip say something about p, true half the time.
func (t *teller) claim(p *person, rel relation) (string, error) {
	s := slots{}
	s.person("p", p)
	truth := rel.value(p)
	s["val"] = truth
	verdict := []string{"[That was right|That was true|Pip was right].", "And that was [right|true].", "[Right|True] enough!"}
	if t.r.IntN(2) == 0 {
		other := p
		for rel.value(other) == truth || rel.value(other) == p.name {
			other = pick(t.r, t.w.people)
		}
		s["val"] = rel.value(other)
		mended := pick(t.r, rel.mend)
		verdict = []string{
			"[That was wrong|That was nonsense|Pip was wrong]. " + mended + ".", "But that was [wrong|nonsense]: " + mended + ".",
			"[Wrong|Nonsense]! " + mended + ".",
		}
	}
	said := "\"" + pick(t.r, rel.claim) + "[!\" cried Pip|,\" said Pip|!\" he cried|,\" he said]. "
	return expand(t.r, said+pick(t.r, verdict), s)
}
