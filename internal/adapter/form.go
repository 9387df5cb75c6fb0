package adapter

import (
	"math"
	"slices"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// Form is how an adapter lies in its file. The zero value is that of a trained one: values in float32, nothing packed.
type Form struct {
	DType   checkpoint.DType // of the values: F16, BF16 or, as for zero, F32
	Compact bool             // the entries of sparse deltas are packed; see gaps.go
}

// Type returns the type of the values.
func (f Form) Type() checkpoint.DType {
	if f.DType == 0 {
		return checkpoint.F32
	}
	return f.DType
}

// float returns values as a tensor of the form's type.
func (f Form) float(name string, shape []int, values []float32) checkpoint.Entry {
	return checkpoint.Float32Entry(name, f.Type(), shape, values)
}

// formOf returns the form of a file's tensors: the 16-bit type that all their floats share, or float32.
func formOf(tensors []checkpoint.Tensor) Form {
	var d checkpoint.DType
	for _, t := range tensors {
		if t.DType.IsFloat() && d != 0 && t.DType != d {
			return Form{}
		}
		if t.DType.IsFloat() {
			d = t.DType
		}
	}
	if d.Size() != 2 {
		return Form{}
	}
	return Form{DType: d}
}

// overflow returns the least absolute value that is rounded to infinity.
func (f Form) overflow() float64 {
	switch f.DType {
	case checkpoint.F16:
		return 65520
	case checkpoint.BF16:
		return 0x1.ffp127
	}
	return math.Inf(1)
}

// holds finds a value of d that is not finite in the form.
func (f Form) holds(d Delta) error {
	limit := f.overflow()
	for _, values := range d.values() {
		for _, v := range values {
			if math.Abs(float64(v)) >= limit {
				return fault.New(fault.Numerical, "", "the value %v does not fit in %s", v, f.DType)
			}
		}
	}
	return nil
}

// Round rounds all trained values to a float type, in which the adapter is then saved. It returns the norm of what that
// changed over the norm of the values. Values beyond the type's range are a Numerical error, before anything changes. It
// comes before any other use of the deltas.
func (a *Adapter) Round(dtype checkpoint.DType) (relative float64, err error) {
	form := Form{DType: dtype, Compact: a.Form.Compact}
	for _, d := range a.Deltas {
		if err := form.holds(d); err != nil {
			return 0, fault.Wrap(fault.Numerical, a.Path, err, "%s", fault.Quote(d.Module()))
		}
	}
	var lost, all float64
	for _, d := range a.Deltas {
		for _, values := range d.values() {
			before, stored := slices.Clone(values), make([]byte, dtype.Size()*len(values))
			if err := checkpoint.EncodeFloat32(stored, dtype, values); err != nil {
				return 0, err
			}
			if err := checkpoint.DecodeFloat32(values, dtype, stored); err != nil {
				return 0, err
			}
			for i, v := range before {
				lost += float64(v-values[i]) * float64(v-values[i])
				all += float64(v) * float64(v)
			}
		}
	}
	a.Form = form
	return math.Sqrt(lost / max(all, math.SmallestNonzeroFloat64)), nil
}
