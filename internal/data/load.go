package data

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"shira/internal/fault"
)

// maxProblems is how many bad rows one error names. Reading stops there.
const maxProblems = 8

// Load reads and encodes a JSONL file. Rows are encoded in parallel and kept in file order.
//
// Errors are faults: Malformed for a file that is not regular, empty, not JSONL, of mixed kinds of rows, or without a
// single token that counts; Incompatible where the tokenizer cannot serve the rows or the model; Environment where the file
// is missing or reading fails. What concerns a row is "path:line: …", and the lines of further bad rows follow.
func Load(opt Options) (*Dataset, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	chunks, err := openChunks(&opt)
	if err != nil {
		return nil, err
	}
	defer chunks.close()

	g := gatherer{path: opt.Path}
	encodeChunks(chunks, newEncoder(&opt), g.add)
	if err := g.err(); err != nil {
		return nil, err
	}
	return &Dataset{Path: opt.Path, Examples: g.examples, Stats: g.stats, SHA256: chunks.digest()}, nil
}

// encodeChunks encodes the file's chunks in parallel and passes the parts to add in file order, until add returns
// false. Only a few chunks a core are in memory at once. A read error counts after the parts before it.
func encodeChunks(chunks *chunkReader, enc *encoder, add func(part) bool) {
	pending := make([]chan part, 0, 2*runtime.GOMAXPROCS(0))
	take := func() bool {
		p := <-pending[0]
		pending = slices.Delete(pending, 0, 1)
		return add(p)
	}
	var readErr error
	for readErr == nil {
		if len(pending) == cap(pending) && !take() {
			return
		}
		var c chunk
		if c, readErr = chunks.next(); readErr == nil {
			out := make(chan part, 1) // holds the part, so that the goroutine ends also where nobody takes it
			pending = append(pending, out)
			go func() { out <- enc.part(c) }()
		}
	}
	for len(pending) > 0 {
		if !take() {
			return
		}
	}
	if readErr == io.EOF {
		return
	}
	add(part{problems: []problem{{err: readErr}}})
}

// part is an encoded chunk. The examples of a part share two arrays of just their size.
type part struct {
	ids      []int32
	labels   []int32 // of the spans with labels of their own
	spans    []span
	problems []problem
}

// span is a row of a part: the next tokens of its arrays.
type span struct {
	kind      field
	line, row int
	tokens    int
	own       bool // has labels of its own; otherwise they equal ids
	truncated bool
}

// problem is a bad row; line 0 stands for an error that names its place itself.
type problem struct {
	line int
	err  error
}

// part encodes a chunk.
func (e *encoder) part(c chunk) (p part) {
	var r row
	at := c.line
	defer func() {
		// A panic in this goroutine would end the program beyond the caller's reach.
		if v := recover(); v != nil {
			p.problems = append(p.problems, problem{at, fault.New(fault.Internal, "", "encoding the row failed: %v", v)})
		}
	}()
	c.each(func(line, index int, text []byte) {
		at = line
		if err := e.row(&p, &r, span{line: line, row: index}, text); err != nil {
			p.problems = append(p.problems, problem{line, err})
		}
	})
	p.ids, p.labels = exact(p.ids), exact(p.labels)
	return p
}

// exact returns s without spare capacity, which a dataset would hold for its life.
func exact(s []int32) []int32 { return append(make([]int32, 0, len(s)), s...) }

// row parses, encodes and truncates a row and appends it to p.
func (e *encoder) row(p *part, r *row, s span, text []byte) error {
	if err := r.parse(text); err != nil {
		return err
	}
	kind, err := r.kind()
	if err != nil {
		return err
	}
	ids, labels, err := e.encode(r, kind)
	if err != nil {
		return err
	}
	s.kind, s.tokens, s.own = kind, len(ids), labels != nil
	if e.MaxLength > 0 && s.tokens > e.MaxLength {
		s.tokens, s.truncated = e.MaxLength, true
	}
	p.ids = append(p.ids, ids[:s.tokens]...)
	if s.own {
		p.labels = append(p.labels, labels[:s.tokens]...)
	}
	p.spans = append(p.spans, s)
	return nil
}

// gatherer collects the parts of a file in order.
type gatherer struct {
	path     string
	examples []Example
	stats    Stats
	first    span // decides the kind of the file's rows
	problems []problem
}

// add takes the next part and reports whether to go on.
func (g *gatherer) add(p part) bool {
	problems := p.problems
	ids, labels := p.ids, p.labels
	for _, s := range p.spans {
		if g.stats.Rows == 0 {
			g.first = s
		}
		g.stats.Rows++
		if s.kind != g.first.kind {
			problems = append(problems, problem{s.line, fmt.Errorf("a row of %v in a file of rows of %v (line %d)",
				s.kind, g.first.kind, g.first.line)})
		}
		ex := Example{IDs: ids[:s.tokens:s.tokens], Row: s.row, Line: s.line}
		ex.Labels, ids = ex.IDs, ids[s.tokens:]
		if s.own {
			ex.Labels, labels = labels[:s.tokens:s.tokens], labels[s.tokens:]
		}
		g.example(ex, s.truncated)
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return a.line - b.line })
	g.problems = append(g.problems, problems...)
	return len(g.problems) < maxProblems
}

// example counts an example and keeps it if it has anything to predict.
func (g *gatherer) example(ex Example, truncated bool) {
	if truncated {
		g.stats.Truncated++
	}
	n := ex.Counted()
	if n == 0 {
		g.stats.NoLabels++
		return
	}
	g.stats.Tokens += int64(len(ex.IDs))
	g.stats.LabelTokens += int64(n)
	g.stats.Longest = max(g.stats.Longest, len(ex.IDs))
	g.examples = append(g.examples, ex)
}

// err returns what is wrong with the file as a whole, or nil.
func (g *gatherer) err() error {
	switch {
	case len(g.problems) > 0:
		return g.problemsErr()
	case g.stats.Rows == 0:
		return fault.New(fault.Malformed, g.path, "the file has no rows")
	case len(g.examples) > 0:
		return nil
	}
	err := fault.New(fault.Malformed, fmt.Sprintf("%s:%d", g.path, g.first.line),
		"no token to predict, here and in the whole file (rows: %d)", g.stats.Rows)
	if g.stats.Truncated > 0 {
		err = err.WithHint("rows cut at the maximum length: %d", g.stats.Truncated)
	}
	return err
}

// problemsErr reports the first bad row in full and the lines of the others.
func (g *gatherer) problemsErr() error {
	first := g.problems[0]
	err, ok := errors.AsType[*fault.Error](first.err)
	if !ok {
		err = fault.New(fault.Malformed, "", "%v", first.err)
	}
	if first.line == 0 {
		return err
	}
	located := *err
	located.Path = fmt.Sprintf("%s:%d", g.path, first.line)
	var lines []string
	for _, p := range g.problems[1:min(maxProblems, len(g.problems))] {
		if p.line > 0 {
			lines = append(lines, strconv.Itoa(p.line))
		}
	}
	if len(lines) > 0 {
		located.Msg += "; bad too: line " + strings.Join(lines, ", ")
		if len(g.problems) >= maxProblems {
			located.Msg += ", …"
		}
	}
	return &located
}
