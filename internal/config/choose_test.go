package config

import "testing"

func TestChoose(t *testing.T) {
	for text, want := range map[string]struct{ value, notice, err string }{
		"bfloat16": {"bfloat16", "", ""},
		"bf16":     {"bfloat16", `--dtype: "bf16" is read as bfloat16`, ""},
		"float16":  {"", "", `--dtype: "float16" is not available in this version: want float32, bfloat16`},
		"BF16":     {"", "", `--dtype: want one of float32, bfloat16, got "BF16"`},
		"":         {"", "", `--dtype: want one of float32, bfloat16, got ""`},
	} {
		value, notice, err := Choose("compute_dtype", "--dtype", text)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if value != want.value || notice != want.notice || message != want.err {
			t.Errorf("%q: %q, %q, %q", text, value, notice, message)
		}
	}
}
