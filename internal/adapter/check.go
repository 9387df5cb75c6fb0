package adapter

import (
	"strings"
	"sync"

	"shira/internal/checkpoint"
	"shira/internal/fault"
)

// weightSuffix follows a module's name in the name of its weight.
const weightSuffix = ".weight"

// WeightName returns the name of the base's tensor that d changes.
func WeightName(d Delta) string { return d.Module() + weightSuffix }

// Check returns one Incompatible error that lists every way in which the adapter does not fit the base m, or nil. Deltas
// whose file did not say their shape have that of the base afterwards.
//
// The base's fingerprint is compared when the adapter has one, unless force is set; force skips nothing else.
func (a *Adapter) Check(m *checkpoint.Model, force bool) error {
	return CheckAll(m, []*Adapter{a}, force)
}

// CheckAll is Check for several adapters, with one error for all of them. It reads the base at most once.
//
// Adapters that depend on the input do not fit, as they are no change of the base's weights.
func CheckAll(m *checkpoint.Model, adapters []*Adapter, force bool) error {
	return checkAll(m, m.Fingerprint, adapters, force, false)
}

// CheckWith is CheckAll for a base whose fingerprint is not that of m's weights, since these hold another adapter.
func CheckWith(m *checkpoint.Model, fingerprint func() (string, error), adapters []*Adapter, force bool) error {
	return checkAll(m, fingerprint, adapters, force, false)
}

// CheckAllBeside is CheckAll for use where what depends on the input is computed beside the weights.
func CheckAllBeside(m *checkpoint.Model, adapters []*Adapter, force bool) error {
	return checkAll(m, m.Fingerprint, adapters, force, true)
}

// CheckBase is the part of CheckAll that needs all of the base's bytes: an Incompatible error where an adapter names another
// fingerprint than that of m, which is asked for only if one does.
func CheckBase(m *checkpoint.Model, adapters []*Adapter, fingerprint func() (string, error)) error {
	c := checker{m: m, fingerprint: fingerprint}
	for _, a := range adapters {
		c.base(a, prefix(a, adapters))
	}
	return c.result(adapters)
}

func checkAll(m *checkpoint.Model, fingerprint func() (string, error), adapters []*Adapter, force, beside bool) error {
	c := checker{m: m, force: force, tied: tiedWeights(m), fingerprint: sync.OnceValues(fingerprint)}
	for _, a := range adapters {
		where := prefix(a, adapters)
		c.base(a, where)
		if a.InputDependent() && !beside {
			c.Add("%sits gate depends on the input, so that it is no change of the weights", where)
			c.Suggest("`shira freeze-gate %s --model BASE --data FILE -o OUT` fixes the gate to its mean over some data", a.Path)
		}
		a.resolve(m, &c.problems, where)
		for _, d := range a.Deltas {
			c.delta(a, d, where+fault.Quote(d.Module()))
		}
	}
	return c.result(adapters)
}

// prefix says of which of several adapters a problem is.
func prefix(a *Adapter, adapters []*Adapter) string {
	if len(adapters) > 1 {
		return a.Path + ": "
	}
	return ""
}

// checker collects what keeps adapters from fitting one base.
type checker struct {
	problems
	m           *checkpoint.Model
	force       bool
	tied        tied
	fingerprint func() (string, error) // of m
}

// result returns all problems as one error.
func (c *checker) result(adapters []*Adapter) error {
	path, what := basePath(c.m), "the adapters do not fit it"
	if len(adapters) == 1 {
		path, what = adapters[0].Path, "does not fit the base "+path
	}
	return c.err(path, what)
}

// base compares fingerprints.
func (c *checker) base(a *Adapter, where string) {
	want := a.Config.BaseFingerprint
	if c.force || want == "" {
		return
	}
	got, err := c.fingerprint()
	if err != nil {
		c.failed = err
		return
	}
	if got == want {
		return
	}
	c.Add("%swas trained on another base: its fingerprint is %s, this one's %s", where, fault.Quote(want), fault.Quote(got))
	digest := a.Digest()
	for _, f := range Fusions(c.m.Files()[0].Metadata()) {
		if f.Digest == digest {
			c.Suggest("the adapter is already fused into this base, with weight %v: give the base from before", f.Weight)
		}
	}
	c.Suggest("give the base that the adapter was trained on; --force applies it to this one all the same")
}

// delta compares one delta, called name in messages, with the weight it is for.
func (c *checker) delta(a *Adapter, d Delta, name string) {
	if c.tied.has(d.Module()) {
		c.Add("%s is tied: input embedding and output head are one weight, and the adapter would change both", name)
		c.Suggest("leave the embedding and the head out of target_modules")
		return
	}
	t, ok := c.m.Lookup(WeightName(d))
	if !ok {
		c.Add("%s: the base has no such weight", name)
		if similar := c.similar(d.Module()); similar != "" {
			c.Suggest("the base has %s instead", fault.Quote(similar))
		}
		return
	}
	switch {
	case !t.DType.IsFloat():
		c.Add("%s: the base's weight is %s: want F64, F32, F16 or BF16", name, t.DType)
	case len(t.Shape) != 2:
		c.Add("%s: the base's weight has shape %v: want (out, in)", name, t.Shape)
	default:
		if msg := d.fit(t.Shape[0], t.Shape[1], &a.Config); msg != "" {
			c.Add("%s %s", name, msg)
		}
	}
}

// similar returns a module of the base that differs from module only by what stands before it, such as "model.", and ""
// when there is none or more than one. It searches only for problems that will be spelled out.
func (c *checker) similar(module string) string {
	if c.Hinted() || c.Full() {
		return ""
	}
	found := ""
	for _, name := range c.m.Names() {
		candidate, ok := strings.CutSuffix(name, weightSuffix)
		if !ok || !strings.HasSuffix(candidate, "."+module) && !strings.HasSuffix(module, "."+candidate) {
			continue
		}
		if found != "" {
			return ""
		}
		found = candidate
	}
	return found
}

// basePath names m in messages: its file, or its directory when there are several.
func basePath(m *checkpoint.Model) string {
	if shards := m.Shards(); len(shards) == 1 {
		return shards[0]
	}
	return m.Dir()
}
