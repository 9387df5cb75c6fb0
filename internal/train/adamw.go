package train

import (
	"errors"
	"math"

	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/kernel"
	"shira/internal/nn"
)

// adamW is the optimizer of Loshchilov & Hutter (2019, algorithm 2) over the trained vectors, with PyTorch's order of
// operations. Its state is float32, keyed by the parameter.
type adamW struct {
	beta1, beta2, eps, decay float64

	step  int
	state []moments // in the order of the parameters
}

type moments struct {
	param *nn.Param
	m, v  []float32
	group
}

// group is what a parameter has of its own: the factor on the learning rate, and whether it decays.
type group struct {
	rate  float64
	decay bool
}

func newAdamW(params []*nn.Param, beta1, beta2, eps, decay float64, groupOf func(*nn.Param) group) *adamW {
	o := &adamW{beta1: beta1, beta2: beta2, eps: eps, decay: decay}
	for _, p := range params {
		n := len(p.Value)
		o.state = append(o.state, moments{p, make([]float32, n), make([]float32, n), groupOf(p)})
	}
	return o
}

// span is how many values one worker updates at a time.
const span = 1 << 14

// update takes one step at learning rate lr with gradients multiplied by scale.
func (o *adamW) update(lr, scale float64) {
	o.step++
	correct1 := 1 - math.Pow(o.beta1, float64(o.step))
	correct2 := math.Sqrt(1 - math.Pow(o.beta2, float64(o.step)))
	for _, st := range o.state {
		rate := lr * st.rate
		c := kernel.AdamW{
			Scale: float32(scale), OneLessBeta1: float32(1 - o.beta1), Beta2: float32(o.beta2), OneLessBeta2: float32(1 - o.beta2),
			Rate: float32(rate / correct1), Root: float32(1 / correct2), Epsilon: float32(o.eps), Keep: 1,
		}
		if st.decay {
			c.Keep = float32(1 - rate*o.decay)
		}
		value, grad := st.param.Value, st.param.Grad
		kernel.Parallel((len(value)+span-1)/span, func(part int) {
			lo, hi := part*span, min((part+1)*span, len(value))
			c.Step(value[lo:hi], grad[lo:hi], st.m[lo:hi], st.v[lo:hi])
		})
	}
}

// entries are the values and moments as a file holds them.
func (o *adamW) entries() []checkpoint.Entry {
	var list []checkpoint.Entry
	for _, st := range o.state {
		shape := []int{len(st.m)}
		list = append(list,
			checkpoint.Float32Entry(st.param.Name+valueSuffix, checkpoint.F32, shape, st.param.Value),
			checkpoint.Float32Entry(st.param.Name+firstSuffix, checkpoint.F32, shape, st.m),
			checkpoint.Float32Entry(st.param.Name+secondSuffix, checkpoint.F32, shape, st.v))
	}
	return list
}

// restore takes values and moments from a file that holds the entries after so many steps.
func (o *adamW) restore(f *checkpoint.File, step int) error {
	take := func(name string, into []float32) error {
		t, ok := f.Lookup(name)
		if !ok || t.DType != checkpoint.F32 || t.Len() != len(into) {
			return fault.New(fault.Malformed, f.Path(), "no tensor %s of %d numbers in F32", fault.Quote(name), len(into))
		}
		_, err := t.Float32s(into[:0])
		return err
	}
	for _, st := range o.state {
		err := errors.Join(take(st.param.Name+valueSuffix, st.param.Value), take(st.param.Name+firstSuffix, st.m),
			take(st.param.Name+secondSuffix, st.v))
		if err != nil {
			return err
		}
	}
	o.step = step
	return nil
}

// gradNorm returns the Euclidean norm of all gradients, summed in a fixed order.
func gradNorm(params []*nn.Param) float64 {
	var sum float64
	for _, p := range params {
		parts := make([]float64, (len(p.Grad)+span-1)/span)
		kernel.Parallel(len(parts), func(i int) {
			var even, odd float64 // two chains of sums, neither of which waits for the other
			part := p.Grad[i*span : min((i+1)*span, len(p.Grad))]
			for len(part) > 1 {
				even += float64(part[0]) * float64(part[0])
				odd += float64(part[1]) * float64(part[1])
				part = part[2:]
			}
			if len(part) > 0 {
				even += float64(part[0]) * float64(part[0])
			}
			parts[i] = even + odd
		})
		for _, v := range parts {
			sum += v
		}
	}
	return math.Sqrt(sum)
}

// clipScale returns the factor that limits the norm to most, 1 where it is not above it or most is 0.
func clipScale(norm, most float64) float64 {
	if most <= 0 || norm <= most {
		return 1
	}
	return most / (norm + 1e-6)
}
