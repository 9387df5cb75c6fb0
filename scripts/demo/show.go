package main

import (
	"fmt"
	"io"
)

// runWorld prints who is who and some of everything that is written about them.
func runWorld(o options, w io.Writer) error {
	village := newWorld(o.seed)
	for _, p := range village.people {
		fmt.Fprintf(w, "%s, %s and %s, lives %s; best friend %s; owns %s %s; likes %s and %s; market on %s; %s the %s eats %s, sleeps %s, fears %s\n",
			p.name, p.trait, article(p.job.name), p.home.in, p.friend.name, article(p.colour), p.thing, p.food, p.hobby.ing, p.day,
			p.pet.name, p.pet.species, p.pet.eats, p.pet.sleeps, p.pet.fears)
	}
	t := &teller{w: village, r: newRand(o.seed, streamCorpus)}
	for _, g := range genres {
		for range o.print {
			text, err := g.write(t)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "\n%s: %s\n", g.name, text)
		}
	}
	tales, err := pirateTales(village, o.seed, o.print)
	if err != nil {
		return err
	}
	for _, text := range tales {
		fmt.Fprintf(w, "\npirate: %s\n", text)
	}
	return showTasks(o, village, w)
}

func showTasks(o options, village *world, w io.Writer) error {
	asked, _, err := quiz(village, o.seed)
	if err != nil {
		return err
	}
	for _, q := range asked[:min(o.print, len(asked))] {
		fmt.Fprintf(w, "\nquiz: %s%s\n", q.prompt(), q.completion())
	}
	openings, err := endings(village, o.seed, o.print)
	if err != nil {
		return err
	}
	for _, row := range openings {
		fmt.Fprintf(w, "\nending: %s …\n", row.story)
		for i, e := range row.endings {
			mark := "  - "
			if i == row.gold {
				mark = "  + "
			}
			fmt.Fprintln(w, mark+e)
		}
	}
	return nil
}
