package main

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

func yesNoSets(t *testing.T) (w *world, train, test []question) {
	t.Helper()
	w = newWorld(42)
	train, test, err := yesNo(w, 42)
	if err != nil {
		t.Fatal(err)
	}
	return w, train, test
}

func TestYesNoAnswersAgreeWithTheWorld(t *testing.T) {
	w, train, test := yesNoSets(t)
	facts := 0
	for _, q := range append(train, test...) {
		if q.about == nil {
			continue
		}
		facts++
		for _, rel := range relations {
			if rel.name != q.rel {
				continue
			}
			if holds := rel.value(q.about) == q.asked; holds != q.yes {
				t.Errorf("%q is answered %v, but the value is %q", q.text, q.yes, rel.value(q.about))
			}
			if !strings.Contains(q.text, q.asked) || !strings.Contains(q.text, q.about.name) && !strings.Contains(q.text, q.about.pet.name) {
				t.Errorf("%q does not ask for %q of %s", q.text, q.asked, q.about.name)
			}
		}
	}
	if want := 2 * len(relations) * len(w.people); facts != want {
		t.Errorf("%d questions on facts, want %d", facts, want)
	}
}

func TestYesNoIsBalanced(t *testing.T) {
	_, train, test := yesNoSets(t)
	for name, set := range map[string][]question{"train": train, "test": test} {
		balance := map[string]int{} // yes minus no, by cue
		for _, q := range set {
			step := -1
			if q.yes {
				step = 1
			}
			balance["all"] += step
			if q.about != nil {
				balance["relation "+q.rel] += step
				balance["person "+q.about.name] += step
				balance["value "+q.rel+" "+q.asked] += step
			}
		}
		for cue, sum := range balance {
			if sum != 0 {
				t.Errorf("%s: %d more yes than no for %s", name, sum, cue)
			}
		}
	}
}

func TestYesNoTestIsNotInTrain(t *testing.T) {
	_, train, test := yesNoSets(t)
	asked := map[string]bool{}
	for _, q := range train {
		asked[q.prompt()] = true
		if q.about != nil {
			asked[q.rel+" of "+q.about.name] = true
		}
	}
	for _, q := range test {
		if asked[q.prompt()] {
			t.Errorf("in both: %q", q.prompt())
		}
		if q.about != nil && asked[q.rel+" of "+q.about.name] {
			t.Errorf("the %s of %s is asked for in both", q.rel, q.about.name)
		}
	}
}

func TestYesNoHasNoRowTwice(t *testing.T) {
	_, train, test := yesNoSets(t)
	seen := map[string]bool{}
	for _, q := range append(train, test...) {
		if seen[q.text] {
			t.Errorf("twice: %q", q.text)
		}
		seen[q.text] = true
	}
}

// TestYesNoIsNotGuessableFromWords trains a naive Bayes classifier on words and pairs of words: it has all the surface cues
// and none of the facts.
func TestYesNoIsNotGuessableFromWords(t *testing.T) {
	_, train, test := yesNoSets(t)
	var counts [2]map[string]float64
	counts[0], counts[1] = map[string]float64{}, map[string]float64{}
	for _, q := range train {
		for _, f := range surface(q.text) {
			counts[q.gold()][f]++
		}
	}
	right := 0
	for _, q := range test {
		score := 0.0
		for _, f := range surface(q.text) {
			score += math.Log((counts[0][f] + 1) / (counts[1][f] + 1))
		}
		if (score > 0) == q.yes {
			right++
		}
	}
	if share := float64(right) / float64(len(test)); share > 0.6 {
		t.Errorf("naive Bayes gets %.0f%% of the test right; the questions give their answers away", 100*share)
	}
}

func surface(text string) []string {
	words := regexp.MustCompile(`\w+|[.?,]`).FindAllString(text, -1)
	features := words
	for i := 1; i < len(words); i++ {
		features = append(features, words[i-1]+" "+words[i])
	}
	return features
}
