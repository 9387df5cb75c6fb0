package main

import (
	"reflect"
	"testing"
)

func TestEqualSeedsGiveEqualWorlds(t *testing.T) {
	if !reflect.DeepEqual(newWorld(7), newWorld(7)) {
		t.Error("two worlds of seed 7 differ")
	}
	if reflect.DeepEqual(newWorld(7), newWorld(8)) {
		t.Error("the worlds of seeds 7 and 8 are equal")
	}
}

func TestEveryValueIsEquallyCommon(t *testing.T) {
	w := newWorld(42)
	for _, rel := range relations {
		counts := map[string]int{}
		for _, p := range w.people {
			counts[rel.value(p)]++
		}
		for v, n := range counts {
			if want := len(w.people) / len(counts); n != want {
				t.Errorf("%s: %q is true of %d people, want %d", rel.name, v, n, want)
			}
		}
	}
}

func TestFriendsAreMutual(t *testing.T) {
	for _, p := range newWorld(42).people {
		if p.friend.friend != p || p.friend.he == p.he {
			t.Errorf("%s has the friend %s, who has the friend %s", p.name, p.friend.name, p.friend.friend.name)
		}
	}
}
