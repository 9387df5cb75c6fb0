package main

import "strings"

// as fills the slots s, s.his and s.him that a fact's statement is about: the name, or the pronoun.
func (s slots) as(p *person, pronoun bool) {
	if pronoun {
		s["s"], s["s.his"], s["s.him"] = p.he, p.his, p.him
		return
	}
	s["s"], s["s.his"], s["s.him"] = p.name, p.name+"'s", p.name
}

// portrait tells three to six facts about one person, by name first and then mostly by pronoun.
func (t *teller) portrait() (string, error) {
	p := pick(t.r, t.w.people)
	s := t.sceneOf(p, p.friend)
	var lines []string
	if t.r.IntN(3) == 0 {
		opening, err := expand(t.r, pick(t.r, []string{
			"Have you met {p}?", "This is {p}.", "Everybody in Little Wobble knows {p}.", "[Let me tell you|We must talk] about {p}.",
			"There is nobody like {p}.", "Knock at the door of {p.home}, and {p} will open it.",
		}), s)
		if err != nil {
			return "", err
		}
		lines = append(lines, opening)
	}
	for _, j := range t.r.Perm(len(relations))[:3+t.r.IntN(4)] {
		named := strings.Contains(strings.Join(lines, " "), p.name)
		s.as(p, named && t.r.IntN(4) > 0)
		line, err := expand(t.r, pick(t.r, relations[j].say), s)
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " "), nil
}

// housemates tells about the two people of one building.
func (t *teller) housemates() (string, error) {
	h := pick(t.r, homes)
	var both []*person
	for _, p := range t.w.people {
		if p.home == h {
			both = append(both, p)
		}
	}
	if t.r.IntN(2) == 0 {
		both[0], both[1] = both[1], both[0]
	}
	s := t.sceneOf(both[0], both[1])
	return t.tell(s, []string{
		"[two people live {p.in}: {p} and {q}.|who lives {p.in}? {p} and {q} do.|{p} and {q} both live {p.in}.|if you knock at {p.home}, {p} or {q} will open the door.]",
		"[{p} is {a p.job}, and {q} is {a q.job}.|{p} {p.does}, and {q} {q.does}.|{p} is {p.trait}, and {q} is {q.trait}.|{p} likes {p.food} best, and {q} likes {q.food}.]",
		"[{p} has {a p.pet} called {p.name}, and {q} has {a q.pet} called {q.name}.|{p.name} the {p.pet} sleeps {p.sleeps}, and {q.name} the {q.pet} sleeps {q.sleeps}.]",
		"?[on {p.day}s {p} goes to the market, and on {q.day}s {q} does.|{p}'s door is {p.colour}, and {q}'s door is {q.colour}.|{p} would rather {p.do}, and {q} would rather {q.do}.]",
		"?[{p.name} eats {p.eats}, and {q.name} eats {q.eats}.|{p.name} fears {p.fears}, and {q.name} fears {q.fears}.]",
		"?[it is never quiet there.|it is a happy home.|they are good neighbours.]",
	})
}

// circles are what people can have in common.
var circles = []struct {
	key   func(*person) string
	lines []string
}{
	{func(p *person) string { return p.food }, []string{
		"[{all} all like {p.food} best.|who likes {p.food} best? {all} do.|the friends of {p.food} are {all}.]",
		"[when {p} put a big bowl of {p.food} on the table, it was empty in a minute.|\"More {p.food}!\" they shout when they meet {p.in}.|one day they met {x.in} and ate {p.food} until they could not walk.]",
	}},
	{func(p *person) string { return p.hobby.ing }, []string{
		"[{all} all love {p.hobby}.|who loves {p.hobby}? {all} do.|nothing makes {all} as happy as {p.hobby}.]",
		"[last summer they met {x.in} and {p.hobbied} until it was dark.|once a week they {p.do} together {x.in}.|only rain can stop them.]",
	}},
	{func(p *person) string { return p.colour }, []string{
		"[the favourite colour of {all} is {p.colour}.|{all} all love {p.colour}.|who loves everything that is {p.colour}? {all} do.]",
		"[{p} owns a {p.colour} {p.thing}.|{p}'s {p.thing} is {p.colour}, of course.|they would paint even the moon {p.colour}.]",
	}},
	{func(p *person) string { return p.day }, []string{
		"[on {p.day}s {all} go to the market.|who goes to the market every {p.day}? {all} do.|it is {p.day}, and {all} are at the market.]",
		"[{p} buys {p.food}, and {p.name} the {p.pet} carries the basket.|{p} looks for something {p.colour}.|{p} stays until the last stall has closed.]",
	}},
	{func(p *person) string { return p.trait }, []string{
		"[{all} are all very {p.trait}.|who is very {p.trait}? {all} are.|nobody is as {p.trait} as {all}.]",
		"[but {p} is the best of friends to {p.friend}.|ask {p.friend}, who is the best friend of {p}.|people say it comes from the water.]",
	}},
}

// circle tells who shares a taste, a day or a trait.
func (t *teller) circle() (string, error) {
	c := pick(t.r, circles)
	p := pick(t.r, t.w.people)
	group := []string{}
	for _, i := range t.r.Perm(len(t.w.people)) {
		if other := t.w.people[i]; c.key(other) == c.key(p) {
			group = append(group, other.name)
		}
	}
	s := t.sceneOf(p, p.friend)
	s["all"] = strings.Join(group[:len(group)-1], ", ") + " and " + group[len(group)-1]
	return t.tell(s, c.lines)
}

// chat is a talk between two people who tell each other about themselves.
func (t *teller) chat() (string, error) {
	return t.tell(t.scene(), []string{
		"[{p} met {q} {x.in}.|{p} and {q} sat {x.in}.|one evening {p} and {q} looked at the stars {x.in}.]",
		"[\"I like {p.food} best,\" said {p}. \"And you?\"|\"What is your favourite food?\" asked {p}. \"Mine is {p.food}.\"] [\"{q.food},\" said {q}.|\"I like {q.food} best,\" said {q}.|\"Nothing is as good as {q.food},\" said {q}.]",
		"?[\"My favourite colour is {p.colour},\" said {p}. \"Mine is {q.colour},\" said {q}.|\"Your {q.thing} is {q.colour},\" said {p}. \"And your {p.thing} is {p.colour},\" said {q}.]",
		"?[\"I would rather {p.do} than sleep,\" said {p}. \"And I would rather {q.do},\" said {q}.|\"Let us {p.do},\" said {p}, who loves {p.hobby}. \"Let us {q.do},\" said {q}, who loves {q.hobby}.]",
		"?[\"What does {q.name} the {q.pet} eat?\" asked {p}. \"{q.eats},\" said {q}. \"And {p.name}?\" \"Nothing but {p.eats},\" said {p}.|\"{p.name} is afraid of {p.fears},\" said {p}. \"And {q.name} is afraid of {q.fears},\" said {q}.|\"{p.name} sleeps {p.sleeps},\" said {p}. \"And {q.name} sleeps {q.sleeps},\" said {q}.]",
		"[then {p} went home to {p.home}, and {q} went home to {q.home}.|they talked until it was dark.|\"Good night, {p},\" said {q}. \"Good night, {q},\" said {p}.|and so they became better friends than before.]",
	})
}
