package adapter

import (
	"fmt"

	"shira/internal/fault"
)

// PEFT's only mask of its own is our rand. It takes masks of other names from the file.
const peftRandom = "random"

func peftMask(mask string) string {
	switch mask {
	case "rand":
		return peftRandom
	case "":
		return "custom"
	}
	return mask
}

func decodeSHiRA(o object, c *Config) error {
	var err error
	o.get("r", &c.R, &err)
	o.get("mask_type", &c.Mask, &err)
	o.get("random_seed", &c.Seed, &err)
	if err != nil {
		return fault.Wrap(fault.Malformed, "", err, "wrong type")
	}
	if c.Mask == peftRandom {
		c.Mask = "rand"
	}
	return nil
}

func checkSHiRA(c *Config) error {
	switch {
	case c.R < 0:
		return fmt.Errorf("r is %d", c.R)
	case c.Density < 0 || c.Density > 1:
		return fmt.Errorf("density is %v", c.Density)
	}
	return nil
}

func encodeSHiRA(a *Adapter, keys map[string]any) {
	keys["random_seed"] = nil
	if a.Config.Mask == "rand" {
		keys["random_seed"] = a.Config.Seed
	}
	keys["init_weights"], keys["mask_type"], keys["r"] = true, peftMask(a.Config.Mask), peftRank(a)
}

func differSHiRA(file *Config, a *Adapter, p *problems) {
	if want := peftRank(a); file.R != want {
		p.Add("r is %d, but by the safetensors file it is %d", file.R, want)
	}
	if got, want := peftMask(file.Mask), peftMask(a.Config.Mask); got != want {
		p.Add("mask_type is %s, but by the safetensors file it is %s", fault.Quote(got), fault.Quote(want))
	}
}

// peftRank returns the r for which PEFT expects the adapter's sizes, K = r·(out+in) for every delta. Where there is none,
// since the budget is a density, it returns the nearest for the first delta; PEFT then refuses the adapter for its sizes.
func peftRank(a *Adapter) int {
	if a.Config.R > 0 {
		return a.Config.R
	}
	for _, d := range a.sorted() {
		_, whole := d.(*Whole)
		if out, in := d.Shape(); out != 0 && !whole {
			return max(1, (d.Parameters()+(out+in)/2)/(out+in))
		}
	}
	return 1
}
