package nn

import (
	"math"
	"slices"
	"testing"

	"shira/internal/kernel"
)

// TestNoise holds the noise to NEFTune's bound in each sequence, and wants the same from the same run's number alone.
func TestNoise(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	const features = 48
	lengths := []int{40, 7, 20} // 67 tokens in 3 blocks of 32
	draw := func(threads int, seed, run uint64) kernel.Tensor {
		kernel.SetThreads(threads)
		x := kernel.NewTensor(make([]float32, 3*features*kernel.Block), features)
		Noise{Alpha: 5, Seed: seed}.add(x, lengths, run)
		return x
	}
	x := draw(1, 1, 9)
	at := 0
	for _, l := range lengths {
		bound, largest, sum, squares := 5/math.Sqrt(float64(l)*features), 0.0, 0.0, 0.0
		for p := at; p < at+l; p++ {
			for f := range features {
				v := float64(x.Blk(p / kernel.Block)[f*kernel.Block+p%kernel.Block])
				largest, sum, squares = math.Max(largest, math.Abs(v)), sum+v, squares+v*v
			}
		}
		n := float64(l * features)
		if largest > bound*(1+1e-6) || largest < 0.95*bound || math.Abs(sum/n) > 4*bound/math.Sqrt(3*n) || math.Abs(squares/n/(bound*bound/3)-1) > 0.2 {
			t.Errorf("length %d: largest %v of %v, mean %v, variance %v, want %v", l, largest, bound, sum/n, squares/n, bound*bound/3)
		}
		at += l
	}
	for i, v := range x.Blk(2) {
		if v != 0 && i%kernel.Block >= 67-64 {
			t.Fatal("noise on padding")
		}
	}
	if !slices.Equal(draw(3, 1, 9).Data, x.Data) {
		t.Error("the noise depends on the threads")
	}
	for _, other := range []kernel.Tensor{draw(1, 2, 9), draw(1, 1, 10)} {
		if slices.Equal(other.Data, x.Data) {
			t.Error("another seed or run has the same noise")
		}
	}
}
