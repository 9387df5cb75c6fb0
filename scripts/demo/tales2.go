package main

// plotTales are stories in which something is moved, given, hidden, counted or compared, and found again.
var plotTales = []tale{
	{"The {c} {o}", []string{
		"{p} found {a c} {o} {x.in}.",
		"{p.he} [took it home|carried it away] and put it {k.in}. [there it stayed for a week|nobody saw {p.him}|then {p.he} went to sleep].",
		"[in the night|the next morning|while {p} was {p.doing}], {q} [came|came by] and took the {o} to {l}.",
		"when {p} went back to {k}, the {o} was gone. \"Where is my {c} {o}?\" {p.he} cried.",
		"\"I took it to {l},\" said {q}. \"[it was too pretty for {k}|I thought that nobody wanted it|I am sorry].\"",
		"so {p} went to {l}, and there was the {c} {o}.",
	}},
	{"Two Things", []string{
		"{p} and {q} found two things {x.in}: {a c} {o} and {a d} {u}.",
		"\"I will take the {o},\" said {p}. \"Then I will take the {u},\" said {q}.",
		"?{q} liked the {u}, because it was {d}.",
		"so {p} went home with the {c} {o}, and {q} went home with the {d} {u}.",
		"[now the {o} is {p.in}, and the {u} is {q.in}|you can still see the {o} {p.in}, and the {u} {q.in}].",
	}},
	{"A Present for {Z}", []string{
		"{p} had {a c} {o}. {p.he} gave it to {q}.",
		"[{q} kept it for a week, and then|{q} did not need {a o}, so] {q.he} gave it to {z}.",
		"now {z} has the {o}, and {q} has nothing, but {z} [gave {q.him} some {z.food}|smiles all day|says that {q} is the kindest person in Little Wobble].",
		"?\"Who gave you that {c} {o}?\" asked {p}. \"{q} gave it to me,\" said {z}.",
	}},
	{"Counting", []string{
		"{p} [picked|found|counted] {n} [apples|nuts|mushrooms|cherries] {x.in}, and {q} [picked|found|counted] {m}.",
		"{n} is more than {m}, so {p} had more than {q}.",
		"[\"I want as many as you,\" said {q}|\"that is not fair,\" said {q}]. So {p} gave {q.him} one. Now {p} had {less}.",
		"?in the evening they [ate|counted|shared] them all {p.in}.",
	}},
	{"Who Has More?", []string{
		"{q} had {m} [buns|buttons|eggs|candles], and {p} had {n}.",
		"who had more? {p} had more, because {n} is more than {m}. {q} had fewer.",
		"then {z} [came|came by] with a [bag|box|hat] and gave {q} {n} more. Now {q} had {sum}, and that was more than {p} had.",
		"\"[you are rich|look at that]!\" said {z}.",
	}},
	{"Hide and Seek", []string{
		"{p}, {q} and {z} played hide and seek. {p} hid {k.in}, {q} hid {l.in}, and {z} had to look for them.",
		"{z} [counted to ten|closed {z.his} eyes and counted to ten]. Then {z.he} looked {x.in}, but there was nobody.",
		"first {z} looked {l.in} and found {q}. [\"oh no!\" said {q}|\"that was quick,\" said {q}].",
		"then {z.he} looked {k.in} and found {p}[. {P} had fallen asleep|, who was eating {p.food}|].",
		"?after that they all went to {p.home} and [{p.hobbied}|ate {p.food}].",
	}},
	{"{P} and {Q} Cook", []string{
		"{p} cooked {e}, and {q} cooked {f}.",
		"[the {e} smelled of smoke|{p} had forgotten the salt], but the {f} was [wonderful|just right]. So everybody wanted the {f} that {q} had made.",
		"\"Nobody wants my {e},\" said {p}, and {p.he} was sad.",
		"then {z} came in from the [cold|rain|snow]. \"{E}!\" cried {z}. \"[I am so hungry|Is that for me]!\" And {z.he} ate all the {e} that {p} had made.",
		"[now {p} was happy|{p} smiled from ear to ear].",
	}},
	{"The Broken {o}", []string{
		"{q} lent {p} {a c} {o}. \"Please be careful with it,\" said {q}.",
		"[{p} was careful|{p} tried to be careful], but {p.name} the {p.pet} jumped on it, and the {o} broke.",
		"{p} [went red|did not know what to say]. Then {p.he} went to {q.home} and told {q} everything.",
		"\"You told me the truth,\" said {q}, \"and that is worth more than {a o}.\"",
		"together they mended it {x.in}, and now the {o} is as good as new, and still {c}.",
	}},
	{"Snow", []string{
		"it snowed all night. In the morning {x} was white, and the water in the bucket had turned to ice.",
		"{p} put on a coat, but {q} did not. Soon {q} was cold, and {p} was warm.",
		"[\"come inside,\" said {p}|\"let us go in,\" said {p}]. They made a fire {p.in}, and {q} got warm again.",
		"when the sun came out, the snow melted, and the ice in the bucket turned to water.",
	}},
	{"The Wind", []string{
		"the wind blew {p}'s {p.thing} out of the window. It flew over {x}, over {y}, and over {k}.",
		"it came down {l.in}, right in front of {q}.",
		"\"{A p.colour} {p.thing}!\" said {q}. \"That must be {p}'s.\"",
		"{q} [ran|walked|went] to {p.home} and gave the {p.thing} back to {p}. [{p} had not even missed it|{p} shook {q.his} hand ten times|{p} closed the window].",
	}},
	{"The Candle", []string{
		"{p} lit a candle {k.in}, and it was light. Then the wind blew the candle out, and it was dark.",
		"\"I cannot see,\" said {q}. [{q} walked into a wall|something soft touched {q.his} hand]. \"Help!\"",
		"it was only {p.name} the {p.pet}, [who was looking for {p.eats}|who wanted to sleep {p.sleeps}|who was afraid too].",
		"{p} lit the candle again, and everybody could see.",
	}},
	{"The Well", []string{
		"{p} dropped {a c} {o} into the well. Splash!",
		"{q} [fetched|brought] a rope, and {z} held the rope while {q} climbed down.",
		"it was {q} who came up with the {o}, wet and cold. \"Here it is,\" {q.he} said.",
		"{p} thanked {q}, and {p} thanked {z}. Then {p} [put the {o} {k.in}|took the {o} to {k}], far from the well.",
		"and if nobody has moved it, the {o} is still {k.in}.",
	}},
}
