package adapter

import (
	"maps"
	"slices"
	"strings"

	"shira/internal/fault"
)

// kohyaComponents says which model of a pipeline a prefix of kohya's names is for, as diffusers calls it.
var kohyaComponents = map[string]string{
	"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2",
	"lora_te3_": "text_encoder_3", "lora_transformer_": "transformer",
}

// component returns the model of a pipeline that a module of another program's adapter is in, "" when its name does not say,
// and the name without it, where that is one of the model's.
func component(module string) (model, name string) {
	for prefix, model := range kohyaComponents {
		if strings.HasPrefix(module, prefix) {
			return model, module
		}
	}
	if first, rest, ok := strings.Cut(module, "."); ok && slices.Contains(components, first) {
		return first, rest
	}
	return "", module
}

// Component keeps the deltas of one model of a pipeline, with the names that their modules have in it. For "" there must not
// be deltas of several. Only adapters of other programs have more than one.
func (a *Adapter) Component(model string) error {
	if a.layout == nil {
		if model != "" {
			return fault.New(fault.Incompatible, a.Path, "is for one model, not for %s and others", fault.Quote(model))
		}
		return nil
	}
	found := map[string]bool{}
	for _, d := range a.Deltas {
		of, _ := component(d.Module())
		found[of] = true
	}
	models := strings.Join(slices.Sorted(maps.Keys(found)), ", ")
	switch {
	case model == "" && len(found) > 1:
		return fault.New(fault.Incompatible, a.Path, "is for several models: %s", models).WithHint("choose one with --component")
	case model != "" && !found[model]:
		return fault.New(fault.Incompatible, a.Path, "has nothing for %s, only for %s", fault.Quote(model), models)
	}
	a.Deltas = slices.DeleteFunc(a.Deltas, func(d Delta) bool {
		of, _ := component(d.Module())
		return model != "" && of != model
	})
	for _, d := range a.Deltas {
		l := d.(*LowRank)
		_, l.Name = component(l.Name)
	}
	a.describe()
	return nil
}

// PEFTNotice says why PEFT will not load the adapter as it is saved, "" when it will.
func (a *Adapter) PEFTNotice() string {
	switch a.Config.Method {
	case "shira-dora", "foura":
		return "PEFT has no method " + a.Config.Method
	case "shira":
		r := peftRank(a)
		for _, d := range a.Deltas {
			s, ok := d.(*Sparse)
			if ok && s.Out != 0 && s.Parameters() != r*(s.Out+s.In) {
				return "PEFT loads SHiRA adapters only with r·(out+in) entries in each weight, which these are not"
			}
		}
	}
	return ""
}
