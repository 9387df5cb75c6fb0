package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func endingSets(t *testing.T) (train, test []opening) {
	t.Helper()
	rows, err := endings(newWorld(42), 42, endingTrain+endingTest)
	if err != nil {
		t.Fatal(err)
	}
	return rows[:endingTrain], rows[endingTrain:]
}

func TestEndingRows(t *testing.T) {
	train, test := endingSets(t)
	seen := map[string]bool{}
	var golds [4]int
	for _, row := range append(slices.Clone(train), test...) {
		if seen[row.story] {
			t.Errorf("twice: %q", row.story)
		}
		seen[row.story] = true
		golds[row.gold]++
		sorted := slices.Sorted(slices.Values(row.endings))
		if len(slices.Compact(sorted)) != 4 {
			t.Errorf("%q: not four different endings: %q", row.story, row.endings)
		}
		if row.completion() != " "+row.endings[row.gold] {
			t.Errorf("completion %q, want the right ending %q", row.completion(), row.endings[row.gold])
		}
	}
	for i, n := range golds {
		if n < 200 || n > 300 {
			t.Errorf("the right ending is number %d in %d of 1000 rows, want about 250", i, n)
		}
	}
}

// TestEndingIsNotGuessableFromOrder takes the person that the story names first, or last, for the one of the ending.
func TestEndingIsNotGuessableFromOrder(t *testing.T) {
	train, _ := endingSets(t)
	for name, index := range map[string]func(s, sub string) int{"first": strings.Index, "last": strings.LastIndex} {
		agree, rows := 0, 0
		for _, row := range train {
			// The endings differ in their first name; who of the two stands first (last) in the story?
			var people []string
			for _, e := range row.endings {
				if p := firstName(e); !slices.Contains(people, p) {
					people = append(people, p)
				}
			}
			if len(people) != 2 {
				t.Fatalf("%q: endings about %q", row.story, people)
			}
			rows++
			guess := people[0]
			if index(row.story, people[1]) < index(row.story, people[0]) == (name == "first") {
				guess = people[1]
			}
			if guess == firstName(row.endings[row.gold]) {
				agree++
			}
		}
		if share := float64(agree) / float64(rows); share < 0.3 || share > 0.7 {
			t.Errorf("the person named %s is the one of the right ending in %.0f%% of the rows", name, 100*share)
		}
	}
}

// firstName returns the first of the people named in text.
func firstName(text string) string {
	for _, word := range strings.Fields(text) {
		if slices.Contains(names, word) {
			return word
		}
	}
	return ""
}

func TestPirateField(t *testing.T) {
	for word, want := range map[string]string{
		"is": "be", "Is": "Be", "you?": "ye?", "\"Your": "\"Yer", "swimming.": "swimmin'.", "nothing": "naught", "thing": "thing",
		"King": "King", "Mia's": "Mia's", "And,": "An',", "...": "...", "friends!\"": "mateys!\"", "mill": "mill",
	} {
		if got := pirateField(word); got != want {
			t.Errorf("pirateField(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestPirateTalesDiffer(t *testing.T) {
	tales, err := pirateTales(newWorld(42), 42, pirateTrain+pirateTest)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, text := range tales {
		if seen[text] {
			t.Errorf("twice: %s", text)
		}
		seen[text] = true
		if strings.Contains(text, " is ") || strings.Contains(text, " you ") {
			t.Errorf("no pirate says: %s", text)
		}
	}
}

// TestCommittedTasksAreCurrent makes the tasks anew and compares them with those in demo/tasks.
func TestCommittedTasksAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"tasks", "--out", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	fresh, err := filepath.Glob(filepath.Join(dir, "*", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(fresh) != 9 {
		t.Errorf("%d files, want 9: %q", len(fresh), fresh)
	}
	for _, path := range fresh {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, path)
		got, err := os.ReadFile(filepath.Join("..", "..", "demo", "tasks", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("demo/tasks/%s is not what `go run ./scripts/demo tasks` writes", name)
		}
	}
}
