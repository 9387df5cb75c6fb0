package train

import (
	"os"
	"path/filepath"
	"slices"

	"shira/internal/config"
	"shira/internal/data"
)

// DataOptions says how the training data of a run is read with the tokenizer in dir, but for lengths and the model's
// vocabulary.
func DataOptions(cfg *config.Train, dir string) (opt data.Options, err error) {
	opt = data.Options{
		Files: files(cfg.TrainData()), AppendEOS: cfg.AppendEOS, TrainOnInputs: cfg.TrainOnInputs, TempDir: tempDir(cfg.OutputDir),
	}
	if opt.Tokenizer, err = data.OpenTokenizer(dir); err != nil {
		return opt, err
	}
	opt.Template, err = data.OpenTemplate(dir, cfg.ChatTemplate)
	return opt, err
}

// forValidation returns options as opt for the validation data, which counts as `shira eval` does: without end-of-sequence
// tokens that the file does not hold.
func forValidation(opt data.Options, cfg *config.Train) data.Options {
	opt.Files, opt.AppendEOS, opt.OmitEOS = files(cfg.ValidationData()), false, true
	return opt
}

func files(list []config.Dataset) []data.File {
	out := make([]data.File, len(list))
	for i, d := range list {
		out[i] = data.File{Path: d.Path, Type: d.Type, Format: d.Format, SampleBy: d.SampleBy, Weight: d.Weight, Columns: d.Columns}
	}
	return out
}

// tempDir is where tokens that do not stay in memory go: the disk that the result will be on, since the system's directory
// may be in memory itself. It is output_dir, or the nearest directory above that exists.
func tempDir(output string) string {
	if output == "" {
		return ""
	}
	for dir := filepath.Clean(output); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// digestTokens takes the digest of the tokens of all examples.
func (s *session) digestTokens() {
	if s.encoded = s.train.Digest(); s.valid != nil {
		s.encoded += s.valid.Digest()
	}
}

// PlanFile counts what a run makes of a file of examples.
type PlanFile struct {
	Path        string  `json:"path"`
	Use         string  `json:"use,omitempty"` // training or validation
	Type        string  `json:"type"`
	Weight      float64 `json:"weight,omitempty"`
	Rows        int     `json:"rows"`
	Examples    int     `json:"examples"`
	PerEpoch    int     `json:"per_epoch,omitempty"` // of them, in an epoch of a mixture
	Truncated   int     `json:"truncated"`           // rows cut at the maximum length
	NoLabels    int     `json:"no_labels"`           // rows left out, since nothing in them counts
	Tokens      int64   `json:"tokens"`
	LabelTokens int64   `json:"label_tokens"` // that count
	Longest     int     `json:"longest"`      // tokens of the longest example
}

// PlanFiles counts the files of a dataset.
func PlanFiles(ds *data.Dataset) []PlanFile {
	files := make([]PlanFile, len(ds.Sources))
	for i, s := range ds.Sources {
		files[i] = PlanFile{
			Path: s.Path, Type: s.Kind, Weight: s.Weight, Rows: s.Rows, Examples: s.Examples, Truncated: s.Truncated, NoLabels: s.NoLabels,
			Tokens: s.Tokens, LabelTokens: s.LabelTokens, Longest: s.Longest,
		}
	}
	return files
}

// planFiles counts the files of the run.
func (s *session) planFiles() []PlanFile {
	var all []PlanFile
	for _, part := range []struct {
		use string
		ds  *data.Dataset
	}{{"training", s.train}, {"validation", s.valid}} {
		if part.ds == nil {
			continue
		}
		files := PlanFiles(part.ds)
		mixed := slices.ContainsFunc(files, func(f PlanFile) bool { return f.Weight > 0 })
		for i, f := range files {
			if f.Use = part.use; part.ds == s.train && mixed {
				f.PerEpoch = s.loader.Share(i)
			}
			all = append(all, f)
		}
	}
	return all
}
