package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// Load reads and encodes files. Rows are encoded in parallel and kept in the order of the files.
//
// Errors are faults: Malformed for a file that is not regular, empty, not of its format, of mixed kinds of rows, or without
// a single token that counts; Incompatible where the tokenizer cannot serve the rows or the model; Environment where a file
// is missing or reading fails. What concerns a row is "path:line: …", and the lines of further bad rows follow.
func Load(ctx context.Context, opt Options) (*Dataset, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	ds := &Dataset{store: newStore(&opt)}
	enc := newEncoder(&opt)
	sum := sha256.New()
	for _, f := range opt.Files {
		digest, err := ds.load(ctx, enc, f)
		if err != nil {
			_ = ds.Close() // of what nobody needs any more
			return nil, err
		}
		if ds.SHA256 = digest; len(opt.Files) > 1 { // of several files the digest is that of their digests and weights
			fmt.Fprintf(sum, "%s %g\n", digest, f.Weight)
			ds.SHA256 = hex.EncodeToString(sum.Sum(nil))
		}
	}
	if opt.Limit > 0 {
		ds.SHA256 = ""
	}
	var err error
	if ds.tokens, err = ds.store.seal(); err != nil {
		_ = ds.Close()
		return nil, err
	}
	return ds, nil
}

// load adds the examples of a file and returns its digest.
func (d *Dataset) load(ctx context.Context, enc *encoder, f File) (string, error) {
	maxRow := enc.MaxLineBytes
	if maxRow == 0 {
		maxRow = DefaultMaxLineBytes
	}
	in, err := openInput(f.Path, maxRow)
	if err != nil {
		return "", err
	}
	defer in.close()
	src, err := in.source(&f)
	if err != nil {
		return "", err
	}
	g := gatherer{ctx: ctx, ds: d, source: Source{File: f, First: len(d.index)}}
	fe := fileEncoder{encoder: enc, schema: newSchema(&f)}
	_, fe.split = src.(*textRows)
	encodeChunks(&chunkReader{source: src, limit: enc.Limit}, &fe, g.add)
	if err := g.err(); err != nil {
		return "", err
	}
	g.source.Kind = rowTypes[g.first.kind].name
	g.source.Examples = len(d.index) - g.source.First
	d.Sources = append(d.Sources, g.source)
	d.Stats.add(g.source.Stats)
	return in.digest(), nil
}

