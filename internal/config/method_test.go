package config

import (
	"slices"
	"testing"
)

// TestMethodKeys reads the keys of low-rank methods by the names that people know.
func TestMethodKeys(t *testing.T) {
	for text, right := range map[string]func(*Train) bool{
		"method: lora": func(c *Train) bool { return c.Rank() == 8 && c.Alpha() == 16 && c.LearningRate == 2e-4 },
		"adapter: lora\nlora_r: 4\nlora_alpha: 32\nlora_dropout: 0.05\nlora_target_linear: true": func(c *Train) bool {
			return c.Rank() == 4 && c.Alpha() == 32 && c.LoraDropout == 0.05 && slices.Equal(c.TargetModules, []string{AllLinear})
		},
		"finetuning_type: lora\nlora_rank: 4\nlora_target: all\nuse_rslora: true": func(c *Train) bool {
			return c.Method == "rslora" && c.Alpha() == 8 && c.TargetModules[0] == AllLinear
		},
		"method: lora\nuse_dora: true\nuse_rslora: true": func(c *Train) bool { return c.Method == "dora" && c.UseRSLoRA },
		"method: rslora\nuse_dora: true":                 func(c *Train) bool { return c.Method == "dora" && c.UseRSLoRA },
		"method: dora\nlayers_to_transform: [0, 2]":      func(c *Train) bool { return slices.Equal(c.LayersToTransform, []int{0, 2}) },
		"method: dora\nlayers_to_transform: 3":           func(c *Train) bool { return slices.Equal(c.LayersToTransform, []int{3}) },
		`target_modules: '.*\.(0|1)\.[a-z]{1,5}_proj'` + "\nmethod: lora": func(c *Train) bool {
			return len(c.TargetModules) == 1 && IsPattern(c.TargetModules[0])
		},
		"method: lora\nrank_pattern: {down_proj: 16, 'layers.0.*': 2}": func(c *Train) bool { return c.RankPattern["layers.0.*"] == 2 },
		"method: shira-dora\nr: 4\ndensity: 0.01":                      func(c *Train) bool { return c.Rank() == 4 && c.Density == 0.01 && c.UsesFactors() },
		"method: shira-dora\ndirection: sparse\nr: 4":                  func(c *Train) bool { return !c.UsesFactors() && c.UsesMask() },
		"method: foura\ngate_hidden: 0":                                func(c *Train) bool { return c.GateHidden != nil && *c.GateHidden == 0 },
		"method: foura\ngate: frozen\ncalibration_samples: 5":          func(c *Train) bool { return c.CalibrationSamples == 5 && c.GateHidden == nil },
	} {
		r, err := Parse("run.yaml", []byte(minimal+text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !right(&r.Train) {
			t.Errorf("%s: %+v", text, r.Train)
		}
	}
}
