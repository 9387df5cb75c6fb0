package main

// petTales are stories in which an animal has its own opinion.
var petTales = []tale{
	{"The Hungry {p.pet}", []string{
		"{p.name} the {p.pet} was hungry, but the bag of {p.eats} was empty.",
		"so {p.name} [ate|chewed on] {p}'s {p.colour} {p.thing}[ and went to sleep|, which was not a good idea|].",
		"\"My {p.thing}!\" cried {p}. \"{p.name}, what have you done?\" {p.name} [looked at the floor|hid {p.sleeps}|said nothing].",
		"[{q} came by with a bag of {p.eats}|{p} ran to {q} for some {p.eats}|luckily, {q} had some {p.eats}]. From then on {p} always kept {p.eats} in the house.",
	}},
	{"{p.name} on the Roof", []string{
		"{p.name} the {p.pet} had climbed onto the roof of {k} and could not get down.",
		"[{p} called|{p} begged|{p} sang]. {p.name} did not move. {q} [fetched a ladder|held up some {p.eats}|stood on a barrel].",
		"[it began to rain|the moon came up|half of the village came to look]. \"What shall we do?\" asked {p}.",
		"then {z} [clapped {z.his} hands|had an idea]. \"{p.eats}!\" {z.he} called, and [before {z.he} could count to three|at once] {p.name} was down.",
		"[\"You only have to know what {p.name} likes,\" said {z}.|that night {p.name} slept {p.sleeps}, as always.]",
	}},
	{"Two Friends", []string{
		"{p.name} the {p.pet} and {q.name} the {q.pet} are friends.",
		"[one day|last week] {p.name} [walked|ran|went] all the way from {p.home} to {q.home} to see {q.name}.",
		"{q.name} was [asleep {q.sleeps}|eating {q.eats}|at the window]. [they played until it was dark|they ran around the garden|they slept in the sun].",
		"{p} was worried. \"Where is {p.name}?\" {p.he} asked. \"With me,\" said {q}, \"and eating all the {q.eats}.\"",
		"?but {p.name} eats only {p.eats}, so that was not quite true.",
	}},
	{"The Bath", []string{
		"{p.name} the {p.pet} had rolled in the mud {x.in}. \"You need a bath,\" said {p}.",
		"{p.name} did not want a bath. {p.name} ran under the table, over the bed and out of the window.",
		"[{q} caught {p.name} {y.in}|it was {q} who caught {p.name} {y.in}|{p} found {p.name} {y.in}], [and the mud went everywhere|and together they went home].",
		"in the end {p.name} was clean, and {p} was [full of mud|wet from head to toe|the one who needed a bath].",
	}},
	{"Thunder and {p.fears}", []string{
		"\"Why is {p.name} so afraid of {p.fears}?\" asked {q}.",
		"\"Who knows,\" said {p}. \"Once it had a bad dream.\"",
		"\"{q.name} is afraid of {q.fears},\" said {q}, \"and I am afraid of {c} [socks|spiders|soup].\"",
		"[they sat {x.in} and were afraid together|then they ate {q.food} and felt better|everybody is afraid of something].",
	}},
	{"The Big Fish", []string{
		"{p} and {q} went fishing [by the river|by the pond|at the harbour]. {q} caught [an old boot|a wet hat|a small stone], and {p} caught a fish as big as a [door|donkey|boat].",
		"\"Let it go,\" said {q}. \"It looks like {z}.\" So {p} let it go.",
		"?the fish [waved|winked] and swam away.",
		"for supper they had {e}, and {q} told everybody about the fish. [each time the fish grew bigger|nobody believed {q.him}, but {p} knew that it was true].",
	}},
	{"A Cold", []string{
		"{p} was sick and had to stay in bed {p.in}. {p.his} nose was as red as a [tomato|cherry].",
		"{q} brought {p.food}, for {q.he} knew what {p} likes best. {z} brought [flowers|a warm blanket|a book].",
		"{p.name} the {p.pet} [stayed beside the bed|brought {p.eats}, which nobody else wanted|sneezed too].",
		"[after three days|in the end|on {p.day}] {p} was well again. {P.He} wanted to {p.do} at once. \"Wait until tomorrow,\" said {q}.",
	}},
	{"The Letter", []string{
		"{p} got a letter. It was from {q}, who lives {q.in}.",
		"\"Dear {p},\" said the letter, \"come to {x} on {p.day}. Bring your {p.thing}. Tell nobody.\"",
		"{p} told nobody[ but {p.name} the {p.pet}|]. [on {p.day} {p.he} took {p.his} {p.colour} {p.thing} and went to {x}|{p.he} could hardly wait for {p.day}, and ran to {x} with {p.his} {p.thing}].",
		"there stood {q} with {q.his} {q.colour} {q.thing}. \"[now we can {p.do} together|I only wanted to see you|I am so glad that you came]!\" said {q}.",
	}},
	{"Clumsy", []string{
		"{p} carried {n} [eggs|cups|plates] from {k} to {l}. {P.He} [fell over {p.name} the {p.pet}|fell over a stone|sneezed], and one of them broke.",
		"now there were only {less}. \"Oh no!\" said {p}. [\"{q} will be angry.\"|\"What will {q} say?\"]",
		"but {q} [laughed|was not angry]. \"{less} are enough,\" {q.he} said. [\"I wanted only {m}.\"|\"Come in and eat some {q.food}.\"]",
	}},
	{"The Moon", []string{
		"\"What is the moon made of?\" asked {p}. {p.he} and {q} sat {x.in} and looked up.",
		"\"It is made of {q.food},\" said {q}, who likes {q.food} best. \"No, of {p.food},\" said {p}, who likes {p.food} best.",
		"?{z} came by and said that it was a [lamp|big stone|hole in the sky].",
		"[they talked about it all night, and the moon went down behind {y}|then a cloud came, and there was no moon at all|{p.name} the {p.pet} looked up too and thought of {p.eats}].",
	}},
}
