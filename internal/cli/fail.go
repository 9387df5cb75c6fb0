package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"

	"shira/internal/fault"
)

// fail tells the user of err and returns the exit code.
func (a *app) fail(err error) int {
	s := statusOf(err)
	message, hint := oneLine(err.Error()), oneLine(fault.HintOf(err))
	a.log.failure(message, hint, s)
	if a.asJSON {
		a.errorObject(s, message, hint)
	}
	return s.code
}

// errorObject prints the last line of the standard error with --json.
func (a *app) errorObject(s status, message, hint string) {
	type object struct {
		Code    int    `json:"code"`
		Kind    string `json:"kind"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	}
	enc := json.NewEncoder(a.stderr)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]object{"error": {s.code, s.name, message, hint}}) // nobody is left to tell
}

// panicked reports a panic in one line, and with SHIRA_DEBUG=1 where it happened.
func (a *app) panicked(v any) int {
	err := fault.New(fault.Internal, "", "internal error: %v", v).
		WithHint("this is a defect of shira; SHIRA_DEBUG=1 prints where it happened")
	code := a.fail(err)
	if debugging() {
		fmt.Fprintf(a.stderr, "%s", debug.Stack())
	}
	return code
}

func debugging() bool { return os.Getenv(envDebug) == "1" }

// oneLine makes a message fit for one line of a terminal: joined errors are separated by semicolons, and control
// characters, which may come from files, are escaped.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// wantsJSON looks for --json among arguments that may be faulty.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// wantsRecords looks among arguments that may be faulty, and then in the environment, for the log format json.
func wantsRecords(args []string) bool {
	format := os.Getenv(variableOf("log-format"))
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if arg == "--log-format" && i+1 < len(args) {
			format = args[i+1]
		} else if value, ok := strings.CutPrefix(arg, "--log-format="); ok {
			format = value
		}
	}
	return format == "json"
}

// gateMissed says whether err is that of a missed threshold, after which the result is worth printing.
func gateMissed(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Kind == fault.Gate
}

// failure writes an error: a line for people, or a record.
func (l *logger) failure(message, hint string, s status) {
	if l.records != nil {
		attrs := []slog.Attr{slog.Int("code", s.code), slog.String("kind", s.name)}
		if hint != "" {
			attrs = append(attrs, slog.String("hint", hint))
		}
		l.record(slog.LevelError, message, attrs)
		return
	}
	fmt.Fprintf(l.w, "%s %s\n", l.paint(red, "shira:"), message)
	if hint != "" {
		fmt.Fprintf(l.w, "%s %s\n", l.paint(cyan, "hint:"), hint)
	}
}
