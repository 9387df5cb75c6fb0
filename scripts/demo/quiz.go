package main

import (
	"math/rand/v2"
	"slices"

	"shira/internal/fault"
)

// question is one row of the quiz: a fact of the village is asked for.
type question struct {
	text   string // "Where does Mia live?"
	about  *person
	rel    relation
	others [3]string // wrong answers, for the multiple choice
	gold   int       // place of the right answer among them
}

// answer is what is true.
func (q question) answer() string { return q.rel.value(q.about) }

// prompt is the question as a model is asked it.
func (q question) prompt() string { return "Question: " + q.text + "\nAnswer:" }

// completion is the answer behind its blank.
func (q question) completion() string { return " " + q.answer() }

// choice is the question as a multiple choice, to be asked as "Question: <query>\nAnswer:".
func (q question) choice() choiceRow {
	return choiceRow{q.text, slices.Insert(q.others[:], q.gold, q.answer()), q.gold}
}

// heldOut is for how many people per relation only the test asks.
const heldOut = 5

// quiz writes the quiz. It asks for each fact in all wordings of its relation, either in training or in the test, so that
// only the base's own knowledge can answer the test.
func quiz(w *world, seed uint64) (train, test []question, err error) {
	r := newRand(seed, streamQuiz)
	for _, rel := range relations {
		var held []string
		for i, j := range r.Perm(len(w.people)) {
			p := w.people[j]
			if i < heldOut {
				held = append(held, p.name)
			} else if slices.Contains(held, rel.value(p)) {
				continue // friendship is mutual: this answer would tell the friend's, which is the test's
			}
			qs, err := rel.questions(r, w, p)
			if err != nil {
				return nil, nil, err
			}
			if i < heldOut {
				test = append(test, qs...)
			} else {
				train = append(train, qs...)
			}
		}
	}
	for _, qs := range [][]question{train, test} {
		r.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
		for i, j := range r.Perm(len(qs)) {
			qs[i].gold = j % (1 + len(qs[i].others))
		}
	}
	return train, test, nil
}

// questions asks for one fact in all wordings.
func (rel relation) questions(r *rand.Rand, w *world, p *person) ([]question, error) {
	s := slots{}
	s.person("p", p)
	var qs []question
	for _, ask := range rel.ask {
		text, err := expand(r, ask, s)
		if err != nil {
			return nil, err
		}
		q := question{text: text, about: p, rel: rel}
		if q.others, err = rel.wrong(r, w, p); err != nil {
			return nil, err
		}
		qs = append(qs, q)
	}
	return qs, nil
}

// wrong draws three values that are not p's. They are true of people of p's gender, or a friend's name would be given away
// by being a man's or a woman's.
func (rel relation) wrong(r *rand.Rand, w *world, p *person) (values [3]string, err error) {
	n, seen := 0, []string{rel.value(p)}
	for _, i := range r.Perm(len(w.people)) {
		other := w.people[i]
		if v := rel.value(other); other.he == p.he && !slices.Contains(seen, v) {
			seen = append(seen, v)
			values[n] = v
			if n++; n == len(values) {
				return values, nil
			}
		}
	}
	return values, fault.New(fault.Internal, "", "relation %s: only %d values but that of %s", rel.name, n, p.name)
}
