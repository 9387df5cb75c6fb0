package main

// fable is the beginning of a story with four endings, of which the first is right: it puts the right person with the right
// thing, and the other three put one or both wrong.
type fable struct {
	lines   []string
	endings [4]string
	fits    func(p, q *person) bool // whether the fable can be told of p and q; nil = of anybody
}

// fables ask for what is told (who did what to whom, where things are) and for what the base knows of the world (who lives
// where, likes what), with each person as often first as second.
var fables = []fable{
	{
		lines: []string{
			"[{p} had {a c} {o} and {a d} {u}.|{p} had {a d} {u} and {a c} {o}.|{q} came to see {p}, who had {a c} {o} and {a d} {u}.|{q} came to see {p}, who had {a d} {u} and {a c} {o}.]",
			"[{q} sat on the {o}, and it broke.|{q} dropped the {o}, and it fell to pieces.|when {q} touched the {o}, it broke in two.]",
			"?[{q} was very sorry.|{p} was very sad.|oh no!]",
		},
		endings: [4]string{
			"So {q} made a new {c} {o} for {p}.", "So {p} made a new {c} {o} for {q}.",
			"So {q} made a new {d} {u} for {p}.", "So {p} made a new {d} {u} for {q}.",
		},
	},
	{
		lines: []string{
			"[{p} fell into the water {x.in}, and {q} pulled {p.him} out.|{q} was {x.in} when {p} called for help. {p} had fallen into a hole, and {q} pulled {p.him} out.|{q} carried {p} home from {x}, because {p} had hurt {p.his} foot.]",
			"[\"thank you,\" said {p}.|\"I will never forget it,\" said {p}.|{p} was very thankful.]",
		},
		endings: [4]string{
			"The next day {p} came with {q.food} for {q}.", "The next day {p} came with {p.food} for {q}.",
			"The next day {q} came with {p.food} for {p}.", "The next day {q} came with {q.food} for {p}.",
		},
		fits: func(p, q *person) bool { return p.food != q.food },
	},
	{
		lines: []string{
			"{p} and {q} [played|walked|talked] {x.in} until it was dark.",
			"[{p} fell asleep, but {q} was awake.|{q} was still awake when {p} fell asleep.|{p} could not walk any more, but {q} was strong.]",
		},
		endings: [4]string{
			"So {q} carried {p} home to {p.home}.", "So {q} carried {p} home to {q.home}.",
			"So {p} carried {q} home to {q.home}.", "So {p} carried {q} home to {p.home}.",
		},
		fits: func(p, q *person) bool { return p.home != q.home },
	},
	{
		lines: []string{
			"[{p} put {a c} {o} {k.in} and went away.|{q} saw {p} put {a c} {o} {k.in} and go away.]",
			"[when nobody was looking, {q} took it to {l}.|then {q} took it to {l}. {P} did not see it.]",
		},
		endings: [4]string{
			"The next day {p} looked for it {k.in}, but it was gone.", "The next day {p} looked for it {l.in}, but it was gone.",
			"The next day {q} looked for it {k.in}, but it was gone.", "The next day {q} looked for it {l.in}, but it was gone.",
		},
	},
	{
		lines: []string{
			"on the table {x.in} there was [a {p.colour} {o} and a {q.colour} one|a {q.colour} {o} and a {p.colour} one].",
			"[{p} threw the ball {n} times into the basket, and {q} threw it {m} times.|{q} jumped over {m} stones, and {p} jumped over {n}.|{p} caught {n} fish, and {q} caught {m}.|{q} caught {m} fish, and {p} caught {n}.]",
			"whoever had more could choose first.",
		},
		endings: [4]string{
			"So {p} took the {p.colour} {o}.", "So {p} took the {q.colour} {o}.",
			"So {q} took the {q.colour} {o}.", "So {q} took the {p.colour} {o}.",
		},
		fits: func(p, q *person) bool { return p.colour != q.colour },
	},
	{
		lines: []string{
			"[{p} took a straw hat, and {q} took an umbrella.|{q} took an umbrella, and {p} took a straw hat.]",
			"they went to {x}, and it rained [all day|until the evening].",
		},
		endings: [4]string{
			"In the evening {p} had wet hair.", "In the evening {q} had wet hair.",
			"In the evening {q} had a red nose from the sun.", "In the evening {p} had a red nose from the sun.",
		},
	},
	{
		lines: []string{
			"[{p} took an umbrella, and {q} took a straw hat.|{q} took a straw hat, and {p} took an umbrella.]",
			"they went to {x}, and the sun burned down [all day|until the evening].",
		},
		endings: [4]string{
			"In the evening {p} had a red nose from the sun.", "In the evening {q} had a red nose from the sun.",
			"In the evening {q} had wet hair.", "In the evening {p} had wet hair.",
		},
	},
}

// opening is one row of the ending task.
type opening struct {
	story   string
	endings []string
	gold    int // index of the right ending
}

// prompt is the beginning of the story.
func (o opening) prompt() string { return o.story }

// completion is the right ending behind its blank.
func (o opening) completion() string { return " " + o.endings[o.gold] }

// choice is the row as a multiple choice, to be asked as "<query>".
func (o opening) choice() choiceRow { return choiceRow{o.story, o.endings, o.gold} }

// endings writes n rows of the ending task, each with a beginning of its own.
func endings(w *world, seed uint64, n int) ([]opening, error) {
	t := &teller{w: w, r: newRand(seed, streamEnding)}
	seen := map[string]bool{}
	rows := make([]opening, 0, n)
	for len(rows) < n {
		row, err := t.opening()
		if err != nil {
			return nil, err
		}
		if !seen[row.story] {
			seen[row.story] = true
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// opening tells one fable and shuffles its endings.
func (t *teller) opening() (opening, error) {
	f := pick(t.r, fables)
	p, q := t.couple()
	for f.fits != nil && !f.fits(p, q) {
		p, q = t.couple()
	}
	s := t.sceneOf(p, q)
	row := opening{endings: make([]string, len(f.endings))}
	var err error
	if row.story, err = t.tell(s, f.lines); err != nil {
		return row, err
	}
	for i, j := range t.r.Perm(len(f.endings)) {
		if row.endings[j], err = expand(t.r, f.endings[i], s); err != nil {
			return row, err
		}
		if i == 0 {
			row.gold = j
		}
	}
	return row, nil
}
