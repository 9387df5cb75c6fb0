package train

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"strings"

	"shira/internal/buildinfo"
	"shira/internal/config"
	"shira/internal/fsx"
)

const cardFile = "README.md"

// cardMark tells a model card that a run wrote, and may replace, from one that somebody else did.
const cardMark = "<!-- written by shira train -->"

// writeCard writes the model card, with the front matter that the Hugging Face Hub reads, unless there is a README of
// another origin.
func (t *trainer) writeCard(r *Result) error {
	path := filepath.Join(t.out.dir, cardFile)
	old, err := fsx.ReadFile(path, 1<<20)
	ours := errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Contains(old, []byte(cardMark))
	if !ours {
		t.obs.Notice(path + " was not written by a run, and stays as it is")
		return nil
	}
	return writeText(path, []byte(t.card(r)))
}

func (t *trainer) card(r *Result) string {
	var b strings.Builder
	full := t.cfg.Method == "full"
	library, what, relation := "peft", "adapter", "adapter"
	if full {
		library, what, relation = "transformers", "model", "finetune"
	}
	b.WriteString("---\n")
	id := hubName(t.cfg.ModelNameOrPath)
	if id != "" {
		fmt.Fprintf(&b, "base_model: %s\n", id)
	}
	fmt.Fprintf(&b, "library_name: %s\npipeline_tag: text-generation\ntags:\n", library)
	if id != "" {
		fmt.Fprintf(&b, "- base_model:%s:%s\n", relation, id)
	}
	if !full && t.cfg.Method != "shira" {
		fmt.Fprintf(&b, "- %s\n", t.cfg.Method)
	}
	b.WriteString("- shira\n---\n\n" + cardMark + "\n\n")
	fmt.Fprintf(&b, "# %s\n\n", filepath.Base(t.cfg.OutputDir))
	p := t.planned
	fmt.Fprintf(&b, "This %s was trained with method `%s` on `%s`: %d of its %d parameters.\n", what, t.cfg.Method, t.cfg.ModelNameOrPath, p.Trained, p.Parameters)

	b.WriteString("\n## Results\n\n| | loss | perplexity |\n| --- | --- | --- |\n")
	row := func(name string, loss *float64) {
		if loss != nil {
			fmt.Fprintf(&b, "| %s | %.4f | %.2f |\n", name, *loss, math.Exp(*loss))
		}
	}
	row("validation, before", r.EvalLossBefore)
	row("validation, after", r.EvalLoss)
	row("training, last step", &r.TrainLoss)
	fmt.Fprintf(&b, "\n%d steps of at most %d tokens, %d tokens in all, %d examples. Losses are means over counted tokens, in nats.\n",
		r.Steps, p.TokensPerStep, t.Tokens, p.Examples)

	b.WriteString("\n## Use\n\n")
	if full {
		fmt.Fprintf(&b, "```sh\nshira eval %s --data FILE\n```\n", t.cfg.OutputDir)
	} else {
		fmt.Fprintf(&b, "```sh\nshira eval %s --data FILE --adapter %s\nshira fuse %[1]s %[2]s\n```\n", t.cfg.ModelNameOrPath, t.cfg.OutputDir)
	}
	b.WriteString("\n## Configuration\n\n```yaml\n")
	for _, s := range (&config.Resolved{Train: *t.cfg}).Settings() {
		if t.cfg.FromAdapter(s.Key.Name) {
			continue
		}
		if s.Value != nil && (!s.Key.Free || s.Key.Section == "Training" || s.Key.Name == "init_adapter" && t.cfg.InitAdapter != "") {
			fmt.Fprintf(&b, "%s: %s\n", s.Key.Name, config.Text(s.Value))
		}
	}
	fmt.Fprintf(&b, "```\n\nWritten by shira %s.\n", buildinfo.Version())
	return b.String()
}

var (
	hubID    = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$`)
	hubCache = regexp.MustCompile(`models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\]`)
)

// hubName returns the Hub's name of the model at path, where the path is in the Hub's cache or reads like one; the Hub
// refuses other values of base_model.
func hubName(path string) string {
	if m := hubCache.FindStringSubmatch(path); m != nil {
		return m[1] + "/" + m[2]
	}
	if hubID.MatchString(path) && !strings.Contains(path, "..") {
		return path
	}
	return ""
}