// encodeChunks encodes the file's chunks in parallel and passes the parts to add in file order, until add returns
// false. Only a few chunks a core are in memory at once. A read error counts after the rows before it.
func encodeChunks(chunks *chunkReader, enc *fileEncoder, add func(part) bool) {
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
		if c, readErr = chunks.next(); len(c.lines) > 0 {
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

// part is an encoded chunk.
type part struct {
	ids      []int32
	labels   []int32 // of the spans with labels of their own
	spans    []span
	problems []problem
}

// span is an example of a part: the next tokens of its arrays.
type span struct {
	kind      int
	line, row int
	tokens    int
	own       bool // has labels of its own; otherwise they equal ids
	truncated bool
	piece     bool // continues the row of the span before
}

// problem is a bad row; line 0 stands for an error that names its place itself.
type problem struct {
	line int
	err  error
}

// fileEncoder encodes the rows of one file.
type fileEncoder struct {
	*encoder
	*schema
	split bool // long rows become several examples, and none is cut
}

// part encodes a chunk.
func (e *fileEncoder) part(c chunk) (p part) {
	r := row{schema: e.schema}
	at := 0
	defer func() {
		// A panic in this goroutine would end the program beyond the caller's reach.
		if v := recover(); v != nil {
			p.problems = append(p.problems, problem{at, fault.New(fault.Internal, "", "encoding the row failed: %v", v)})
		}
	}()
	start := 0
	for i, end := range c.ends {
		at = c.lines[i]
		if err := e.row(&p, &r, span{line: at, row: c.row + i}, c.text[start:end]); err != nil {
			p.problems = append(p.problems, problem{at, err})
		}
		start = end
	}
	return p
}

// row parses, encodes and truncates a row and appends it to p.
func (e *fileEncoder) row(p *part, r *row, s span, text []byte) error {
	if err := r.parse(text); err != nil {
		return err
	}
	kind, err := r.resolve()
	if err != nil {
		return err
	}
	ids, labels, err := e.encode(r, kind)
	if err != nil {
		return err
	}
	s.kind, s.own = kind, labels != nil
	for {
		n := len(ids)
		if e.MaxLength > 0 && n > e.MaxLength {
			n = e.MaxLength
			s.truncated = !e.split
		}
		s.tokens = n
		p.ids = append(p.ids, ids[:n]...)
		if s.own {
			p.labels = append(p.labels, labels[:n]...)
			labels = labels[n:]
		}
		p.spans = append(p.spans, s)
		ids = ids[n:]
		if !e.split || len(ids) < 2 { // a single token has nothing before it to be predicted from
			return nil
		}
		s.piece = true
	}
}

// gatherer adds the parts of a file to a dataset, in order.
type gatherer struct {
	ctx      context.Context // of the one call that the gatherer lives for
	ds       *Dataset
	source   Source
	first    span // decides the kind of the file's rows
	problems []problem
}

// add takes the next part and reports whether to go on.
func (g *gatherer) add(p part) bool {
	problems := p.problems
	ids, labels := p.ids, p.labels
	for _, s := range p.spans {
		if g.source.Rows == 0 {
			g.first = s
		}
		if !s.piece {
			g.source.Rows++
		}
		if s.kind != g.first.kind {
			problems = append(problems, problem{s.line, fmt.Errorf("a row of type %s in a file of type %s (line %d)",
				rowTypes[s.kind].name, rowTypes[g.first.kind].name, g.first.line)})
		}
		var own []int32
		if s.own {
			own, labels = labels[:s.tokens], labels[s.tokens:]
		}
		if err := g.example(s, ids[:s.tokens], own); err != nil {
			problems = append(problems, problem{0, err})
			g.problems = append(g.problems, problems...)
			return false
		}
		ids = ids[s.tokens:]
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return a.line - b.line })
	g.problems = append(g.problems, problems...)
	return len(g.problems) < maxProblems && g.ctx.Err() == nil
}

// example counts an example and keeps it if it has anything to predict. Labels are nil where they equal ids.
func (g *gatherer) example(s span, ids, labels []int32) error {
	if s.truncated {
		g.source.Truncated++
	}
	n := counted(ids)
	if labels != nil {
		n = counted(labels)
	}
	if n == 0 {
		g.source.NoLabels++
		return nil
	}
	if len(g.ds.index) == maxExamples {
		return fault.New(fault.Malformed, g.source.Path, "more than %d examples", maxExamples)
	}
	g.source.Tokens += int64(len(ids))
	g.source.LabelTokens += int64(n)
	g.source.Longest = max(g.source.Longest, len(ids))
	at, err := g.ds.store.add(ids)
	if err == nil && labels != nil {
		_, err = g.ds.store.add(labels)
	}
	g.ds.index = append(g.ds.index, entry{
		at: at, tokens: int32(len(ids)), row: int32(s.row), line: int32(s.line), file: uint16(len(g.ds.Sources)), own: labels != nil,
		cut: s.truncated,
	})
	return err
}

// maxExamples is what 32-bit indices count.
const maxExamples = 1<<31 - 1

// err returns what is wrong with the file as a whole, or nil.
func (g *gatherer) err() error {
	s := &g.source
	switch {
	case len(g.problems) > 0:
		return g.problemsErr()
	case g.ctx.Err() != nil:
		return g.ctx.Err()
	case s.Rows == 0:
		return fault.New(fault.Malformed, s.Path, "the file has no rows")
	case len(g.ds.index) > s.First:
		return nil
	}
	err := fault.New(fault.Malformed, fmt.Sprintf("%s:%d", s.Path, g.first.line),
		"no token to predict, here and in the whole file (rows: %d)", s.Rows)
	if s.Truncated > 0 {
		return err.WithHint("rows cut at the maximum length: %d; a larger max_seq_length, or --max-seq-length, leaves more of them", s.Truncated)
	}
	if g.first.kind == chatKind || g.first.kind == shareGPTKind {
		return err.WithHint("no message in it is the assistant's")
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
	located.Path = fmt.Sprintf("%s:%d", g.source.Path, first.line)
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
