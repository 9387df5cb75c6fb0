package mask

// Axis says which lines of a weight the mask struct takes.
type Axis string

// The axes.
const (
	Rows Axis = "row" // the zero Axis stands for this one
	Cols Axis = "col"
	Both Axis = "both"
)

// Axes are all axes.
var Axes = []Axis{Rows, Cols, Both}

// structure visits the diagonal, wrapped around the shorter side, and then every f-th row, column or both (SHiRA, section
// 3.1): a pattern of high rank that is very sparse, and one of rank 1. f is such that the budget ends with the last of
// those lines, which may be partial. What an offset leads to is the same pattern moved on by one, for budgets of one size.
func structure(w *walk) {
	lines := w.lines()
	stepRow, stepCol := max(1, w.Out/lines), max(1, w.In/lines)
	for shift := range max(stepRow, stepCol) {
		if !w.diagonal(shift) {
			return
		}
		for i := range lines {
			if w.Axis != Cols && !w.line(shift+i*stepRow, w.Out, w.row) || w.Axis != Rows && w.Axis != "" && !w.line(shift+i*stepCol, w.In, w.col) {
				return
			}
		}
	}
	// The steps may leave lines at the end of the weight.
	for i := int64(0); w.visit(i); i++ {
	}
}

// diagonal visits the entries (i mod out, (i + shift) mod in).
func (w *walk) diagonal(shift int) bool {
	for i := range max(w.Out, w.In) {
		if !w.visit(int64(i%w.Out)*int64(w.In) + int64((i+shift)%w.In)) {
			return false
		}
	}
	return true
}

// line visits line i of n, where there is one.
func (w *walk) line(i, n int, visit func(int) bool) bool { return i >= n || visit(i) }

func (w *walk) row(i int) bool {
	for j := range w.In {
		if !w.visit(int64(i)*int64(w.In) + int64(j)) {
			return false
		}
	}
	return true
}

func (w *walk) col(j int) bool {
	for i := range w.Out {
		if !w.visit(int64(i)*int64(w.In) + int64(j)) {
			return false
		}
	}
	return true
}

// lines returns the least number of lines, of each kind that is wanted, that hold K entries with the diagonal.
func (w *walk) lines() int {
	rows, cols := 1, 1
	if w.Axis == Cols {
		rows = 0
	}
	if w.Axis != Cols && w.Axis != Both {
		cols = 0
	}
	diagonal := max(w.Out, w.In)
	// A row has that many entries of the diagonal at most.
	perRow, perCol := (diagonal+w.Out-1)/w.Out, (diagonal+w.In-1)/w.In
	for n := 1; ; n++ {
		added := rows*n*(w.In-perRow) + cols*n*(w.Out-perCol) - rows*cols*n*n
		if diagonal+added >= w.K || n >= max(w.Out, w.In) {
			return n
		}
	}
}
