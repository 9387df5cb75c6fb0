package adapter

import "shira/internal/kernel"

// addRows is about how many values [AddTo] lets a delta compute at a time, in whole rows.
const addRows = 1 << 16

// AddTo adds strength·ΔW of d to sum; base is the module's whole out×in weight, which d may depend on. sum and base must
// not overlap. Product and sum are each rounded to float32, on every machine alike.
func AddTo(sum, base []float32, d Delta, strength float32) {
	out, in := d.Shape()
	if s, ok := d.(Entries); ok {
		for row := range out {
			cols, values := s.Row(row)
			for k, c := range cols {
				// The conversion keeps compilers from fusing product and sum, which some machines could and others not.
				sum[row*in+int(c)] += float32(strength * values[k])
			}
		}
		return
	}
	rows := min(max(1, addRows/in), out)
	kernel.Parallel((out+rows-1)/rows, func(i int) {
		first := i * rows
		n := min(rows, out-first)
		delta := make([]float32, n*in)
		d.Rows(delta, base[first*in:(first+n)*in], first, n)
		for k, v := range delta {
			sum[first*in+k] += float32(strength * v)
		}
	})
}
