package cli

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"shira/internal/train"
)

// lineEvery is the least time between two lines of progress where there is no bar.
const lineEvery = 5 * time.Second

// hasBar says whether progress can be a bar, which needs a terminal.
func (a *app) hasBar() bool {
	return isTerminal(a.stderr) && a.log.records == nil && a.log.level == slog.LevelInfo
}

// newBar returns a progress bar on the standard error.
func (a *app) newBar(total int64, what string, options ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append([]progressbar.Option{
		progressbar.OptionSetWriter(a.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionEnableColorCodes(false),
	}, options...)...)
}

// trainProgress shows a training run: a bar on a terminal, else a line now and then.
type trainProgress struct {
	*app
	bar   *progressbar.ProgressBar // nil without a terminal
	last  time.Time                // of the last line
	first int                      // the first step seen
	began time.Time                // its end
	now   func() time.Time
}

func newTrainProgress(a *app) *trainProgress { return &trainProgress{app: a, now: time.Now} }

// Start implements train.Observer.
func (t *trainProgress) Start(p *train.Plan) {
	method := p.Method
	if p.Mask != "" {
		method += ", mask " + p.Mask
	}
	t.log.info(fmt.Sprintf("training %s of %s parameters (%s); method %s; %s; examples: %s",
		commas(p.Trained), commas(p.Parameters), percent(p.ShareOfModel), method, plural(p.Steps, "step"), examplesText(p)),
		slog.Int64("trainable_parameters", p.Trained), slog.Int("steps", p.Steps), slog.Int("examples", p.Examples),
		slog.Int("truncated", p.Truncated), slog.Int("no_labels", p.NoLabels))
	for _, n := range p.Notices {
		t.log.notice(n)
	}
	if t.hasBar() {
		t.bar = t.newBar(int64(p.Steps), "training", progressbar.OptionShowCount())
	}
}

// Resume implements train.Observer.
func (t *trainProgress) Resume(step int) {
	t.say(func() { t.log.info(fmt.Sprintf("going on after step %d", step), slog.Int("resumed_from", step)) })
}

// Saved implements train.Observer.
func (t *trainProgress) Saved(dir string) {
	t.say(func() { t.log.info("saved "+dir, slog.String("checkpoint", dir)) })
}

// Step implements train.Observer.
func (t *trainProgress) Step(s train.StepInfo) {
	if t.bar != nil {
		t.bar.Describe(fmt.Sprintf("loss %s, %s tokens/s", lossText(s.Loss), rate(s.TokensPerSecond)))
		_ = t.bar.Set(s.Step) // a bar that cannot be drawn is no reason to stop
		return
	}
	line := fmt.Sprintf("step %d/%d: loss %s, learning rate %.3g, %s tokens/s", s.Step, s.Steps, lossText(s.Loss),
		s.LearningRate, rate(s.TokensPerSecond))
	if left := t.left(s); left >= time.Minute {
		line += ", " + strings.TrimSuffix(left.String(), "0s") + " left"
	}
	attrs := []slog.Attr{
		slog.Int("step", s.Step), slog.Float64("loss", s.Loss), slog.Float64("learning_rate", s.LearningRate),
		slog.Float64("grad_norm", s.GradNorm), slog.Int64("tokens", s.Tokens), slog.Float64("tokens_per_second", s.TokensPerSecond),
	}
	if now := t.now(); t.last.IsZero() || s.Step == s.Steps || now.Sub(t.last) >= lineEvery {
		t.last = now
		t.log.info(line, attrs...)
	} else {
		t.log.detail(line, attrs...)
	}
}

// left estimates the time that is left from that of the steps seen, to the minute; 0 where it is not known.
func (t *trainProgress) left(s train.StepInfo) time.Duration {
	if t.first == 0 {
		t.first, t.began = s.Step, t.now()
	}
	if s.Step <= t.first {
		return 0
	}
	each := t.now().Sub(t.began) / time.Duration(s.Step-t.first)
	return (each * time.Duration(s.Steps-s.Step)).Round(time.Minute)
}

// Eval implements train.Observer.
func (t *trainProgress) Eval(e train.EvalInfo) {
	t.say(func() {
		t.log.info(fmt.Sprintf("step %d: validation loss %s, perplexity %s", e.Step, lossText(e.Loss), perplexity(e.Loss)),
			slog.Int("step", e.Step), slog.Float64("eval_loss", e.Loss), slog.Int64("eval_tokens", e.Tokens))
	})
}

// Notice implements train.Observer.
func (t *trainProgress) Notice(s string) { t.say(func() { t.log.notice(s) }) }

// say prints something above the bar.
func (t *trainProgress) say(something func()) {
	if t.bar != nil {
		_ = t.bar.Clear()
	}
	something()
}

// close removes the bar.
func (t *trainProgress) close() {
	if t.bar != nil {
		_ = t.bar.Clear()
	}
}

// byteProgress returns a function that shows bytes done of a total, as a bar on a terminal and as a line now and then
// elsewhere, and one that removes the bar.
func (a *app) byteProgress(what string) (tell func(done, total int64), closeBar func()) {
	if !a.hasBar() {
		return a.byteLines(what, time.Now), func() {}
	}
	var bar *progressbar.ProgressBar
	tell = func(done, total int64) {
		if bar == nil {
			bar = a.newBar(total, what, progressbar.OptionShowBytes(true))
		}
		_ = bar.Set64(done)
	}
	return tell, func() {
		if bar != nil {
			_ = bar.Clear()
		}
	}
}

// byteLines returns a function that prints a line of progress for what takes longer than lineEvery.
func (a *app) byteLines(what string, now func() time.Time) func(done, total int64) {
	start := now()
	last := start
	return func(done, total int64) {
		t := now()
		if t.Sub(last) < lineEvery {
			return
		}
		last = t
		rate := int64(float64(done) / t.Sub(start).Seconds())
		a.log.info(fmt.Sprintf("%s: %s of %s, %s/s", what, byteSize(done), byteSize(total), byteSize(rate)),
			slog.Int64("bytes", done), slog.Int64("total_bytes", total), slog.Int64("bytes_per_second", rate))
	}
}
