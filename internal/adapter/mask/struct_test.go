package mask

import (
	"slices"
	"testing"
)

// TestStructure wants the wrapped diagonal, whole lines at even distances, and at most one partial line.
func TestStructure(t *testing.T) {
	for _, c := range []struct{ out, in, k int }{{16, 16, 64}, {16, 40, 160}, {40, 16, 160}, {64, 172, 2 * (64 + 172)}, {172, 64, 944}} {
		for _, axis := range Axes {
			r := Request{Name: "w", Out: c.out, In: c.in, K: c.k, Axis: axis}
			s, err := Lookup("struct")
			if err != nil {
				t.Fatal(err)
			}
			picked := mustPick(t, "struct", s.Select, r)
			has := func(i, j int) bool {
				_, ok := slices.BinarySearch(picked, int64(i*c.in+j))
				return ok
			}
			for i := range max(c.out, c.in) {
				if !has(i%c.out, i%c.in) {
					t.Errorf("%v %s: lacks [%d, %d] of the diagonal", c, axis, i%c.out, i%c.in)
				}
			}
			full := func(n, m int, has func(i, j int) bool) (lines []int) {
				for i := range n {
					whole := true
					for j := range m {
						whole = whole && has(i, j)
					}
					if whole {
						lines = append(lines, i)
					}
				}
				return lines
			}
			rows := full(c.out, c.in, has)
			cols := full(c.in, c.out, func(j, i int) bool { return has(i, j) })
			if (axis != Cols) != (len(rows) > 0) || (axis != Rows) != (len(cols) > 0) {
				t.Errorf("%v %s: whole rows %v, columns %v", c, axis, rows, cols)
			}
			for _, lines := range [][]int{rows, cols} {
				for i := 2; i < len(lines); i++ {
					if lines[i]-lines[i-1] != lines[1]-lines[0] {
						t.Errorf("%v %s: lines %v are not at even distances", c, axis, lines)
					}
				}
			}
			inLines := 0
			for _, p := range picked {
				i, j := int(p)/c.in, int(p)%c.in
				if slices.Contains(rows, i) || slices.Contains(cols, j) || i == j%c.out || j == i%c.in {
					inLines++
				}
			}
			if rest := c.k - inLines; rest >= max(c.out, c.in) {
				t.Errorf("%v %s: %d entries are in no whole line", c, axis, rest)
			}
		}
	}
}

func TestStructureSmall(t *testing.T) {
	s, err := Lookup("struct")
	if err != nil {
		t.Fatal(err)
	}
	// The diagonal, then row 0 and a part of row 2.
	got := mustPick(t, "struct", s.Select, Request{Name: "w", Out: 4, In: 4, K: 8})
	if want := []int64{0, 1, 2, 3, 5, 8, 10, 15}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// A budget below the diagonal takes a part of that.
	got = mustPick(t, "struct", s.Select, Request{Name: "w", Out: 4, In: 4, K: 3})
	if want := []int64{0, 5, 10}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
