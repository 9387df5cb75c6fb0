package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// files returns a dataset of files with that many examples and weights. Example i is of token i alone.
func files(counts []int, weights []float64) *Dataset {
	total := 0
	for _, n := range counts {
		total += n
	}
	ds := dataset(slices.Repeat([]int{3}, total)...)
	ds.Sources = nil
	at := 0
	for f, n := range counts {
		ds.Sources = append(ds.Sources, Source{File: File{Path: fmt.Sprint(f), Weight: weights[f]}, First: at, Examples: n})
		for i := at; i < at+n; i++ {
			ds.index[i].file = uint16(f)
		}
		at += n
	}
	return ds
}

// TestMixture counts what an epoch takes of each file, and checks that every file is gone through in turn.
func TestMixture(t *testing.T) {
	for _, tt := range []struct {
		counts  []int
		weights []float64
		want    []int
	}{
		{[]int{100, 50}, []float64{0, 0}, []int{100, 50}}, // no weights: all
		{[]int{100, 50}, []float64{1, 1}, []int{50, 50}},
		{[]int{100, 50}, []float64{3, 1}, []int{100, 33}},
		{[]int{100, 50}, []float64{0.9, 0.1}, []int{100, 11}},
		{[]int{100, 50, 10}, []float64{2, 0, 1}, []int{20, 10, 10}},
		{[]int{1000, 1}, []float64{1, 1000}, []int{1, 1}},
		{[]int{7}, []float64{5}, []int{7}},
	} {
		for _, o := range []LoaderOptions{{BatchSize: 4}, {BatchSize: 4, Shuffle: true, Seed: 3}, {BatchSize: 2, Shuffle: true, Packing: true, MaxLength: 9}} {
			t.Run(fmt.Sprint(tt.counts, tt.weights, o), func(t *testing.T) {
				ds := files(tt.counts, tt.weights)
				l := newLoader(t, ds, o)
				for f, want := range tt.want {
					if got := l.Share(f); got != want {
						t.Errorf("file %d has a share of %d, want %d", f, got, want)
					}
				}
				seen := make([]int, ds.Len())
				for epoch := range 4 {
					got := make([]int, len(tt.counts))
					for _, ex := range epochOf(l) {
						got[ds.index[ex].file]++
						seen[ex]++
					}
					if !slices.Equal(got, tt.want) {
						t.Fatalf("epoch %d takes %v, want %v", epoch, got, tt.want)
					}
				}
				for _, s := range ds.Sources {
					of := seen[s.First : s.First+s.Examples]
					if slices.Max(of)-slices.Min(of) > 1 {
						t.Errorf("file %s: some examples came %d times, others %d", s.Path, slices.Max(of), slices.Min(of))
					}
				}
			})
		}
	}
}

// epochOf returns the examples of the epoch that the loader is at the start of.
func epochOf(l *Loader) []int {
	var all []int
	for {
		b := l.Next()
		all = append(all, segments(b)...)
		if b.EpochEnd {
			return all
		}
	}
}

// TestMixtureResume restores every place of a mixture whose epochs have different rows.
func TestMixtureResume(t *testing.T) {
	ds := files([]int{23, 9}, []float64{2, 1})
	for i := range ds.index {
		ds.index[i].tokens = int32(2 + i%2) // within the three of each
	}
	o := LoaderOptions{BatchSize: 3, Packing: true, MaxLength: 7, Shuffle: true, Seed: 9}
	whole := newLoader(t, ds, o)
	var states []State
	var batches []string
	for range 30 {
		states = append(states, whole.State())
		batches = append(batches, fmt.Sprint(whole.Next()))
	}
	for from, state := range states {
		l := newLoader(t, ds, o)
		if err := l.Restore(state); err != nil {
			t.Fatal(err)
		}
		for s := from; s < len(batches); s++ {
			if got := fmt.Sprint(l.Next()); got != batches[s] {
				t.Fatalf("resumed at %d, batch %d differs", from, s)
			}
		}
	}
	steps, ends := 0, 0
	l := newLoader(t, ds, o)
	for ends < 3 {
		if steps++; l.Next().EpochEnd {
			ends++
		}
	}
	if got := l.Steps(3, 1); got != steps {
		t.Errorf("%d steps for three epochs, which take %d", got, steps)
	}
}

// TestInterleave keeps the proportions within an epoch that is not shuffled.
func TestInterleave(t *testing.T) {
	l := newLoader(t, files([]int{8, 4}, []float64{2, 1}), LoaderOptions{BatchSize: 12})
	if got, want := fmt.Sprint(segments(l.Next())), "[0 8 1 2 9 3 4 10 5 6 11 7]"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}

func TestHoldOut(t *testing.T) {
	ds := mustLoad(t, Options{Files: append(Files(write(t, strings.Repeat(`{"input_ids":[1,2,3]}`+"\n", 30))), Files(write(t, strings.Repeat(`{"input_ids":[4,5]}`+"\n", 10)))...)})
	for _, tt := range []struct {
		size float64
		want int
	}{{0.1, 4}, {0.001, 1}, {1, 1}, {39, 39}} {
		train, valid, err := ds.HoldOut(tt.size, 42)
		if err != nil {
			t.Fatal(err)
		}
		if valid.Len() != tt.want || train.Len() != 40-tt.want {
			t.Errorf("size %g holds %d out of %d, want %d", tt.size, valid.Len(), train.Len(), tt.want)
		}
		if got, want := train.Stats.Rows+valid.Stats.Rows, ds.Stats.Rows; got != want {
			t.Errorf("parts of %d rows, want %d", got, want)
		}
		places := map[string]bool{}
		for _, part := range []*Dataset{train, valid} {
			tokens := 0
			for i := range part.Len() {
				places[part.Place(i)] = true
				tokens += part.Tokens(i)
			}
			if int64(tokens) != part.Stats.Tokens {
				t.Errorf("%d tokens, counted %d", tokens, part.Stats.Tokens)
			}
		}
		if len(places) != 40 {
			t.Errorf("size %g: %d different examples", tt.size, len(places))
		}
	}
	if _, _, err := ds.HoldOut(40, 42); fault.KindOf(err) != fault.Usage {
		t.Errorf("all held out: %v", err)
	}
}
