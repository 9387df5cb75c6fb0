package adapter

import (
	"fmt"
	"hash"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// ShiraDora is the delta of SHiRA-DoRA's second form: a sparse change S of the direction, and a magnitude m. With V = W + S
// it is m⊙V/‖V‖ − W, norms being those of rows. It changes every entry of the weight.
type ShiraDora struct {
	S         *Sparse
	Magnitude []float32 // (out)
}

// Module returns the full name of the module.
func (d *ShiraDora) Module() string { return d.S.Name }

// Shape returns the shape of the module's weight.
func (d *ShiraDora) Shape() (out, in int) { return d.S.Out, d.S.In }

// Parameters returns the number of trained values.
func (d *ShiraDora) Parameters() int { return d.S.Parameters() + len(d.Magnitude) }

// Norm returns that of S.
func (d *ShiraDora) Norm() float64 { return d.S.Norm() }

// Rows computes rows of ΔW, with the same bits everywhere.
func (d *ShiraDora) Rows(dst, base []float32, first, n int) {
	d.S.Rows(dst, base, first, n)
	in := d.S.In
	for r := range n {
		renormalize(dst[r*in:(r+1)*in], base[r*in:(r+1)*in], d.Magnitude[first+r])
	}
}

func (d *ShiraDora) values() [][]float32 { return [][]float32{d.S.whole().Values, d.Magnitude} }

func (d *ShiraDora) belongs(c *Config) error { return c.wants("shira-dora") }

func (d *ShiraDora) digest(h hash.Hash) {
	d.S.digest(h)
	fmt.Fprintf(h, "\x00%d\x00", len(d.Magnitude))
	digestFloats(h, d.Magnitude)
}

func (d *ShiraDora) fit(out, in int, c *Config) string {
	if msg := d.S.fit(out, in, c); msg != "" {
		return msg
	}
	if len(d.Magnitude) != out {
		return fmt.Sprintf("has a magnitude of %d values, but the base's weight has %d rows", len(d.Magnitude), out)
	}
	return ""
}

func (d *ShiraDora) validate() error {
	if err := d.S.validate(); err != nil {
		return err
	}
	if d.S.Out != 0 && len(d.Magnitude) != d.S.Out {
		return fault.New(fault.Incompatible, "", "the magnitude has %d values: want %d", len(d.Magnitude), d.S.Out)
	}
	return finite("the magnitude", d.Magnitude)
}

// tensors returns those of the entries, and the magnitude.
func (d *ShiraDora) tensors(f Form) []checkpoint.Entry {
	name := keyPrefix + d.S.Name + "." + sparseMagnitude
	return append(d.S.tensors(f), f.float(name, []int{len(d.Magnitude)}, d.Magnitude))
}
