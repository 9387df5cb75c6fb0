package checkpoint

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"shira/internal/fault"
)

const convertHint = "convert it to safetensors first, for example by save_pretrained(…, safe_serialization=True)"

// foreign lists formats that are found under the name of a safetensors file, by their first bytes.
var foreign = []struct{ magic, name, hint string }{
	{"version https://git-lfs", "a Git LFS pointer, not the file it stands for", "fetch the file with: git lfs pull"},
	{"PK\x03\x04", "a zip archive, as torch.save writes", convertHint},
	{"\x80\x02", "a Python pickle", convertHint},
	{"\x80\x03", "a Python pickle", convertHint},
	{"\x80\x04", "a Python pickle", convertHint},
	{"\x80\x05", "a Python pickle", convertHint},
	{"\x1f\x8b", "a gzip archive", "unpack it first"},
	{"GGUF", "a GGUF file", "use the safetensors files that it was made from"},
	{"\x89HDF", "an HDF5 file", convertHint},
	{"<!DOCTYPE", "an HTML page", "the download failed: fetch the file again"},
	{"<html", "an HTML page", "the download failed: fetch the file again"},
}

// notSafetensors is malformed for what should be a safetensors file, which no text is.
func notSafetensors(path string, start []byte, format string, args ...any) error {
	if err := otherFormat(path, start); err != nil {
		return err
	}
	if text := textStart(start); text != "" {
		return fault.New(fault.Malformed, path, "is text (it starts with %s), not a safetensors file", fault.Quote(text)).
			WithHint("are the arguments in the right order? models and adapters are safetensors files or directories")
	}
	return fault.New(fault.Malformed, path, format, args...)
}

// textStart returns the first line of a file as far as start has it, and "" where that is no text.
func textStart(start []byte) string {
	for len(start) > 0 && !utf8.Valid(start) && len(start) > 28 { // a character may be cut
		start = start[:len(start)-1]
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(start)), "\n")
	binary := func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }
	if !utf8.Valid(start) || strings.ContainsFunc(string(start), binary) {
		return ""
	}
	return strings.TrimSpace(line)
}

// malformed returns the error for a file that breaks its format: the given one, or a more telling one where its first bytes
// show another format.
func malformed(path string, start []byte, format string, args ...any) error {
	if err := otherFormat(path, start); err != nil {
		return err
	}
	return fault.New(fault.Malformed, path, format, args...)
}

// otherFormat returns the error for a file of another known format, nil for others.
func otherFormat(path string, start []byte) error {
	for _, f := range foreign {
		if strings.HasPrefix(string(start), f.magic) {
			return fault.New(fault.Malformed, path, "is %s", f.name).WithHint("%s", f.hint)
		}
	}
	return nil
}
