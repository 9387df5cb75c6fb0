package main

// riddle is a short story with pairs of questions on it, the first to be answered with yes and the second with no.
type riddle struct {
	story []string
	ask   [][2]string
}

// riddles name all that is asked for in the story itself, the right thing now first and now last.
var riddles = []riddle{
	{
		[]string{
			"[{p} put {a c} {o} {k.in}. Then {q} took it to {l}.|{q} took {a c} {o} to {l}. Before that it was {k.in}.|the {o} that was {k.in} is now {l.in}, because {q} took it there.]",
		},
		[][2]string{{"Is the {o} {l.in} now?", "Is the {o} {k.in} now?"}},
	},
	{
		[]string{"[{p} had {a o} and gave it to {q}.|{q} got {a o} from {p}.|{q} wanted {a o}, so {p} gave {q.him} one.|{p} gave {a c} {o} to {q}.]"},
		[][2]string{{"Does {q} have the {o} now?", "Does {p} have the {o} now?"}},
	},
	{
		[]string{"[{p} found {a c} {o} and {a d} {u} {x.in}.|{x.in} there were two things: {a c} {o} and {a d} {u}.|{p} has {a c} {o}, and {q} has {a d} {u}.]"},
		[][2]string{
			{"Is the {o} {c}?", "Is the {o} {d}?"}, {"Is the {u} {d}?", "Is the {u} {c}?"},
		},
	},
	{
		[]string{"[{p} picked {n} apples, and {q} picked {m}.|{q} has {m} apples, and {p} has {n}.|{p} has {n} apples. {q} has only {m}.|{q} found {m} apples. {p} found {n}.]"},
		[][2]string{
			{"Does {p} have more than {q}?", "Does {q} have more than {p}?"},
			{"Does {q} have fewer than {p}?", "Does {p} have fewer than {q}?"},
		},
	},
	{
		[]string{"[{p} hid {k.in}, and {q} hid {l.in}.|{q} ran to {l}, and {p} ran to {k}.|{p} is {k.in} today, and {q} is {l.in}.]"},
		[][2]string{{"Is {p} {k.in}?", "Is {p} {l.in}?"}, {"Is {q} {l.in}?", "Is {q} {k.in}?"}},
	},
	{
		[]string{"[{p} cooked {e}, and {q} cooked {f}.|{q} made {f}. {p} made {e}.|for supper there was {f} from {q} and {e} from {p}.]"},
		[][2]string{{"Did {p} make the {e}?", "Did {p} make the {f}?"}, {"Did {q} make the {f}?", "Did {q} make the {e}?"}},
	},
}

// storyQuestions writes n different questions on stories, every second to be answered with yes.
func storyQuestions(t *teller, n int) ([]question, error) {
	seen := map[string]bool{}
	var qs []question
	for len(qs) < n {
		s := t.scene()
		riddle := pick(t.r, riddles)
		story, err := t.tell(s, riddle.story)
		if err != nil {
			return nil, err
		}
		yes := len(qs)%2 == 0
		side := 1
		if yes {
			side = 0
		}
		ask, err := expand(t.r, pick(t.r, riddle.ask)[side], s)
		if err != nil {
			return nil, err
		}
		if text := story + " " + ask; !seen[text] {
			seen[text] = true
			qs = append(qs, question{text: text, yes: yes})
		}
	}
	return qs, nil
}
