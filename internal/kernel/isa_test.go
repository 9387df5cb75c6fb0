package kernel

import (
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		forced string
		have   []isa
		want   isa
		err    string
	}{
		{"", []isa{isGo}, isGo, ""},
		{"", []isa{isGo, isAVX2, isAVX512}, isAVX512, ""},
		{"go", []isa{isGo, isAVX2, isAVX512}, isGo, ""},
		{"avx2", []isa{isGo, isAVX2, isAVX512}, isAVX2, ""},
		{"AVX2", []isa{isGo, isAVX2, isAVX512}, isAVX2, ""},
		{"avx512", []isa{isGo, isAVX2}, isAVX2, `SHIRA_KERNEL is "avx512"; this machine has go, avx2`},
		{"AVX2\n", []isa{isGo}, isGo, `SHIRA_KERNEL is "AVX2\n"; this machine has go`},
	} {
		got, err := choose(c.forced, c.have)
		if got != c.want {
			t.Errorf("choose(%q, %v) = %v, want %v", c.forced, c.have, got, c.want)
		}
		if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("choose(%q, %v): error %v, want %q", c.forced, c.have, err, c.err)
		}
	}
}

func TestFeaturesNamesWhatRuns(t *testing.T) {
	withISA(t, func(t *testing.T) {
		if !strings.HasSuffix(t.Name(), "/"+Features()) {
			t.Errorf("Features() = %q", Features())
		}
	})
	if !slices.Contains(available(), active) {
		t.Errorf("%v runs, which this machine lacks", active)
	}
}
