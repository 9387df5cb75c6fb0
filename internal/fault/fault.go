// Package fault classifies errors by what a caller can do about them. It is a leaf: every package may import it, and
// only internal/cli turns a kind into a process exit code.
package fault

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Kind says what went wrong in terms of the documented exit codes (`shira help exit-codes`).
type Kind int

// The kinds. Their numbers are the exit codes, a stable contract: values are never reused or renumbered.
const (
	Internal      Kind = 1   // a defect of this program
	Usage         Kind = 2   // wrong flags, arguments or configuration
	Malformed     Kind = 3   // an input file that breaks its own format
	Incompatible  Kind = 4   // well-formed inputs that do not fit together
	Environment   Kind = 5   // disk full, permission, read-only file system, missing file
	Locked        Kind = 6   // held by another process
	Unrecoverable Kind = 7   // recovery impossible
	Numerical     Kind = 8   // NaN, infinity, divergence
	Gate          Kind = 9   // a threshold asked for was missed
	Interrupted   Kind = 130 // SIGINT; state saved
	Terminated    Kind = 143 // SIGTERM; state saved
)

// Error is an error with a kind, the file it concerns and, where there is one, a hint for the user.
type Error struct {
	Kind Kind
	Path string // the file concerned; empty when there is none
	Msg  string
	Hint string // what to do about it; empty when nothing useful can be said
	Err  error  // the cause; may be nil
}

// Error returns "<path>: <what is wrong>: <cause>", without the hint.
func (e *Error) Error() string {
	s := e.Msg
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the given kind about path ("" for none).
func New(kind Kind, path, format string, args ...any) *Error {
	return &Error{Kind: kind, Path: path, Msg: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause, which errors.Is and errors.As see.
func Wrap(kind Kind, path string, err error, format string, args ...any) *Error {
	return &Error{Kind: kind, Path: path, Msg: fmt.Sprintf(format, args...), Err: err}
}

// WithHint sets the hint and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// KindOf returns the kind of the first fault in err's chain, and Internal for any other error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// maxName bounds how much of a name read from a file a message repeats.
const maxName = 200

// Quote quotes a name that came from a file, escaping control characters and cutting it at 200 bytes, so that it can
// stand in a message on a terminal.
func Quote(name string) string {
	if len(name) <= maxName {
		return strconv.Quote(name)
	}
	cut := maxName
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return strconv.Quote(name[:cut]) + "…"
}
