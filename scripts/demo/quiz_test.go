package main

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func quizSets(t *testing.T) (train, test []question) {
	t.Helper()
	train, test, err := quiz(newWorld(42), 42)
	if err != nil {
		t.Fatal(err)
	}
	return train, test
}

// fact names what a question asks for.
func (q question) fact() string { return q.rel.name + " of " + q.about.name }

func TestQuizAnswersAgreeWithTheWorld(t *testing.T) {
	truth := map[string]string{}
	for _, p := range newWorld(42).people {
		for _, rel := range relations {
			truth[rel.name+" of "+p.name] = rel.value(p)
		}
	}
	train, test := quizSets(t)
	for _, q := range append(train, test...) {
		if want := " " + truth[q.fact()]; q.completion() != want {
			t.Errorf("%q is answered %q, want %q", q.text, q.completion(), want)
		}
		if !strings.Contains(q.text, q.about.name) && !strings.Contains(q.text, q.about.pet.name) {
			t.Errorf("%q does not ask about %s", q.text, q.about.name)
		}
	}
}

// TestQuizTellsNoFact: a question must not say what another one asks for, as "Mia's cat" would.
func TestQuizTellsNoFact(t *testing.T) {
	article := regexp.MustCompile(`^an? `)
	train, test := quizSets(t)
	for _, q := range append(train, test...) {
		for _, rel := range relations {
			value := article.ReplaceAllString(rel.value(q.about), "")
			if regexp.MustCompile(`\b` + value + `\b`).MatchString(q.text) {
				t.Errorf("%q tells the %s of %s", q.text, rel.name, q.about.name)
			}
		}
	}
}

func TestQuizTestFactsAreNotInTrain(t *testing.T) {
	train, test := quizSets(t)
	asked, friends := map[string]bool{}, map[string]bool{}
	for _, q := range train {
		asked[q.fact()] = true
		if q.rel.name == "friend" {
			friends[q.answer()] = true
		}
	}
	held := map[string]bool{}
	for _, q := range test {
		held[q.fact()] = true
		if asked[q.fact()] {
			t.Errorf("the %s is asked for in both", q.fact())
		}
		if q.rel.name == "friend" && friends[q.about.name] {
			t.Errorf("an answer in training tells the %s", q.fact())
		}
	}
	if want := heldOut * len(relations); len(held) != want {
		t.Errorf("the test asks for %d facts, want %d", len(held), want)
	}
}

func TestQuizHasNoRowTwice(t *testing.T) {
	train, test := quizSets(t)
	seen := map[string]bool{}
	for _, q := range append(train, test...) {
		if seen[q.text] {
			t.Errorf("twice: %q", q.text)
		}
		seen[q.text] = true
	}
}

func TestQuizChoices(t *testing.T) {
	values := map[string]map[string]bool{}
	for _, rel := range relations {
		values[rel.name] = map[string]bool{}
		for _, p := range newWorld(42).people {
			values[rel.name][rel.value(p)] = true
		}
	}
	_, test := quizSets(t)
	var golds [4]int
	for _, q := range test {
		c := q.choice()
		golds[c.Gold]++
		if c.Choices[c.Gold] != q.answer() {
			t.Errorf("%q: choice %d of %q is not %q", c.Query, c.Gold, c.Choices, q.answer())
		}
		if sorted := slices.Sorted(slices.Values(c.Choices)); len(slices.Compact(sorted)) != 4 {
			t.Errorf("%q: not four different choices: %q", c.Query, c.Choices)
		}
		for _, v := range c.Choices {
			if !values[q.rel.name][v] || v == q.about.name {
				t.Errorf("%q: %q cannot be the %s", c.Query, v, q.fact())
			}
		}
	}
	if slices.Max(golds[:])-slices.Min(golds[:]) > 1 {
		t.Errorf("the right answer stands in the four places %d times", golds)
	}
}

// TestQuizIsNotGuessableFromTraining answers each question of the test with the answer that training gives to its relation
// most often, or most rarely: every value is true of equally many people, so what training has less of, the test has more.
func TestQuizIsNotGuessableFromTraining(t *testing.T) {
	train, test := quizSets(t)
	counts := map[string]map[string]int{}
	for _, q := range train {
		if counts[q.rel.name] == nil {
			counts[q.rel.name] = map[string]int{}
		}
		counts[q.rel.name][q.answer()]++
	}
	for name, sign := range map[string]int{"most often": 1, "most rarely": -1} {
		guess := map[string]string{}
		for rel, byValue := range counts {
			best := math.MinInt
			for v, n := range byValue {
				if n *= sign; n > best || n == best && v < guess[rel] {
					guess[rel], best = v, n
				}
			}
		}
		right := 0
		for _, q := range test {
			if guess[q.rel.name] == q.answer() {
				right++
			}
		}
		if share := float64(right) / float64(len(test)); share >= 0.4 {
			t.Errorf("what training answers %s is right for %.0f%% of the test", name, 100*share)
		}
	}
}
