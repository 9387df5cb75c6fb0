package main

// tale is one kind of story: a title and its lines in order (see teller.tell). What a story moves, gives, counts or breaks it
// names again later, so that a model has something to follow.
type tale struct {
	title string
	lines []string
}

// dayTales are stories of everyday life in the village.
var dayTales = []tale{
	{"The Lost {p.thing}", []string{
		"[one|on a] [rainy|windy|sunny|foggy] morning {p} could not find {p.his} {p.colour} {p.thing}.",
		"{p.he} looked {x.in}. [nothing|no {p.thing} there]. {p.he} looked {y.in}. Nothing but [a wet sock|two snails|a sleepy beetle|an old shoe].",
		"?{p.name} the {p.pet} wanted to help, but {p.name} only found {p.eats} and had a second breakfast.",
		"[then|at last|in the end] {q} came [running|out of {p.home}|along the road] and [waved|held up] something {p.colour}. \"Is this your {p.thing}?\" asked {q}.",
		"[it had been {k.in} all along|the wind had carried it to {k}|somebody had left it {k.in}].",
		"{p} [laughed|danced for joy|hugged {q}] and [shared {p.his} {p.food} with {q.him}|asked {q.him} to stay for supper, which was {p.food}|gave {q.him} a big bowl of {p.food}].",
	}},
	{"A Visit", []string{
		"[one|on a] [sunny|cold|quiet|windy] [afternoon|evening] {p} went to see {q} {q.in}.",
		"{p.he} brought [a basket of|a bowl of|some] {q.food}, because {q} likes {q.food} best.",
		"\"[how kind of you|you are a treasure|my favourite]!\" [cried|said] {q}, and {q.his} eyes [shone|grew as round as plates].",
		"?they sat by the fire and talked about [the weather|{z}|{z} and {z.his} {z.pet}|{q.name} the {q.pet}].",
		"[when the bowl was empty|after that], they [{q.hobbied}|{p.hobbied}] until [the moon came up|the stars came out|it was dark].",
		"then {p} [put on {p.his} coat|said good night] and walked home to {p.home}.",
	}},
	{"{Z} Is Late", []string{
		"{p} and {q} waited {x.in} for {z}.",
		"\"{Z} is late,\" said {p}. \"[Perhaps|I think|I bet] {z.he} is still {z.doing}.\"",
		"\"Or {z.he} is {z.in} and has forgotten us,\" said {q}.",
		"[so they went to {z.home}|they ran to {z.home} to look]. {Z} was there, fast asleep, and {z.name} the {z.pet} was asleep {z.sleeps}.",
		"[they were too kind to wake {z.him}, so they sat down and waited.|{p} rang a bell, and everybody laughed.|{q} began to sing, and soon all of them were eating {z.food}.]",
	}},
	{"The Umbrella", []string{
		"in the morning {p} looked at the sky. \"It will rain,\" said {p.he}, and took {p.his} umbrella.",
		"{q} looked at the sky too. \"It will be sunny,\" said {q.he}, and took nothing.",
		"[they met {x.in}|they went to {x} together]. Then the rain came down [like a river|in buckets|on every roof].",
		"{p} stayed dry under {p.his} umbrella, but {q} got [wet|wet from head to toe|as wet as a fish].",
		"[\"there is room for two,\" said {p}, and they walked home together|\"next time I will listen to you,\" said {q}|{q} sneezed, and {p} made {q.him} hot soup].",
	}},
	{"Market Day", []string{
		"it was {p.day}, and {p} went to the market [with {p.his} basket|with {p.name} the {p.pet}|as {p.he} does every {p.day}].",
		"{p.he} bought {n} [plums|pears|buns|eggs|apples]. [then {p.he} bought {m} more|an old woman gave {p.him} {m} more]. Now {p.he} had {sum}.",
		"\"{n} and {m} make {sum},\" said {p}.",
		"[on the way home|by the river|on the bridge] {p.he} [met {q}|stopped to talk to {q}|saw {q}], who [was very hungry|had been {q.doing} all day].",
		"[so {p} gave {q.him} one of them|{p} shared them with {q.him}], and they [sat in the sun|looked at the boats|told each other stories].",
	}},
	{"{p.name} Runs Away", []string{
		"{p.name} the {p.pet} is afraid of {p.fears}.",
		"so when it [heard of|came near|dreamed of] {p.fears} [one night|one morning|last week], it ran [out of {p.home} and away|through the door and away|away as fast as it could].",
		"{p} looked for {p.name} {x.in} and {y.in}. \"{p.name}! {p.name}!\" {p.he} called.",
		"[{q} helped {p.him} to look|{q} came with a lamp]. In the end it was {q} who found {p.name} {k.in}, [shaking|hiding|covered in leaves].",
		"{p} held out some {p.eats}, for {p.name} eats nothing but {p.eats}. [Slowly|at once] {p.name} came out.",
		"that night {p.name} slept {p.sleeps} again, and {p} [sat beside it|sang to it|left a candle burning].",
	}},
	{"A Noise at Night", []string{
		"in the middle of the night {p} heard a noise {p.in}. [crunch, crunch|bump, bump, bump|scratch, scratch]!",
		"{p} is very {p.trait}, so {p.he} [took a candle and went to look|hid under the blanket for a while and then went to look|said a word that we will not write down, and got up].",
		"was it a [robber|ghost|dragon]? [not at all|oh no]! It was {p.name} the {p.pet}, eating {p.eats}.",
		"\"{p.name},\" said {p}, \"you should be asleep {p.sleeps}.\"",
		"?in the morning {p.he} told {q} about it, and {q} laughed so much that {q.he} fell off {q.his} chair.",
	}},
	{"{P} at Work", []string{
		"{p} is {a p.job}. [one|on a] [busy|hot|cold|sunny] morning {p.he} was {p.doing} when {q} came by.",
		"\"May I help?\" asked {q}. \"Of course,\" said {p}. \"[but do not touch the ladder|if your hands are clean|but be careful].\"",
		"[{q} touched everything|{q} did {q.his} best|it was harder than it looked]. Soon there was [paint on the ceiling|flour in {q.his} hair|a bucket on {q.his} head].",
		"\"I am only {a q.job},\" said {q}. \"I would rather {q.do}.\"",
		"{p} [laughed and laughed|sighed|gave {q.him} a cup of tea]. \"And I know nothing about {q.doing},\" said {p.he}. \"[let us eat {p.food}|come back tomorrow|thank you all the same].\"",
	}},
	{"The Race", []string{
		"{p} and {q} ran a race from {x} to {y}.",
		"{z} [held the flag|counted to three|blew a whistle]. [one, two, three|ready, steady], go!",
		"[at first {q} was in front|{q} was fast], but then {q.he} [stopped to pet {p.name} the {p.pet}|lost a shoe|smelled {q.food}], and {p} ran past {q.him}.",
		"so {p} won, and {q} came second. \"[well done|you are as fast as the wind],\" said {q}.",
		"the prize was a [big|huge|round] bowl of {e}. [{P} ate half of it and gave {q} the rest|{P} ate it all in a minute|{P} shared it with {q} and {z}].",
	}},
	{"Happy Birthday, {P}", []string{
		"it was {p}'s birthday. {q} had thought about a present for [days|three weeks|a long time].",
		"\"What does {p} like?\" {q.he} asked {z}. \"{P} loves everything {p.colour},\" said {z}.",
		"so {q} made a {p.colour} [cushion|ribbon|blanket|box] and [tied a bow around it|wrapped it in paper|hid it {x.in}].",
		"[everybody came to {p.home}|in the evening there was a party {p.in}]. They ate {p.food}, because it is what {p} likes best, and they [{p.hobbied}|sang|danced] until midnight.",
		"when {p} saw the present, {p.he} [jumped for joy|cried a little|put it on {p.his} head]. \"It is {p.colour}!\" {p.he} said. \"Thank you, {q}.\"",
	}},
	{"{sum} Bowls of {e}", []string{
		"{p} was hungry. {p.he} ate {n} bowls of {e} [all alone|one after the other|without a word].",
		"then {p.he} ate {m} more. That made {sum} bowls.",
		"[\"{sum}!\" said {q}. \"No wonder you are as round as a ball.\"|\"I will never eat {e} again,\" said {p}.|{q} counted the bowls and shook {q.his} head.]",
		"{p} had to lie down {x.in} [for the rest of the day|until it was dark], and {p.name} the {p.pet} [looked after {p.him}|lay down too].",
		"?but the next day {p} was hungry again, and this time it had to be {p.food}.",
	}},
}
