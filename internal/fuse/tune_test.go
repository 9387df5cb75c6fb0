package fuse

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

func TestSearch(t *testing.T) {
	bowl := func(best ...float64) func([]float64) (float64, error) {
		return func(w []float64) (float64, error) {
			sum := 3.0
			for i, v := range w {
				sum += (v - best[i]) * (v - best[i])
			}
			return sum, nil
		}
	}
	for _, c := range []struct {
		name   string
		start  []float64
		score  func([]float64) (float64, error)
		budget int
		want   []float64
		near   float64
	}{
		{"inside", []float64{1, 1}, bowl(0.3, 1.4), 100, []float64{0.3, 1.4}, 1.0 / 32},
		{"three", []float64{1, 1, 1}, bowl(0.5, 0, 1.75), 200, []float64{0.5, 0, 1.75}, 1.0 / 32},
		{"beyond the bounds", []float64{1, 1}, bowl(-1, 5), 100, []float64{0, 2}, 0},
		{"a budget of one", []float64{1, 1}, bowl(0, 0), 1, []float64{1, 1}, 0},
		{"not a number", []float64{1}, func(w []float64) (float64, error) { return math.NaN(), nil }, 9, []float64{1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			told := 0
			best, trials, err := Search(c.start, c.budget, c.score, func(Trial) { told++ })
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range best.Weights {
				if math.Abs(w-c.want[i]) > c.near {
					t.Errorf("weights %v, want %v", best.Weights, c.want)
				}
			}
			if len(trials) > c.budget || told != len(trials) {
				t.Errorf("%d trials of %d, told of %d", len(trials), c.budget, told)
			}
			for i, a := range trials {
				for _, b := range trials[:i] {
					if reflect.DeepEqual(a.Weights, b.Weights) {
						t.Errorf("%v is tried twice", a.Weights)
					}
				}
				if a.Loss < best.Loss {
					t.Errorf("%+v is better than the best, %+v", a, best)
				}
			}
			again, _, _ := Search(c.start, c.budget, c.score, nil)
			if !reflect.DeepEqual(again.Weights, best.Weights) {
				t.Error("not reproducible")
			}
		})
	}
	want := errors.New("no")
	if _, _, err := Search([]float64{1}, 3, func([]float64) (float64, error) { return 0, want }, nil); !errors.Is(err, want) {
		t.Errorf("a score that fails: %v", err)
	}
	if _, _, err := Search([]float64{1}, 0, bowl(1), nil); err == nil {
		t.Error("a budget of none")
	}
}
