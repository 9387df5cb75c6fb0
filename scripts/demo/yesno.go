package main

import (
	"math/rand/v2"

	"shira/internal/fault"
)

// question is one row of the yes/no task.
type question struct {
	text  string // "Does Mia live in the mill?", after a short story if it is about one
	yes   bool
	about *person // for questions on the facts; nil for those on a story
	rel   string  // the relation asked for
	asked string  // the value asked for
}

// prompt is the question as a model is asked it.
func (q question) prompt() string { return "Question: " + q.text + "\nAnswer:" }

// completion is the answer behind its blank.
func (q question) completion() string { return " " + yesNoWords[q.gold()] }

// choice is the question as a multiple choice, to be asked as "Question: <query>\nAnswer:".
func (q question) choice() choiceRow { return choiceRow{q.text, yesNoWords, q.gold()} }

var yesNoWords = []string{"yes", "no"}

func (q question) gold() int {
	if q.yes {
		return 0
	}
	return 1
}

const (
	heldOut      = 5   // people per relation whose fact only the test asks for
	trainStories = 320 // questions on a story in the training set
	testStories  = 80
)

// yesNo writes the yes/no task. The questions on facts ask, for each relation, once for each person's own value and once for
// another's, so that neither the person nor the value nor the wording gives the answer away; the facts of the test are not
// asked for in training, so that only the base's own knowledge can answer them.
func yesNo(w *world, seed uint64) (train, test []question, err error) {
	r := newRand(seed, streamYesNo)
	for _, rel := range relations {
		var known, held []*person
		for known == nil {
			perm := r.Perm(len(w.people))
			held = pickPeople(w, perm[:heldOut])
			if swapped(r, rel, held) != nil {
				known = pickPeople(w, perm[heldOut:])
			}
		}
		for _, part := range []struct {
			to     *[]question
			people []*person
		}{{&train, known}, {&test, held}} {
			qs, err := rel.questions(r, part.people)
			if err != nil {
				return nil, nil, err
			}
			*part.to = append(*part.to, qs...)
		}
	}
	stories, err := storyQuestions(&teller{w, r}, trainStories+testStories)
	if err != nil {
		return nil, nil, err
	}
	train = append(train, stories[:trainStories]...)
	test = append(test, stories[trainStories:]...)
	for _, qs := range [][]question{train, test} {
		r.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
	}
	return train, test, nil
}

func pickPeople(w *world, indices []int) []*person {
	people := make([]*person, len(indices))
	for i, j := range indices {
		people[i] = w.people[j]
	}
	return people
}

// questions asks people for their own value and for another's, which is dealt out among them.
func (rel relation) questions(r *rand.Rand, people []*person) ([]question, error) {
	wrong := swapped(r, rel, people)
	if wrong == nil {
		return nil, fault.New(fault.Internal, "", "relation %s: no way to swap the values of %d people", rel.name, len(people))
	}
	var qs []question
	for i, p := range people {
		for _, q := range []question{{yes: true, asked: rel.value(p)}, {asked: rel.value(wrong[i])}} {
			s := slots{"val": q.asked}
			s.person("p", p)
			text, err := expand(r, pick(r, rel.ask), s)
			if err != nil {
				return nil, err
			}
			q.text, q.about, q.rel = text, p, rel.name
			qs = append(qs, q)
		}
	}
	return qs, nil
}

// swapped returns people in an order in which everyone meets somebody with another value (and nobody becomes his own
// friend), or nil when a thousand shuffles find none.
func swapped(r *rand.Rand, rel relation, people []*person) []*person {
	for range 1000 {
		perm := make([]*person, len(people))
		ok := true
		for i, j := range r.Perm(len(people)) {
			perm[i] = people[j]
			v := rel.value(people[j])
			ok = ok && v != rel.value(people[i]) && v != people[i].name
		}
		if ok {
			return perm
		}
	}
	return nil
}
