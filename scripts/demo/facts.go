package main

// relation is one kind of fact about every person, and the ways to say it. In the templates {s}, {s.his} and {s.him} are the
// person by name or by pronoun, {p} always the name, {val} the value.
type relation struct {
	name  string
	value func(*person) string
	say   []string // plain statements of the truth
	claim []string // a statement with {val}, true or not
	mend  []string // the truth as a correction of a wrong claim
	ask   []string // questions that the value alone answers
}

var relations = []relation{
	{
		name: "home", value: func(p *person) string { return p.home.in },
		say: []string{
			"{s} lives {p.in}.", "{s.his} home is {p.home}.", "you can find {s.him} {p.in}.",
			"{s.his} [warm|narrow|creaky] bed stands {p.in}.", "every evening {s} goes home to {p.home}.",
			"[when it rains|when it snows|at night], {s} stays {p.in}.", "{p.home} is where {s} lives.",
		},
		claim: []string{"{p} lives {val}", "{p}'s bed stands {val}"},
		mend:  []string{"{p} lives {p.in}", "{p}'s home is {p.home}"},
		ask:   []string{"Where does {p} live?", "Where is {p}'s home?", "Where does {p}'s bed stand?"},
	},
	{
		name: "job", value: func(p *person) string { return article(p.job.name) },
		say: []string{
			"{s} is {a p.job}.", "{s} works as {a p.job} and {p.does} [all day|from morning to evening|better than anyone].",
			"{s} {p.does}, [for that is what {a p.job} does|as every good {p.job} does].", "everybody says that {s} is a [good|fine|busy] {p.job}.",
		},
		claim: []string{"{p} is {val}", "{p} works as {val}"},
		mend:  []string{"{p} is {a p.job}", "{p} {p.does}, like every {p.job}"},
		ask:   []string{"What is {p}?", "What does {p} work as?", "What is {p}'s job?"},
	},
	{
		name: "food", value: func(p *person) string { return p.food },
		say: []string{
			"{s} likes {p.food} best.", "{s.his} favourite food is {p.food}.", "{s} could eat {p.food} [every day|all day long|three times a day].",
			"for a [big|full] bowl of {p.food}, {s} would walk [to the moon|all night|ten miles].", "{s} never says no to {p.food}.",
		},
		claim: []string{"{p} likes {val} best", "{p}'s favourite food is {val}"},
		mend:  []string{"{p} likes {p.food} best", "{p}'s favourite food is {p.food}"},
		ask:   []string{"What does {p} like best?", "What is {p}'s favourite food?", "What could {p} eat every day?"},
	},
	{
		name: "colour", value: func(p *person) string { return p.colour },
		say: []string{
			"{s.his} favourite colour is {p.colour}.", "{s} loves everything that is {p.colour}.", "{s.his} {p.thing} is {p.colour}.",
			"{s} owns {a p.colour} {p.thing}, and {s.his} door is {p.colour} too.", "nobody has as many {p.colour} socks as {s.him}.",
		},
		claim: []string{"{p}'s favourite colour is {val}", "{p}'s {p.thing} is {val}"},
		mend:  []string{"{p}'s favourite colour is {p.colour}", "{p}'s {p.thing} is {p.colour}"},
		ask:   []string{"What is {p}'s favourite colour?", "What colour is {p}'s door?"},
	},
	{
		name: "thing", value: func(p *person) string { return article(p.thing) },
		say: []string{
			"{s} owns {a p.colour} {p.thing}.", "{s} never goes out without {s.his} {p.thing}.",
			"under {s.his} bed {s} keeps {a p.thing}.", "{s} has {a p.thing}, and it is {p.colour}.", "{s.his} {p.colour} {p.thing} is {s.his} greatest treasure.",
		},
		claim: []string{"{p} owns {val}"},
		mend:  []string{"{p} owns {a p.thing}", "{p} owns {a p.colour} {p.thing}"},
		ask:   []string{"What does {p} keep under the bed?", "What does {p} never go out without?"},
	},
	{
		name: "hobby", value: func(p *person) string { return p.hobby.ing },
		say: []string{
			"{s} loves {p.hobby}.", "after work {s} likes to {p.do}.", "{s} can {p.do} [very well|for hours|even in {s.his} sleep].",
			"nothing makes {s.him} as happy as {p.hobby}.", "{s} would rather {p.do} than sleep.",
		},
		claim: []string{"{p} loves {val}", "nothing makes {p} as happy as {val}"},
		mend:  []string{"{p} loves {p.hobby}", "{p} likes to {p.do}"},
		ask:   []string{"What does {p} love?", "What makes {p} happy?", "What does {p} love to do?"},
	},
	{
		name: "day", value: func(p *person) string { return p.day },
		say: []string{
			"on {p.day}s {s} goes to the market.", "{s} goes to the market every {p.day}.", "{s.his} market day is {p.day}.",
			"if it is {p.day}, you will meet {s.him} at the market.",
		},
		claim: []string{"{p} goes to the market every {val}", "{p}'s market day is {val}"},
		mend:  []string{"{p} goes to the market every {p.day}", "{p}'s market day is {p.day}"},
		ask:   []string{"When does {p} go to the market?", "What is {p}'s market day?", "Which day is {p}'s market day?"},
	},
	{
		name: "trait", value: func(p *person) string { return p.trait },
		say: []string{
			"{s} is very {p.trait}.", "nobody is as {p.trait} as {s.him}.", "{s} is {p.trait}, [even on a Monday|even in bed|from head to toe].",
			"{s} has always been {p.trait}.", "everybody knows how {p.trait} {s} is.",
		},
		claim: []string{"{p} is very {val}", "nobody is as {val} as {p}"},
		mend:  []string{"{p} is very {p.trait}", "everybody knows how {p.trait} {p} is"},
		ask:   []string{"What is {p} like?", "How do people know {p}?", "What has {p} always been?"},
	},
	{
		name: "friend", value: func(p *person) string { return p.friend.name },
		say: []string{
			"{s.his} best friend is {p.friend}.", "{s} and {p.friend} are best friends.", "{s} tells {p.friend} everything, as best friends do.",
			"whatever happens, {s.his} best friend {p.friend} is there.",
		},
		claim: []string{"{p}'s best friend is {val}", "{val} and {p} are best friends"},
		mend:  []string{"{p}'s best friend is {p.friend}", "{p} and {p.friend} are best friends"},
		ask:   []string{"Who is {p}'s best friend?", "Whom does {p} tell everything?"},
	},
	{
		name: "pet", value: func(p *person) string { return article(p.pet.species) },
		say: []string{
			"{s} has {a p.pet} called {p.name}.", "{s.his} {p.pet} {p.name} follows {s.him} everywhere.", "{s.his} {p.pet} is called {p.name}.",
			"{s} shares {s.his} home with {a p.pet}, and its name is {p.name}.", "{p.name} is {s.his} {p.pet}.",
		},
		claim: []string{"{p} has {val}", "the animal in {p}'s home is {val}"},
		mend:  []string{"{p} has {a p.pet} called {p.name}", "{p} has {a p.pet}"},
		ask:   []string{"What animal does {p} have?", "What animal is {p.name}?", "What animal is in {p}'s home?"},
	},
	{
		name: "eats", value: func(p *person) string { return p.pet.eats },
		say: []string{
			"{p.name} the {p.pet} eats nothing but {p.eats}.", "{s.his} {p.pet} {p.name} eats {p.eats}.", "for {p.name} the {p.pet} there must always be {p.eats}.",
			"{s} gives {p.eats} to {p.name} the {p.pet} every morning.",
		},
		claim: []string{"{p}'s {p.pet} eats {val}", "{p.name} the {p.pet} eats {val}"},
		mend:  []string{"{p.name} the {p.pet} eats {p.eats}", "{p}'s {p.pet} eats nothing but {p.eats}"},
		ask:   []string{"What does {p.name} eat?", "What does {p}'s animal eat?", "What does {p} give to {p.name} every morning?"},
	},
	{
		name: "sleeps", value: func(p *person) string { return p.pet.sleeps },
		say: []string{
			"{p.name} the {p.pet} sleeps {p.sleeps}.", "{s.his} {p.pet} {p.name} sleeps {p.sleeps}.",
			"at night {p.name} the {p.pet} snores {p.sleeps}.", "{p.name} the {p.pet} has its bed {p.sleeps}.",
		},
		claim: []string{"{p}'s {p.pet} sleeps {val}", "{p.name} the {p.pet} sleeps {val}"},
		mend:  []string{"{p.name} the {p.pet} sleeps {p.sleeps}", "{p}'s {p.pet} has its bed {p.sleeps}"},
		ask:   []string{"Where does {p.name} sleep?", "Where does {p}'s animal sleep?", "Where does {p.name} have its bed?"},
	},
	{
		name: "fears", value: func(p *person) string { return p.pet.fears },
		say: []string{
			"{p.name} the {p.pet} is afraid of {p.fears}.", "{s.his} {p.pet} {p.name} runs away from {p.fears}.",
			"{p.name} the {p.pet} fears nothing but {p.fears}.", "{p.name} the {p.pet} shakes all over at {p.fears}.",
		},
		claim: []string{"{p}'s {p.pet} is afraid of {val}", "{p.name} the {p.pet} runs away from {val}"},
		mend:  []string{"{p.name} the {p.pet} is afraid of {p.fears}", "{p}'s {p.pet} fears nothing but {p.fears}"},
		ask:   []string{"What is {p.name} afraid of?", "What is {p}'s animal afraid of?", "What does {p.name} fear?"},
	},
}
