package tokenizer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"shira/internal/fault"
)

const fileName = "tokenizer.json"

// maxFile bounds the files read, in bytes; the largest tokenizer.json in use has 33 MB.
const maxFile = 256 << 20

// Load reads a tokenizer.json, or the one in a directory. A file that breaks its format is a fault of kind Malformed,
// one that asks for what this package cannot reproduce of kind Incompatible, and one that cannot be read of kind
// Environment.
func Load(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, readFault(path, err)
	}
	if info.IsDir() {
		path = filepath.Join(path, fileName)
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	t, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	if filepath.Base(path) != fileName {
		return t, nil
	}
	if err := t.readSpecialTokens(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return t, nil
}

func readFault(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fault.Wrap(fault.Environment, path, err, "cannot read the tokenizer")
}

// readFile reads a whole text file of at most maxFile bytes.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", readFault(path, err)
	case !info.Mode().IsRegular():
		return "", fault.New(fault.Malformed, path, "not a regular file")
	case info.Size() > maxFile:
		return "", fault.New(fault.Malformed, path, "%d bytes, more than the %d a tokenizer may have", info.Size(), maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", readFault(path, err)
	}
	defer f.Close()
	var b strings.Builder // rather than os.ReadFile, to have the text without a second copy
	b.Grow(int(info.Size()))
	if _, err := io.Copy(&b, io.LimitReader(f, maxFile)); err != nil {
		return "", readFault(path, err)
	}
	text := b.String()
	if !utf8.ValidString(text) {
		return "", fault.New(fault.Malformed, path, "not UTF-8")
	}
	if strings.HasPrefix(text, "version https://git-lfs") {
		return "", fault.New(fault.Malformed, path, "a Git LFS pointer, not the file itself").WithHint("run git lfs pull")
	}
	return text, nil
}

// parse builds the tokenizer that text, the content of the tokenizer.json at path, describes.
func parse(path, text string) (*Tokenizer, error) {
	rep := new(report)
	model := modelReader{report: rep}
	parts := map[string]any{}
	r := &jsonReader{s: text}
	err := r.uniqueObject(func(key string) (err error) {
		if key == "model" {
			return model.read(r)
		}
		parts[key], err = r.value()
		return err
	})
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, fault.Wrap(fault.Malformed, path, err, "not a valid tokenizer.json")
	}
	part := func(name string) node { return node{parts[name], name, rep} }
	if version := part("version"); !version.null() && version.str() != "1.0" {
		rep.unsupportedf("version %s", fault.Quote(version.str()))
	}
	m, err := model.build(text)
	if err != nil {
		return nil, fault.Wrap(fault.Malformed, path, err, "not a valid tokenizer.json")
	}
	t := &Tokenizer{model: m, cache: newWordCache()}
	t.normal = newNormalizer(part("normalizer"))
	t.pre = newPreTokenizer(part("pre_tokenizer"))
	t.decoders = newDecoder(part("decoder"))
	if err := rep.err(path); err != nil {
		return nil, err
	}
	t.added = newAddedTokens(part("added_tokens"), m.vocab, t.normal)
	t.template = newTemplate(part("post_processor"), func(id int32) bool { _, ok := t.Token(id); return ok })
	if err := rep.err(path); err != nil {
		return nil, err
	}
	t.guessSpecialTokens()
	fillClasses()
	m.prepare(t.pre.byteLevel)
	if m.metaspaceSplits() {
		t.pre.add(step{cut: scanMetaspaceWords})
	}
	return t, nil
}
