package data

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shira/internal/fault"
)

// dataset returns examples of the given lengths. Every token of example i is i, so that a batch shows where it is from.
func dataset(lengths ...int) *Dataset {
	ds := &Dataset{Sources: []Source{{File: File{Path: "rows.jsonl"}, Examples: len(lengths)}}}
	for i, n := range lengths {
		ds.index = append(ds.index, entry{at: int64(len(ds.tokens)), tokens: int32(n), row: int32(i), line: int32(i + 1)})
		ds.tokens = append(ds.tokens, slices.Repeat([]int32{int32(i)}, n)...)
		ds.Stats.Longest = max(ds.Stats.Longest, n)
	}
	return ds
}

// varied returns a dataset of n examples of 2 to 40 tokens.
func varied(n int) *Dataset {
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = 2 + i*i*7%39
	}
	return dataset(lengths...)
}

func newLoader(t testing.TB, ds *Dataset, o LoaderOptions) *Loader {
	t.Helper()
	l, err := NewLoader(ds, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// segments returns the example of each segment of a dataset's batch.
func segments(b Batch) []int {
	var examples []int
	at := 0
	for _, n := range b.Lengths {
		examples = append(examples, int(b.IDs[at]))
		at += n
	}
	return examples
}

func clone(b Batch) Batch {
	b.IDs, b.Targets, b.Lengths = slices.Clone(b.IDs), slices.Clone(b.Targets), slices.Clone(b.Lengths)
	return b
}

func TestBatch(t *testing.T) {
	ds := mustLoad(t, Options{Files: Files(write(t, `{"input_ids":[1,2,3],"labels":[1,2,-100]}`+"\n"+`{"input_ids":[4,5],"labels":[4,7]}`))})
	got := newLoader(t, ds, LoaderOptions{BatchSize: 2}).Next()
	want := Batch{
		IDs:     []int32{1, 2, 3, 4, 5},
		Targets: []int32{2, Ignore, Ignore, 7, Ignore},
		Lengths: []int{3, 2},
		Labels:  2,
		Rows:    2,

		EpochEnd: true,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("batch is %+v, want %+v", got, want)
	}
}

// TestFileOrder checks the order that comparisons with other programs rely on: without packing and shuffling, that of the
// file, in every epoch, whose last batch has what is left.
func TestFileOrder(t *testing.T) {
	l := newLoader(t, varied(7), LoaderOptions{BatchSize: 3})
	for s, want := range []string{"[0 1 2]", "[3 4 5]", "[6]", "[0 1 2]", "[3 4 5]", "[6]", "[0 1 2]"} {
		b := l.Next()
		if got := fmt.Sprint(segments(b)); got != want || b.EpochEnd != (s%3 == 2) {
			t.Fatalf("batch %d holds %v, want %v; the epoch ends: %v", s, got, want, b.EpochEnd)
		}
	}
}

func TestEpochs(t *testing.T) {
	const n, size = 101, 8
	for _, packing := range []bool{false, true} {
		t.Run(fmt.Sprintf("packing %v", packing), func(t *testing.T) {
			ds := varied(n)
			l := newLoader(t, ds, LoaderOptions{BatchSize: size, MaxLength: 64, Packing: packing, Shuffle: true, Seed: 5})
			var stream []int
			for range l.Steps(3, 1) {
				b := l.Next()
				checkRows(t, ds, b, l, packing)
				stream = append(stream, segments(b)...)
			}
			var epochs [3][]int
			for e := range epochs {
				epochs[e] = stream[e*n : (e+1)*n]
				sorted := slices.Sorted(slices.Values(epochs[e]))
				for i, ex := range sorted {
					if ex != i {
						t.Fatalf("epoch %d does not hold every example once: %v", e, sorted)
					}
				}
			}
			if slices.Equal(epochs[0], epochs[1]) || slices.Equal(epochs[1], epochs[2]) || slices.IsSorted(epochs[0]) {
				t.Error("epochs are not in orders of their own")
			}
		})
	}
}

// checkRows checks a batch against its examples.
func checkRows(t *testing.T, ds *Dataset, b Batch, l *Loader, packing bool) {
	t.Helper()
	if b.Rows != l.opt.BatchSize && !b.EpochEnd {
		t.Fatalf("%d rows in a batch of %d", b.Rows, l.opt.BatchSize)
	}
	if len(b.IDs) > b.Rows*l.opt.MaxLength {
		t.Fatalf("%d tokens in %d rows of %d", len(b.IDs), b.Rows, l.opt.MaxLength)
	}
	if !packing && len(b.Lengths) != b.Rows {
		t.Fatalf("%d segments in %d rows", len(b.Lengths), b.Rows)
	}
	labels := 0
	for i, ex := range segments(b) {
		if b.Lengths[i] != len(ds.Example(ex).IDs) {
			t.Fatalf("example %d of %d tokens is a segment of %d", ex, len(ds.Example(ex).IDs), b.Lengths[i])
		}
		labels += ds.Example(ex).Counted()
	}
	if b.Labels != labels {
		t.Fatalf("%d labels, want %d", b.Labels, labels)
	}
}

// TestPermutation pins the order of a seed: a resumed run must meet the same batches in every later version.
func TestPermutation(t *testing.T) {
	p := make([]int32, 10)
	for _, tt := range []struct {
		seed, stream uint64
		want         []int32
	}{
		{42, 0, []int32{6, 2, 5, 3, 4, 7, 0, 1, 9, 8}},
		{42, 1, []int32{2, 3, 9, 6, 0, 8, 7, 4, 5, 1}},
		{43, 0, []int32{8, 7, 5, 2, 4, 9, 6, 3, 0, 1}},
		{42, packStream, []int32{6, 5, 3, 1, 4, 2, 7, 0, 8, 9}},
	} {
		if permute(p, tt.seed, tt.stream); !slices.Equal(p, tt.want) {
			t.Errorf("permutation (%d, %d) is %v, want %v", tt.seed, tt.stream, p, tt.want)
		}
	}
}

// TestPermutationUniform counts the orders of three elements: no order may be much likelier than another.
func TestPermutationUniform(t *testing.T) {
	const draws = 60_000
	counts := map[[3]int32]int{}
	for stream := range uint64(draws) {
		var p [3]int32
		permute(p[:], 1, stream)
		counts[p]++
	}
	for p, n := range counts {
		if n < 9_600 || n > 10_400 { // four standard deviations
			t.Errorf("order %v came %d times of %d", p, n, draws)
		}
	}
	if len(counts) != 6 {
		t.Errorf("%d orders of three elements", len(counts))
	}
}

func TestPack(t *testing.T) {
	tests := []struct {
		name    string
		lengths []int
		want    [][]int32
	}{
		{"one a row", []int{10, 9, 10}, [][]int32{{0}, {1}, {2}}},
		{"first fit", []int{6, 7, 4, 3, 2}, [][]int32{{0, 2}, {1, 3}, {4}}},
		{"exact", []int{5, 5, 5, 5}, [][]int32{{0, 1}, {2, 3}}},
		{"single", []int{2}, [][]int32{{0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ds := dataset(tt.lengths...)
			order := make([]int32, len(tt.lengths))
			identity(order)
			r := pack(ds, order, 10)
			var got [][]int32
			for i := range r.ends {
				got = append(got, r.row(i))
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("rows are %v, want %v", got, tt.want)
			}
		})
	}
}

// TestPackBounded opens more rows than first-fit may keep open.
func TestPackBounded(t *testing.T) {
	lengths := slices.Repeat([]int{6}, maxOpenRows)
	lengths[7] = 8                     // the fullest, closed when the last of the sixes comes
	lengths = append(lengths, 6, 2, 4) // 6 opens a row; 2 goes to row 0, not to row 7; 4 to row 1
	ds := dataset(lengths...)
	order := make([]int32, len(lengths))
	identity(order)
	r := pack(ds, order, 10)
	if got, want := len(r.ends), maxOpenRows+1; got != want {
		t.Fatalf("%d rows, want %d", got, want)
	}
	for row, want := range map[int][]int32{0: {0, maxOpenRows + 1}, 1: {1, maxOpenRows + 2}, 7: {7}} {
		if got := r.row(row); !slices.Equal(got, want) {
			t.Errorf("row %d is %v, want %v", row, got, want)
		}
	}
}

// TestPackDense checks that packing wastes little where examples are short.
func TestPackDense(t *testing.T) {
	ds := varied(5000)
	tokens := 0
	for _, ex := range examples(ds) {
		tokens += len(ex.IDs)
	}
	l := newLoader(t, ds, LoaderOptions{BatchSize: 1, MaxLength: 256, Packing: true, Shuffle: true})
	if full := float64(tokens) / float64(256*l.Rows()); full < 0.97 {
		t.Errorf("rows are %.1f%% full, want 97%%", 100*full)
	}
}

func TestResume(t *testing.T) {
	for _, o := range []LoaderOptions{
		{BatchSize: 3},
		{BatchSize: 3, Shuffle: true, Seed: 9},
		{BatchSize: 3, Packing: true, MaxLength: 64},
		{BatchSize: 3, Packing: true, MaxLength: 64, Shuffle: true, Seed: 9},
	} {
		t.Run(fmt.Sprintf("packing %v shuffle %v", o.Packing, o.Shuffle), func(t *testing.T) {
			const steps = 40
			ds := varied(23)
			whole := newLoader(t, ds, o)
			var states []State
			var batches []Batch
			for range steps {
				states = append(states, whole.State())
				batches = append(batches, clone(whole.Next()))
			}
			for from := range steps {
				saved, err := json.Marshal(states[from])
				if err != nil {
					t.Fatal(err)
				}
				var state State
				if err := json.Unmarshal(saved, &state); err != nil {
					t.Fatal(err)
				}
				l := newLoader(t, ds, o)
				if err := l.Restore(state); err != nil {
					t.Fatal(err)
				}
				for s := from; s < steps; s++ {
					if got := l.Next(); fmt.Sprint(got) != fmt.Sprint(batches[s]) {
						t.Fatalf("resumed at step %d, batch %d is %v, want %v", from, s, segments(got), segments(batches[s]))
					}
				}
			}
		})
	}
}

func TestRestoreErrors(t *testing.T) {
	l := newLoader(t, varied(5), LoaderOptions{BatchSize: 2})
	for _, s := range []State{{Epoch: -1}, {Row: -1}, {Row: 6}} {
		if err := l.Restore(s); fault.KindOf(err) != fault.Malformed {
			t.Errorf("Restore(%+v) gives %v, want a malformed fault", s, err)
		}
	}
	if err := l.Restore(State{Row: 5}); err != nil {
		t.Errorf("the end of an epoch cannot be restored: %v", err)
	}
}

func TestSteps(t *testing.T) {
	l := newLoader(t, varied(10), LoaderOptions{BatchSize: 4}) // 3 batches an epoch
	for _, tt := range []struct {
		epochs  float64
		batches int
		want    int
	}{
		{0, 1, 0}, {-1, 1, 0}, {0.1, 1, 1}, {0.4, 1, 2}, {1, 1, 3}, {2, 1, 6}, {2.5, 1, 8}, {1e300, 1, 1<<31 - 1},
		{1, 2, 2}, {3, 2, 6}, {1, 3, 1}, {1, 16, 1}, {4, 16, 4},
	} {
		if got := l.Steps(tt.epochs, tt.batches); got != tt.want {
			t.Errorf("%g epochs take %d steps of %d batches, want %d", tt.epochs, got, tt.batches, tt.want)
		}
	}
}

func TestLoaderErrors(t *testing.T) {
	ds := dataset(4, 4, 4, 4)
	for _, tt := range []struct {
		opt  LoaderOptions
		want string
	}{
		{LoaderOptions{}, "rows.jsonl: the batch size must be positive: 0"},
		{LoaderOptions{BatchSize: 1, MaxLength: 3}, "rows.jsonl: an example of 4 tokens is longer than a row of 3"},
	} {
		_, err := NewLoader(ds, tt.opt)
		if err == nil || err.Error() != tt.want || fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v gives %v, want the usage fault %q", tt.opt, err, tt.want)
		}
	}
}

// TestFewRows wants a dataset smaller than a batch to be a batch.
func TestFewRows(t *testing.T) {
	for _, tt := range []struct {
		opt  LoaderOptions
		want int
	}{
		{LoaderOptions{BatchSize: 4}, 4},
		{LoaderOptions{BatchSize: 5}, 4},
		{LoaderOptions{BatchSize: 3, MaxLength: 8, Packing: true}, 2},
	} {
		l := newLoader(t, dataset(4, 4, 4, 4), tt.opt)
		for range 2 {
			b := l.Next()
			if l.BatchSize() != tt.want || b.Rows != tt.want || fmt.Sprint(segments(b)) != "[0 1 2 3]" {
				t.Errorf("%+v: a batch of %d rows holds %v, want %d rows of all", tt.opt, b.Rows, segments(b), tt.want)
			}
		}
		if n := l.Steps(1, 1); n != 1 {
			t.Errorf("%+v: %d steps an epoch", tt.opt, n)
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	l := newLoader(t, varied(64), LoaderOptions{BatchSize: 8, MaxLength: 64, Packing: true, Shuffle: true})
	for range 200 {
		l.Next()
	}
	if n := testing.AllocsPerRun(100, func() { l.Next() }); n != 0 {
		t.Errorf("%g allocations a batch", n)
	}
}

func TestScoringBatches(t *testing.T) {
	ds := dataset(3, 4, 2, 9, 2, 2)
	for tokens, want := range map[int]string{
		0:   "[0] [1] [2] [3] [4] [5]",
		7:   "[0 1] [2] [3] [4 5]",
		9:   "[0 1 2] [3] [4 5]",
		100: "[0 1 2 3 4 5]",
	} {
		var got []string
		for first, b := range ds.Batches(tokens) {
			if first != segments(b)[0] || b.Rows != len(b.Lengths) {
				t.Errorf("batch of %v starts at %d with %d rows", segments(b), first, b.Rows)
			}
			got = append(got, fmt.Sprint(segments(b)))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("batches of %d tokens are %s, want %s", tokens, got, want)
		}
	}
	for range ds.Batches(1) {
		break // must not go on yielding, which would panic
	}
}
