package mask

import "math"

// BudgetR returns the entries that rank r pays for in an out×in weight, r·(out+in): what LoRA of that rank would train,
// and the only budgets that PEFT's SHiRA can load. Where that is more than an int holds it is the largest, which
// [Strategy.Select] refuses as it does any budget beyond the weight.
func BudgetR(r, out, in int) int {
	if r > math.MaxInt/(out+in) {
		return math.MaxInt
	}
	return r * (out + in)
}

// BudgetDensity returns the entries of the share d, in (0, 1], of an out×in weight, to the nearest whole number and at
// least one.
func BudgetDensity(d float64, out, in int) int {
	return max(1, int(math.Round(d*float64(out)*float64(in))))
}
