package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sampleCorpus returns n texts of the world of seed 42.
func sampleCorpus(t *testing.T, n int) []string {
	t.Helper()
	texts, err := corpus(newWorld(42), 42, n)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestCorpusIsDeterministic(t *testing.T) {
	first := sampleCorpus(t, 300)
	if !slices.Equal(first, sampleCorpus(t, 300)) {
		t.Error("seed 42 gives two corpora")
	}
	other, err := corpus(newWorld(42), 43, 300)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(first, other) {
		t.Error("seeds 42 and 43 give one corpus")
	}
}

func TestCorpusHasNoTextTwice(t *testing.T) {
	train, validation, err := baseTexts(42)
	if err != nil {
		t.Fatal(err)
	}
	if len(train) != corpusTrain || len(validation) != corpusValidation {
		t.Errorf("%d and %d texts, want %d and %d", len(train), len(validation), corpusTrain, corpusValidation)
	}
	seen := map[string]bool{}
	for _, text := range append(train, validation...) {
		if seen[text] {
			t.Fatalf("twice: %s", text)
		}
		seen[text] = true
	}
}

func TestCorpusIsCleanText(t *testing.T) {
	leftover := regexp.MustCompile(`[\[\]{}|]|[^ -~\n]|  | \.|\.\.|[.,!?][a-z]|[.!?] [a-z]|\ba [aeiou]|\ban [^aeiou]`)
	for _, text := range sampleCorpus(t, 5000) {
		if at := leftover.FindStringIndex(text); at != nil {
			t.Errorf("%q in: %s", text[at[0]:at[1]], text)
		}
		if strings.Count(text, `"`)%2 != 0 {
			t.Errorf("a quotation mark stands alone in: %s", text)
		}
		if last := text[len(text)-1]; !strings.ContainsRune(`.!?"`, rune(last)) {
			t.Errorf("ends in %q: %s", last, text)
		}
	}
}

// TestCorpusHasNoTaskFormat keeps the tasks new to the base, so that an adapter has something to teach.
func TestCorpusHasNoTaskFormat(t *testing.T) {
	taskText := regexp.MustCompile(`Question:|Answer:|Arr\b|\bbe a(?:n|)\b|So \w+ made a new|could choose first|straw hat`)
	for _, text := range sampleCorpus(t, 5000) {
		if found := taskText.FindString(text); found != "" {
			t.Errorf("%q belongs to a task, but is in: %s", found, text)
		}
	}
}

// TestCorpusContradictsNoFact reads the plain statements back out of the text. What Pip the parrot says stands in quotation
// marks and may be wrong.
func TestCorpusContradictsNoFact(t *testing.T) {
	w := newWorld(42)
	speech := regexp.MustCompile(`"[^"]*"`)
	stated := map[string]int{}
	var all strings.Builder
	for _, text := range sampleCorpus(t, 5000) {
		all.WriteString(speech.ReplaceAllString(text, "…"))
		all.WriteByte('\n')
	}
	text := all.String()
	for _, fact := range []struct {
		name, pattern string
		value         func(*person) string
	}{
		{"home", `NAME lives ((?:in|on|at) the \w+)`, func(p *person) string { return p.home.in }},
		{"job", `NAME (?:is|works as) (an? \w+er|an? \w+or)\b`, func(p *person) string { return article(p.job.name) }},
		{"food", `NAME likes (\w+) best`, func(p *person) string { return p.food }},
		{"colour", `NAME's favourite colour is (\w+)`, func(p *person) string { return p.colour }},
		{"thing", `NAME owns (an? \w+ \w+)`, func(p *person) string { return article(p.colour) + " " + p.thing }},
		{"day", `NAME goes to the market every (\w+)`, func(p *person) string { return p.day }},
		{"friend", `NAME's best friend is (\w+)`, func(p *person) string { return p.friend.name }},
		{"pet", `NAME has (an? \w+ called \w+)`, func(p *person) string { return article(p.pet.species) + " called " + p.pet.name }},
	} {
		for _, p := range w.people {
			for _, m := range regexp.MustCompile(strings.ReplaceAll(fact.pattern, "NAME", p.name)).FindAllStringSubmatch(text, -1) {
				stated[fact.name]++
				if want := fact.value(p); m[1] != want && !(fact.name == "thing" && m[1] == article(p.thing)) {
					t.Errorf("%q, but it is %s", m[0], want)
				}
			}
		}
		if stated[fact.name] < 50 {
			t.Errorf("%s: stated only %d times", fact.name, stated[fact.name])
		}
	}
}

func BenchmarkCorpus(b *testing.B) {
	w := newWorld(42)
	size := 0
	for b.Loop() {
		texts, err := corpus(w, 42, 1000)
		if err != nil {
			b.Fatal(err)
		}
		size = 0
		for _, text := range texts {
			size += len(text)
		}
	}
	b.SetBytes(int64(size))
}
