package adapter

import (
	"math"
	"os"
	"strconv"
	"strings"

	"shira/internal/fault"
)

// Ref names an adapter on the command line and says how strongly to apply it.
type Ref struct {
	Path   string
	Weight float64 // 1 = as trained, 0 = not at all
}

// ParseRef reads "path" or "path@weight", e.g. "pirate.st@0.5". What exists as a path is one, even when it contains an @.
// A weight that is no number, or none that float32 can hold, is a Usage error.
func ParseRef(s string) (Ref, error) {
	if s == "" {
		return Ref{}, fault.New(fault.Usage, "", "an adapter's path is empty")
	}
	at := strings.LastIndexByte(s, '@')
	if _, err := os.Lstat(s); err == nil || at < 0 {
		return Ref{Path: s, Weight: 1}, nil
	}
	path, text := s[:at], s[at+1:]
	if path == "" {
		return Ref{}, fault.New(fault.Usage, "", "%s has no adapter before the @", fault.Quote(s))
	}
	w, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return Ref{}, fault.New(fault.Usage, path, "weight %s after the @ is not a number", fault.Quote(text)).
			WithHint("write ADAPTER@0.5 for half its strength; no file %s exists either", fault.Quote(s))
	case math.IsNaN(w) || math.Abs(w) > math.MaxFloat32:
		return Ref{}, fault.New(fault.Usage, path, "weight %s is not a finite float32", fault.Quote(text))
	case w != 0 && float32(w) == 0:
		return Ref{}, fault.New(fault.Usage, path, "weight %s is too small for a float32", fault.Quote(text))
	}
	return Ref{Path: path, Weight: w}, nil
}

// ParseMixture reads adapters that are to be applied together, joined by commas: "pirate.st@0.5,formal.st". What exists as a
// path is one adapter, even when it contains a comma.
func ParseMixture(s string) ([]Ref, error) {
	if one, err := ParseRef(s); err == nil {
		if _, err := os.Lstat(one.Path); err == nil {
			return []Ref{one}, nil
		}
	}
	var refs []Ref
	for part := range strings.SplitSeq(s, ",") {
		ref, err := ParseRef(part)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// String returns the form that [ParseRef] reads, without a weight of 1.
func (r Ref) String() string {
	if r.Weight == 1 {
		return r.Path
	}
	return r.Path + "@" + strconv.FormatFloat(r.Weight, 'g', -1, 64)
}
