package main

import "math/rand/v2"

// person is one inhabitant of Little Wobble with everything that is true of them. The facts never change: each text and
// each question is written from here, so that none can contradict another.
type person struct {
	name string
	gender
	home   place
	job    job
	food   string // likes it best
	thing  string // owns one, in the favourite colour
	colour string // favourite
	hobby  hobby
	day    string // goes to the market on it
	trait  string
	friend *person // best friend; always mutual, and of the other gender so that "he" and "she" are clear
	pet    pet
}

// pet is a person's animal.
type pet struct{ name, species, eats, sleeps, fears string }

// world is the village: its people in the order of names.
type world struct{ people []*person }

// The streams of a seed: each part of the demo draws from its own, so that a change in one leaves the others alone.
const (
	streamWorld = iota + 1
	streamCorpus
	streamQuiz
	streamEnding
	streamPirate
	streamWeights
)

// newRand returns the generator of one stream of seed.
func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// newWorld deals out the facts. Equal seeds give equal worlds.
func newWorld(seed uint64) *world {
	r := newRand(seed, streamWorld)
	n := len(names)
	w := &world{}
	for i, name := range names {
		g := female
		if i%2 == 1 {
			g = male
		}
		w.people = append(w.people, &person{name: name, gender: g})
	}
	deal(r, w, homes, func(p *person, v place) { p.home = v })
	deal(r, w, jobs, func(p *person, v job) { p.job = v })
	deal(r, w, foods, func(p *person, v string) { p.food = v })
	deal(r, w, things, func(p *person, v string) { p.thing = v })
	deal(r, w, colours, func(p *person, v string) { p.colour = v })
	deal(r, w, hobbies, func(p *person, v hobby) { p.hobby = v })
	deal(r, w, days, func(p *person, v string) { p.day = v })
	deal(r, w, traits, func(p *person, v string) { p.trait = v })
	deal(r, w, species, func(p *person, v string) { p.pet.species = v })
	deal(r, w, petNames, func(p *person, v string) { p.pet.name = v })
	deal(r, w, fodder, func(p *person, v string) { p.pet.eats = v })
	deal(r, w, nests, func(p *person, v string) { p.pet.sleeps = v })
	deal(r, w, terrors, func(p *person, v string) { p.pet.fears = v })
	men := r.Perm(n / 2)
	for i, m := range men {
		she, he := w.people[2*i], w.people[2*m+1]
		she.friend, he.friend = he, she
	}
	return w
}

// deal gives every person one of values, each value equally often.
func deal[T any](r *rand.Rand, w *world, values []T, set func(*person, T)) {
	for i, j := range r.Perm(len(w.people)) {
		set(w.people[i], values[j%len(values)])
	}
}

// pick returns one of values.
func pick[T any](r *rand.Rand, values []T) T { return values[r.IntN(len(values))] }
