package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"shira/internal/train"
)

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{commas(0), "0"}, {commas(999), "999"}, {commas(1000), "1,000"}, {commas(15840), "15,840"}, {commas(-1234567), "-1,234,567"},
		{byteSize(0), "0 B"}, {byteSize(1023), "1023 B"}, {byteSize(1024), "1.0 KiB"}, {byteSize(3565158), "3.4 MiB"},
		{byteSize(1<<20 - 1), "1.0 MiB"}, {byteSize(1<<63 - 1), "8.0 EiB"},
		{percent(0), "0%"}, {percent(1), "100%"}, {percent(0.012), "1.2%"}, {percent(0.9999), "99.99%"}, {percent(0.9999999), "99.999%"},
		{percent(0.00042), "0.042%"}, {percent(0.5), "50.0%"}, {percent(4.6e-7), "0.000046%"}, {percent(0.000999), "0.1%"}, {percent(-0.1), "-10.0%"},
		{rate(3.21), "3.2"}, {rate(34210.4), "34,210"},
		{shape(nil), "scalar"}, {shape([]int{64, 172}), "64×172"},
		{plural(0, "step"), "no step"}, {plural(1, "step"), "1 step"}, {plural(2000, "step"), "2,000 steps"},
		{shellQuote("out/a-1.st@0.5"), "out/a-1.st@0.5"}, {shellQuote("my file"), "'my file'"}, {shellQuote("it's"), `'it'\''s'`},
		{shellQuote(""), "''"}, {shellQuote("$HOME"), "'$HOME'"},
		{oneLine("a\nb"), "a; b"}, {oneLine("a\x1b[2Jb\x00"), `a\x1b[2Jb\x00`}, {oneLine(" é "), "é"},
		{share(1, 0), "-"}, {share(1, 4), "25.0%"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	tb := newTable("<name", "size")
	tb.add("a×", "1")
	tb.add("long\x1bname", "1,000")
	tb.write(&b)
	const want = "  name           size\n  a×                1\n  long\\x1bname  1,000\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestProgressLines shows that without a terminal a line comes at the start, at the end and every few seconds between.
func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	a := &app{stderr: &b, log: newLogger(&b)}
	clock := time.Unix(0, 0)
	p := newTrainProgress(a)
	p.now = func() time.Time { return clock }
	p.Start(&train.Plan{Method: "shira", Mask: "wm", Trained: 100, Parameters: 10000, ShareOfModel: 0.01, Steps: 10, Examples: 7, Truncated: 2, NoLabels: 1})
	for step := 1; step <= 10; step++ {
		p.Step(train.StepInfo{Step: step, Steps: 10, Loss: 2, LearningRate: 0.01, TokensPerSecond: 5000})
		clock = clock.Add(2 * time.Second)
	}
	p.Eval(train.EvalInfo{Step: 10, Loss: 1})
	p.Notice("mind\nthe gap")
	p.close()
	const want = `training 100 of 10,000 parameters (1.0%); method shira, mask wm; 10 steps; examples: 7 (2 cut at max_seq_length; 1 more left out, since nothing in them counts)
step 1/10: loss 2.0000, learning rate 0.01, 5,000 tokens/s
step 4/10: loss 2.0000, learning rate 0.01, 5,000 tokens/s
step 7/10: loss 2.0000, learning rate 0.01, 5,000 tokens/s
step 10/10: loss 2.0000, learning rate 0.01, 5,000 tokens/s
step 10: validation loss 1.0000, perplexity 2.7183
note: mind; the gap
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}

	b.Reset()
	a.log.configure(slog.LevelError, false)
	p.Step(train.StepInfo{Step: 1, Steps: 10})
	p.Notice("quiet")
	if b.Len() > 0 {
		t.Errorf("quiet: %q", b.String())
	}
	a.log.configure(slog.LevelDebug, true)
	p.Step(train.StepInfo{Step: 2, Steps: 10, Loss: 1.5})
	if s := b.String(); !strings.Contains(s, `"level":"DEBUG"`) || !strings.Contains(s, `"loss":1.5`) {
		t.Errorf("verbose JSON: %q", s)
	}
}
