package main

import (
	"fmt"
	"io"
	"path/filepath"
)

// The sizes of the data.
const (
	corpusTrain      = 17000
	corpusValidation = 400
	endingTrain      = 800
	endingTest       = 200
	pirateTrain      = 600
	pirateTest       = 120
	storiesTest      = 100
)

// baseTexts writes the texts of the base, cut into training and validation.
func baseTexts(seed uint64) (train, validation []string, err error) {
	texts, err := corpus(newWorld(seed), seed, corpusTrain+corpusValidation)
	if err != nil {
		return nil, nil, err
	}
	return texts[:corpusTrain], texts[corpusTrain:], nil
}

func runCorpus(o options, w io.Writer) error {
	train, validation, err := baseTexts(o.seed)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		texts []string
	}{{"train", train}, {"validation", validation}} {
		if err := writeTexts(filepath.Join(o.out, part.name+".jsonl"), part.texts, w); err != nil {
			return err
		}
	}
	return nil
}

func writeTexts(path string, texts []string, w io.Writer) error {
	rows, size := make([]textRow, len(texts)), 0
	for i, text := range texts {
		rows[i].Text = text
		size += len(text)
	}
	if err := writeJSONL(path, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %d texts, %d bytes of text\n", path, len(texts), size)
	return err
}

func runTasks(o options, w io.Writer) error {
	village := newWorld(o.seed)
	train, test, err := quiz(village, o.seed)
	if err != nil {
		return err
	}
	stories, err := endings(village, o.seed, endingTrain+endingTest)
	if err != nil {
		return err
	}
	tales, err := pirateTales(village, o.seed, pirateTrain+pirateTest)
	if err != nil {
		return err
	}
	_, unseen, err := baseTexts(o.seed)
	if err != nil {
		return err
	}
	dir := func(task, file string) string { return filepath.Join(o.out, task, file) }
	for _, part := range []struct {
		file     string
		asked    []question
		openings []opening
		tales    []string
	}{
		{"train.jsonl", train, stories[:endingTrain], tales[:pirateTrain]},
		{"test.jsonl", test, stories[endingTrain:], tales[pirateTrain:]},
	} {
		if err := writePrompts(dir("quiz", part.file), part.asked, w); err != nil {
			return err
		}
		if err := writePrompts(dir("ending", part.file), part.openings, w); err != nil {
			return err
		}
		if err := writeTexts(dir("pirate", part.file), part.tales, w); err != nil {
			return err
		}
	}
	// What the base can do itself, to see what an adapter costs it.
	if err := writeTexts(dir("stories", "test.jsonl"), unseen[:storiesTest], w); err != nil {
		return err
	}
	if err := writeChoices(dir("quiz", "choices.jsonl"), test, w); err != nil {
		return err
	}
	return writeChoices(dir("ending", "choices.jsonl"), stories[endingTrain:], w)
}

// row is a row of a task: what a model is given, what it should add, and what it may choose from.
type row interface {
	prompt() string
	completion() string
	choice() choiceRow
}

func writePrompts[R row](path string, rows []R, w io.Writer) error {
	out := make([]promptRow, len(rows))
	for i, r := range rows {
		out[i] = promptRow{r.prompt(), r.completion()}
	}
	if err := writeJSONL(path, out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %d rows\n", path, len(rows))
	return err
}

func writeChoices[R row](path string, rows []R, w io.Writer) error {
	out := make([]choiceRow, len(rows))
	for i, r := range rows {
		out[i] = r.choice()
	}
	if err := writeJSONL(path, out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %d rows\n", path, len(rows))
	return err
}
