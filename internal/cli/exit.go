package cli

import (
	"fmt"
	"slices"
	"strings"

	"shira/internal/fault"
)

// status is an exit code other than 0.
type status struct {
	kind    fault.Kind
	code    int
	name    string // "kind" of error objects
	meaning string
}

// statuses is the table of exit codes, a stable contract.
var statuses = []status{
	{fault.Internal, 1, "internal", "a defect of this program"},
	{fault.Usage, 2, "usage", "wrong flags, arguments or configuration"},
	{fault.Malformed, 3, "malformed", "an input file breaks its format"},
	{fault.Incompatible, 4, "incompatible", "well-formed inputs that do not fit together: shape, base, architecture"},
	{fault.Environment, 5, "environment", "missing file, full disk, no permission, read-only file system"},
	{fault.Locked, 6, "locked", "another process holds the model or the run"},
	{fault.Unrecoverable, 7, "unrecoverable", "a switch that did not end must be recovered first, or cannot be"},
	{fault.Numerical, 8, "numerical", "a result is not a number: NaN, infinity, divergence"},
	{fault.Gate, 9, "gate", "a threshold asked for was missed"},
	{fault.Interrupted, 130, "interrupted", "stopped by SIGINT; files are whole, and a run is saved"},
	{fault.Terminated, 143, "terminated", "stopped by SIGTERM or SIGHUP; likewise"},
}

// statusOf returns the status of err, which is not nil.
func statusOf(err error) status {
	kind := fault.KindOf(err)
	for _, s := range statuses {
		if s.kind == kind {
			return s
		}
	}
	return statuses[0]
}

// exitAnnotation is the annotation of a command that lists its exit codes.
const exitAnnotation = "exit"

// exits returns annotations that say which kinds of errors a command has besides Internal, Usage and Environment.
func exits(kinds ...fault.Kind) map[string]string {
	return map[string]string{exitAnnotation: exitStatus(append(kinds, fault.Internal, fault.Usage, fault.Environment)...)}
}

// exitStatus renders the exit codes of the given kinds, all without any.
func exitStatus(kinds ...fault.Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %3d  success\n", 0)
	for _, s := range statuses {
		if len(kinds) == 0 || slices.Contains(kinds, s.kind) {
			fmt.Fprintf(&b, "  %3d  %s\n", s.code, s.meaning)
		}
	}
	return b.String()
}
