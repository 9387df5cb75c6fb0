package main

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	s := slots{"p": "Mia", "p.he": "she", "bird": "owl", "dog": "dog"}
	for _, tc := range []struct{ tmpl, want string }{
		{"", ""},
		{"plain text", "Plain text"},
		{"{p} ran. {p.he} fell.", "Mia ran. She fell."},
		{"so {P.He} did", "So She did"},
		{"{a bird} and {a dog}", "An owl and a dog"},
		{"look! {A bird}", "Look! An owl"},
		{"[one]", "One"},
		{"[a[b|b]c|abc]", "Abc"},
		{"\"oh!\" said {p}. \"come,\" {p.he} said, \"and see.\" \"no.\"", "\"Oh!\" said Mia. \"Come,\" she said, \"and see.\" \"No.\""},
		{"title\nnext line? yes", "Title\nNext line? Yes"},
	} {
		got, err := expand(newRand(1, 1), tc.tmpl, s)
		if err != nil || got != tc.want {
			t.Errorf("expand(%q) = %q, %v; want %q", tc.tmpl, got, err, tc.want)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	for _, tmpl := range []string{"{p", "{nobody}", "{a nobody}", "[a|b", "[a|[b]"} {
		if got, err := expand(newRand(1, 1), tmpl, slots{"p": "Mia"}); err == nil {
			t.Errorf("expand(%q) = %q, want an error", tmpl, got)
		}
	}
}

func TestExpandDrawsEveryAlternative(t *testing.T) {
	r, seen := newRand(1, 1), map[string]bool{}
	for range 200 {
		got, err := expand(r, "[a|b|[c|d]]", nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[got] = true
	}
	if len(seen) != 4 {
		t.Errorf("drew %v, want A, B, C and D", seen)
	}
}

// TestEveryTemplateExpands ranges over all alternatives of all templates, drawn or not.
func TestEveryTemplateExpands(t *testing.T) {
	teller := &teller{w: newWorld(1), r: newRand(1, 1)}
	s := teller.scene()
	s.as(teller.w.people[0], false)
	s["val"], s["all"] = "in the mill", "Mia and Tom"
	var templates []string
	for _, tales := range [][]tale{dayTales, petTales, plotTales} {
		for _, story := range tales {
			templates = append(append(templates, story.title), story.lines...)
		}
	}
	for _, rel := range relations {
		for _, list := range [][]string{rel.say, rel.claim, rel.mend, rel.ask} {
			templates = append(templates, list...)
		}
	}
	for _, c := range circles {
		templates = append(templates, c.lines...)
	}
	for _, f := range fables {
		templates = append(append(templates, f.lines...), f.endings[:]...)
	}
	for _, tmpl := range templates {
		if strings.Count(tmpl, "[") != strings.Count(tmpl, "]") {
			t.Errorf("brackets do not match in %q", tmpl)
		}
		flat := strings.NewReplacer("[", " ", "]", " ", "|", " ").Replace(tmpl)
		if _, err := expand(teller.r, flat, s); err != nil {
			t.Errorf("%q: %v", tmpl, err)
		}
	}
}
