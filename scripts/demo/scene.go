package main

import (
	"math/rand/v2"
	"slices"
)

// teller writes texts about one world.
type teller struct {
	w *world
	r *rand.Rand
}

// scene draws the cast and the setting of one story:
// p, q, z are people, p and q of different gender (half the time best friends), z any third person;
// x, y, v are places outdoors and k, l buildings, all different, neither building p's or q's home;
// o, u are things, c, d colours, e, f foods that neither p nor q likes best, all different; n > m > 1 are numbers with
// sum = n+m and less = n-1.
func (t *teller) scene() slots { return t.sceneOf(t.couple()) }

// couple draws the two main persons of a story.
func (t *teller) couple() (p, q *person) {
	p = pick(t.r, t.w.people)
	if t.r.IntN(2) == 0 {
		return p, p.friend
	}
	for q = p; q.he == p.he; {
		q = pick(t.r, t.w.people)
	}
	return p, q
}

// sceneOf is scene with the two main persons given.
func (t *teller) sceneOf(p, q *person) slots {
	s := slots{}
	z := p
	for z == p || z == q {
		z = pick(t.r, t.w.people)
	}
	s.person("p", p)
	s.person("q", q)
	s.person("z", z)
	out := t.r.Perm(len(outdoors))
	for i, key := range []string{"x", "y", "v"} {
		s.place(key, outdoors[out[i]])
	}
	var free []place
	for _, h := range homes {
		if h != p.home && h != q.home {
			free = append(free, h)
		}
	}
	in := t.r.Perm(len(free))
	s.place("k", free[in[0]])
	s.place("l", free[in[1]])
	s.words(t.r, things, "o", "u")
	s.words(t.r, colours, "c", "d")
	s.words(t.r, others(foods, p.food, q.food), "e", "f")
	m := 2 + t.r.IntN(3)
	n := m + 1 + t.r.IntN(3)
	for key, number := range map[string]int{"n": n, "m": m, "sum": n + m, "less": n - 1} {
		s[key] = numbers[number]
	}
	return s
}

// person fills the slots of one person: key alone is the name, key.he … what is said and true of them. The animal is
// key.pet (its species), named key.name.
func (s slots) person(key string, p *person) {
	s[key] = p.name
	for k, v := range map[string]string{
		"he": p.he, "him": p.him, "his": p.his,
		"home": "the " + p.home.noun, "in": p.home.in, "job": p.job.name, "does": p.job.does, "did": p.job.did, "doing": p.job.doing,
		"food": p.food, "thing": p.thing, "colour": p.colour, "hobby": p.hobby.ing, "do": p.hobby.do, "hobbied": p.hobby.did,
		"day": p.day, "trait": p.trait, "friend": p.friend.name,
		"pet": p.pet.species, "name": p.pet.name, "eats": p.pet.eats, "sleeps": p.pet.sleeps, "fears": p.pet.fears,
	} {
		s[key+"."+k] = v
	}
}

// place fills key = "the river" and key.in = "by the river".
func (s slots) place(key string, p place) {
	s[key] = "the " + p.noun
	s[key+".in"] = p.in
}

// words fills the keys with different words of a list.
func (s slots) words(r *rand.Rand, list []string, keys ...string) {
	perm := r.Perm(len(list))
	for i, key := range keys {
		s[key] = list[perm[i]]
	}
}

// others returns list without the given words.
func others(list []string, but ...string) []string {
	var rest []string
	for _, word := range list {
		if !slices.Contains(but, word) {
			rest = append(rest, word)
		}
	}
	return rest
}

// tell expands the lines of a story one after the other, separated by blanks. A line that starts with "?" is told only
// half the time.
func (t *teller) tell(s slots, lines []string) (string, error) {
	text := ""
	for _, line := range lines {
		if line[0] == '?' {
			if t.r.IntN(2) == 0 {
				continue
			}
			line = line[1:]
		}
		sentence, err := expand(t.r, line, s)
		if err != nil {
			return "", err
		}
		if text != "" && text[len(text)-1] != '\n' {
			text += " "
		}
		text += sentence
	}
	return text, nil
}
