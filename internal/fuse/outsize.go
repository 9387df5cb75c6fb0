package fuse

import (
	"math"

	"shira/internal/checkpoint"
)

// Outsize is a weight whose merged change is so much larger than the weight itself that little of the base is left in the output:
// most likely an adapter's weight is mistaken.
type Outsize struct {
	Name  string  `json:"name"`
	Ratio float64 `json:"ratio"` // root mean square of the entries that are changed by that of the base's; at least outsizeRatio
}

const (
	// outsizeRatio is far beyond what training gives, also of few entries.
	outsizeRatio = 100

	// outsizeSample is how much of each weight is looked at: its first bytes, at least one number of any type.
	outsizeSample = 64 << 10
)

// outsizes returns the weights of outsize change, in the order of the model's data.
func (j *job) outsizes() ([]Outsize, error) {
	list := []Outsize{}
	buf, values := make([]byte, outsizeSample), make([]float32, outsizeSample)
	for _, t := range j.tensors {
		if t.stats.Entries == 0 {
			continue
		}
		part := buf[:min(t.Size(), outsizeSample)]
		base := values[:len(part)/t.DType.Size()]
		if err := t.ReadAt(part, 0); err != nil {
			return nil, err
		}
		if err := checkpoint.DecodeFloat32(base, t.DType, part); err != nil {
			return nil, err
		}
		squares := 0.0
		for _, v := range base {
			squares += float64(v) * float64(v)
		}
		// A weight of zeros says nothing of how large its changes may be.
		ratio := math.Sqrt(t.stats.Squares/float64(t.stats.Entries)) / math.Sqrt(squares/float64(len(base)))
		if squares > 0 && ratio >= outsizeRatio {
			list = append(list, Outsize{t.Name, math.Min(ratio, math.MaxFloat64)})
		}
	}
	return list, nil
}
