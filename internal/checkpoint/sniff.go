package checkpoint

import (
	"strings"

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

// malformed returns the error for a file that is no valid safetensors file: the given one, or a more telling one where its
// first bytes show another format.
func malformed(path string, start []byte, format string, args ...any) error {
	for _, f := range foreign {
		if strings.HasPrefix(string(start), f.magic) {
			return fault.New(fault.Malformed, path, "is %s", f.name).WithHint("%s", f.hint)
		}
	}
	return fault.New(fault.Malformed, path, format, args...)
}
