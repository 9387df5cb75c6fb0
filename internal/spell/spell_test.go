package spell

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	candidates := []string{"learning_rate", "r", "mask", "max_steps", "max_seq_length", "seed", "validation_file"}
	for _, tt := range []struct{ word, want string }{
		{"lerning_rate", "learning_rate"},
		{"LEARNING-RATE", "learning_rate"},
		{"learnign_rate", "learning_rate"},
		{"max_step", "max_steps"},
		{"maks", "mask"},
		{"sede", "seed"},
		{"R", "r"},
		{"rr", ""},
		{"unrelated", ""},
		{"", ""},
		{strings.Repeat("max_steps", 1000), ""},
	} {
		got, ok := Nearest(tt.word, candidates)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Nearest(%.20q) = %q, %v; want %q", tt.word, got, ok, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
