package nn

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// OperatorTime is what one kind of operator has taken in all runs of a machine.
type OperatorTime struct {
	Name    string  `json:"name"`
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	// Flops are the floating-point operations of matrix products that the model's arithmetic takes, two for a multiply-add.
	// What is computed a second time, for want of memory, does not count.
	Flops float64 `json:"flops"`
}

// cost is what an operator has taken so far.
type cost struct {
	calls int
	spent time.Duration
	flops float64
}

func (c *cost) add(start time.Time, flops func() float64) {
	c.calls++
	c.spent += time.Since(start)
	if flops != nil {
		c.flops += flops()
	}
}

// account returns what adds the time from start on to the operator's cost, without that of what was computed again meanwhile.
func (o *op) account(start time.Time) func() {
	if o.again == nil {
		return func() { o.cost.add(start, o.flops) }
	}
	before := o.again.spent
	return func() {
		o.cost.add(start, o.flops)
		o.cost.spent -= o.again.spent - before
	}
}

// timed returns f, which computes a value again, with its time added to that of all such. f may call others.
func (g *Graph) timed(f func() error) func() error {
	return func() error {
		if g.remaking {
			return f()
		}
		g.remaking = true
		defer func(start time.Time) {
			g.remaking = false
			g.again.add(start, nil)
		}(time.Now())
		return f()
	}
}

// layerNumber is the part of a module's name that tells layers of one kind apart.
var layerNumber = regexp.MustCompile(`\S*\blayers\.\d+\.`)

// Profile returns the time of all operators by kind, the longest first. What the backward pass computed once more for want of
// memory is a kind of its own.
func (m *Machine) Profile() []OperatorTime {
	kinds := map[string]*OperatorTime{}
	for _, n := range m.g.graph.AllNodes() {
		o, ok := n.Op().(*op)
		if !ok || strings.HasPrefix(o.name, gradPrefix) {
			continue
		}
		name := layerNumber.ReplaceAllString(o.name, "")
		k := kinds[name]
		if k == nil {
			k = &OperatorTime{Name: name}
			kinds[name] = k
		}
		k.Calls += o.cost.calls
		k.Seconds += o.cost.spent.Seconds()
		k.Flops += o.cost.flops
	}
	var all []OperatorTime
	if again := m.g.again; again.calls > 0 {
		all = append(all, OperatorTime{Name: "values computed again", Calls: again.calls, Seconds: again.spent.Seconds()})
	}
	for _, k := range kinds {
		all = append(all, *k)
	}
	slices.SortFunc(all, func(a, b OperatorTime) int {
		return cmp.Or(-cmp.Compare(a.Seconds, b.Seconds), strings.Compare(a.Name, b.Name))
	})
	return all
}

// ResetProfile begins a new profile.
func (m *Machine) ResetProfile() {
	m.g.again = cost{}
	for _, n := range m.g.graph.AllNodes() {
		if o, ok := n.Op().(*op); ok {
			o.cost = cost{}
		}
	}
}

// productFlops are those of a matrix of n entries times the batch's tokens.
func (g *Graph) productFlops(n int) float64 { return 2 * float64(n) * float64(len(g.batch.IDs)) }
