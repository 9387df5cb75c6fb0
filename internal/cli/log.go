package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// logger writes to the standard error what is not a result: lines for people, or with --log-format json a record a line.
type logger struct {
	w       io.Writer
	level   slog.Level   // lowest that is written
	records slog.Handler // nil for lines
	colour  bool
}

func newLogger(w io.Writer) *logger {
	return &logger{w: w, colour: takesColours(w)}
}

// configure applies -q, -v and --log-format.
func (l *logger) configure(level slog.Level, asJSON bool) {
	l.level, l.records = level, nil
	if asJSON {
		l.records = slog.NewJSONHandler(l.w, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
}

func (l *logger) info(line string, attrs ...slog.Attr)   { l.write(slog.LevelInfo, "", line, attrs) }
func (l *logger) detail(line string, attrs ...slog.Attr) { l.write(slog.LevelDebug, "", line, attrs) }
func (l *logger) notice(line string)                     { l.write(slog.LevelWarn, "note: ", line, nil) }

// write writes one line, or one record with attrs, which repeat for programs what the line tells people.
func (l *logger) write(level slog.Level, prefix, line string, attrs []slog.Attr) {
	if level < l.level {
		return
	}
	line = oneLine(line)
	if l.records != nil {
		l.record(level, line, attrs)
		return
	}
	fmt.Fprintln(l.w, prefix+line)
}

func (l *logger) record(level slog.Level, message string, attrs []slog.Attr) {
	slog.New(l.records).LogAttrs(context.Background(), level, message, attrs...)
}

const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
	reset = "\x1b[0m"
)

// takesColours says whether w is a terminal for people who want colours.
func takesColours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv(envNoColor) == "" && os.Getenv("TERM") != "dumb"
}

func (l *logger) paint(colour, text string) string {
	if !l.colour {
		return text
	}
	return colour + text + reset
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
