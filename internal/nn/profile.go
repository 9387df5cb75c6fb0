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

// layerNumber is the part of a module's name that tells layers of one kind apart.
var layerNumber = regexp.MustCompile(`\S*\blayers\.\d+\.`)

// Profile returns the time of all operators by kind, the longest first.
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
	for _, n := range m.g.graph.AllNodes() {
		if o, ok := n.Op().(*op); ok {
			o.cost = cost{}
		}
	}
}

// productFlops are those of a matrix of n entries times the batch's tokens.
func (g *Graph) productFlops(n int) float64 { return 2 * float64(n) * float64(len(g.batch.IDs)) }
