// Package adapter holds what a fine-tuning run leaves behind: for each adapted module of a base model, the change of its
// weight. It reads and writes adapters as PEFT does, and checks that one fits a base.
//
// An adapter is one safetensors file that stands alone, or the same file in a PEFT directory beside adapter_config.json.
// To add a method, write its file and add its line to the table in method.go.
package adapter

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"shira/internal/checkpoint"
)

// Adapter is a trained adapter, whole in memory.
type Adapter struct {
	Path   string // where it was loaded from; "" for one that was made here
	Config Config
	Deltas []Delta // at most one for each module; sorted by module when loaded
	Format string  // of the file it was loaded from, for people, e.g. "PEFT" or "MLX"

	Form Form // in which it was loaded, and is saved

	// Extras names tensors of the file that change no weight, such as trained tokens. They keep the adapter from being
	// applied or saved.
	Extras []string

	layout *layout // of a file of another program, whose names of modules may not be the base's

	file  *checkpoint.File // of an adapter that was opened; nil otherwise
	owner *Method          // of what the file holds, where its form is that of the method
}

// Delta is the change ΔW of one module's weight W. Weights have shape (out, in), row-major. ΔW may depend on W, as DoRA's
// does, but each of its rows on that row of W alone. Strengths are linear: a model with adapters at strengths αᵢ has the
// weight W + Σ αᵢ·ΔWᵢ, so that strength 0 is the base, whatever the method.
type Delta interface {
	// Module returns the full name of the module, e.g. "model.layers.0.self_attn.q_proj".
	Module() string

	// Shape returns the shape of the module's weight: (0, 0) when the file does not say it, as PEFT's do not for SHiRA,
	// until [Adapter.Check] has found it in the base.
	Shape() (out, in int)

	// Parameters returns the number of trained values.
	Parameters() int

	// Norm returns the Frobenius norm of ΔW or, where that depends on the base, of the change of the direction alone;
	// 0 where nothing is known of it without the base.
	Norm() float64

	// Rows writes rows [first, first+n) of ΔW to dst; base has those rows of W. Both are n×in and must not overlap. The
	// shape must be known. A row's values do not depend on first and n. Calls may run beside each other.
	Rows(dst, base []float32, first, n int)

	// belongs says why d cannot be a delta of an adapter with configuration c, nil when it can.
	belongs(c *Config) error

	// validate finds entries that cannot be applied to any weight. A value that is not finite is a Numerical error.
	validate() error

	// tensors returns what goes into a file. The names say the method.
	tensors(f Form) []checkpoint.Entry

	// values returns all trained values, part by part, in the delta's own memory.
	values() [][]float32

	// digest feeds everything that determines the delta to h.
	digest(h hash.Hash)

	// fit says how the delta disagrees with a weight of shape (out, in), "" when it fits; it then has that shape.
	fit(out, in int, c *Config) string
}

// Entries is a delta that is zero but for some entries, which do not depend on the base.
type Entries interface {
	Delta

	// Row returns the entries of one row: columns ascending, and a value for each. The slices belong to the delta.
	Row(row int) (cols []int32, values []float32)
}

// Parameters returns the number of trained values of all deltas.
func (a *Adapter) Parameters() int64 {
	n := int64(0)
	for _, d := range a.Deltas {
		n += int64(d.Parameters())
	}
	return n
}

// Notice returns what a user of the adapter should know, in one line, or "".
func (a *Adapter) Notice() string {
	if a.Config.BaseFingerprint != "" {
		return ""
	}
	return a.Path + " does not say which base it was trained on; only shapes are checked"
}

// Digest identifies the adapter by what it does to a base, whatever file it came from: the sha256, in hexadecimal, over
// its method and deltas.
func (a *Adapter) Digest() string {
	h := sha256.New()
	h.Write([]byte(a.Config.Method))
	for _, d := range a.sorted() {
		d.digest(h)
		a.Release(d)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sorted returns the deltas in the order of files.
func (a *Adapter) sorted() []Delta {
	return slices.SortedFunc(slices.Values(a.Deltas), func(x, y Delta) int { return strings.Compare(x.Module(), y.Module()) })
}
