package main

// The tables below are the whole of Little Wobble. Every list that is dealt out to the 24 people divides 24 where it can,
// so that no value is much more common than another and a guess from frequency alone is worth nothing.

type gender struct{ he, him, his string }

var (
	female = gender{"she", "her", "her"}
	male   = gender{"he", "him", "his"}
)

// names holds the people's names, women at even places and men at odd ones.
var names = []string{
	"Mia", "Tom", "Anna", "Ben", "Lily", "Max", "Rosa", "Sam", "Ella", "Finn", "Nora", "Otto",
	"Ida", "Leo", "Zoe", "Jack", "Ruby", "Hugo", "Clara", "Oscar", "Wilma", "Pete", "Greta", "Bruno",
}

// place is somewhere to be: in = "by the river", noun = "river".
type place struct{ noun, in string }

// homes are the buildings that people live in, two to each.
var homes = []place{
	{"mill", "in the mill"}, {"tower", "in the tower"}, {"barn", "in the barn"}, {"lighthouse", "in the lighthouse"},
	{"cave", "in the cave"}, {"castle", "in the castle"}, {"boat", "on the boat"}, {"tent", "in the tent"},
	{"cottage", "in the cottage"}, {"treehouse", "in the treehouse"}, {"wagon", "in the wagon"}, {"inn", "at the inn"},
}

// outdoors are the places where stories happen; nobody lives there.
var outdoors = []place{
	{"river", "by the river"}, {"market", "at the market"}, {"hill", "on the hill"}, {"forest", "in the forest"},
	{"beach", "on the beach"}, {"bridge", "under the bridge"}, {"meadow", "in the meadow"}, {"pond", "by the pond"},
	{"orchard", "in the orchard"}, {"harbour", "at the harbour"},
}

// job is what a person does: name = "baker", does = "bakes bread", did = "baked bread", doing = "baking bread".
type job struct{ name, does, did, doing string }

var jobs = []job{
	{"baker", "bakes bread", "baked bread", "baking bread"},
	{"fisher", "catches fish", "caught fish", "catching fish"},
	{"farmer", "grows turnips", "dug up turnips", "digging up turnips"},
	{"painter", "paints doors", "painted a door", "painting a door"},
	{"tailor", "sews coats", "sewed a coat", "sewing a coat"},
	{"teacher", "teaches the children to count", "taught the children to count", "teaching the children to count"},
	{"doctor", "looks after sick people", "looked after a sick old man", "looking after a sick old man"},
	{"gardener", "waters the roses", "watered the roses", "watering the roses"},
	{"potter", "makes pots", "made a pot", "making a pot"},
	{"sailor", "sails around the bay", "sailed around the bay", "sailing around the bay"},
	{"clockmaker", "mends clocks", "mended a clock", "mending a clock"},
	{"beekeeper", "keeps bees", "looked after the bees", "looking after the bees"},
}

// hobby is what a person loves to do: ing = "dancing", do = "dance", did = "danced".
type hobby struct{ ing, do, did string }

var hobbies = []hobby{
	{"dancing", "dance", "danced"}, {"swimming", "swim", "swam"}, {"climbing", "climb", "climbed"},
	{"drawing", "draw", "drew"}, {"reading", "read", "read"}, {"whistling", "whistle", "whistled"},
	{"juggling", "juggle", "juggled"}, {"skating", "skate", "skated"},
}

var (
	things  = []string{"hat", "kite", "scarf", "drum", "lamp", "bike", "umbrella", "teapot", "sled", "flute", "ladder", "spoon"}
	colours = []string{"red", "blue", "green", "yellow", "black", "white", "purple", "pink"}
	foods   = []string{"pancakes", "soup", "cheese", "plums", "honey", "cake", "pears", "noodles"}
	traits  = []string{"brave", "shy", "cheerful", "clever", "clumsy", "curious", "grumpy", "kind"}
	days    = []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)

// The pets: one to a person, each with its own name.
var (
	species  = []string{"cat", "dog", "goat", "owl", "hen", "pig", "fox", "donkey", "rabbit", "frog", "mouse", "duck"}
	petNames = []string{
		"Button", "Pepper", "Biscuit", "Mittens", "Socks", "Pickle", "Bubbles", "Waffle", "Dot", "Muffin", "Sprout", "Tiger",
		"Pebble", "Captain", "Rocket", "Marble", "Fudge", "Tulip", "Ginger", "Moss", "Bean", "Truffle", "Domino", "Fizz",
	}
	fodder = []string{"corn", "carrots", "seeds", "crumbs", "nuts", "cabbage", "berries", "worms"}
	nests  = []string{
		"in a basket", "under the stairs", "on the roof", "in a drawer",
		"in an old boot", "behind the stove", "in the bathtub", "on a pillow",
	}
	terrors = []string{"thunder", "geese", "brooms", "mirrors", "bells", "feathers", "puddles", "ghosts"}
)

// numbers are the counting words from zero up.
var numbers = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}
