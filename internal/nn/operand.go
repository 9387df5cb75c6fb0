package nn

import "shira/internal/kernel"

// operand is an activation as the right side of products.
type operand struct {
	x      kernel.Tensor
	halves *kernel.Halves // x in bfloat16, or nil
	right  *kernel.Right  // x for mulSerial, which is in float32 where this is not nil
}

// operandIn is operand with the given memory.
func (m *shared) operandIn(h *kernel.Halves, w *Weight, x kernel.Tensor) operand {
	if w.Half == nil {
		return operand{x: x}
	}
	h.Set(x)
	return operand{x: x, halves: h}
}

// operand prepares x for products with w and weights of the same type.
func (m *shared) operand(w *Weight, x kernel.Tensor) operand {
	if w.Half == nil {
		return operand{x: x}
	}
	return operand{x: x, halves: m.round(x)}
}

// band returns the operand's features [off, off+rows).
func (o operand) band(off, rows int) operand {
	if o.halves != nil {
		o.halves = o.halves.Band(off, rows)
	}
	return operand{x: o.x.Band(off, rows), halves: o.halves}
}

// mul computes y = W·x, or Wᵀ·x with trans, or adds that to y with acc.
func (o operand) mul(w *Weight, trans bool, y kernel.Tensor, acc bool) {
	if o.halves != nil {
		kernel.MatMulHalf(w.Half, trans, o.halves, y, acc)
		return
	}
	kernel.MatMul(w.Data, trans, o.x, y, acc)
}

// mulSerial computes rows of y = W·x, as many as y has, from row r on, in the calling goroutine.
func (o operand) mulSerial(w *Weight, r int, y kernel.Tensor) {
	from, to := r*w.In, (r+y.Rows)*w.In
	if o.right == nil {
		kernel.MatMulHalfSerial(w.Half[from:to], o.halves, y)
		return
	}
	kernel.MatMulSerial(w.Data[from:to], o.right, y)
}
