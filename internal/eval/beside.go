package eval

import (
	"shira/internal/adapter"
	"shira/internal/nn"
)

// Beside returns what a delta with a gate computes beside its weight, at the given strength. The values are the delta's own.
func Beside(f *adapter.FouRA, strength float32) *nn.LowRank {
	l := &nn.LowRank{R: f.R, Scale: strength * f.Scale, Basis: f.Basis}
	l.A.Value, l.B.Value = f.A, f.B
	if g := f.Gate; g != nil {
		l.Gate = &nn.Gate{Hidden: g.Hidden, Temperature: g.Temperature, Hard: g.Hard, Mean: g.Mean}
		l.Gate.W1.Value, l.Gate.B1.Value = g.W1, g.B1
		l.Gate.W2.Value, l.Gate.B2.Value, l.Gate.Threshold.Value = g.W2, g.B2, g.Threshold
	}
	return l
}
