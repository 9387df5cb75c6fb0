package adapter

import (
	"fmt"
	"math"
	"regexp"
)

// Override gives modules another value than all others have, as a key of PEFT's rank_pattern or alpha_pattern does.
type Override struct {
	Pattern string // a regular expression that the end of a module's name matches, from its start or after a dot
	Value   float64
}

// matches reports whether o is for module: PEFT matches (.*\.)?(pattern)$.
func (o Override) matches(module string) (bool, error) {
	re, err := regexp.Compile(`^(.*\.)?(` + o.Pattern + `)$`)
	if err != nil {
		return false, fmt.Errorf("pattern %.200q: %w", o.Pattern, err)
	}
	return re.MatchString(module), nil
}

// lookup returns the value of the first override that is for module, or other.
func lookup(overrides []Override, module string, other float64) (float64, error) {
	for _, o := range overrides {
		if ok, err := o.matches(module); err != nil || ok {
			return o.Value, err
		}
	}
	return other, nil
}

// Rank returns rank and alpha of a module. Where the first override's pattern is not one, or a rank is not a whole
// number above zero, it is an error.
func (c *Config) Rank(module string) (r int, alpha float64, err error) {
	rank, err := lookup(c.RankPattern, module, float64(c.R))
	if err != nil {
		return 0, 0, fmt.Errorf("rank_pattern: %w", err)
	}
	if rank < 1 || rank > math.MaxInt32 || rank != math.Trunc(rank) {
		return 0, 0, fmt.Errorf("rank is %v: want a whole number above 0", rank)
	}
	if alpha, err = lookup(c.AlphaPattern, module, c.Alpha); err != nil {
		return 0, 0, fmt.Errorf("alpha_pattern: %w", err)
	}
	return int(rank), alpha, nil
}

// Scale returns the scale of a module with the given rank and alpha: alpha/√r for rsLoRA, and alpha/r otherwise.
func (c *Config) Scale(r int, alpha float64) float32 {
	if c.UseRSLoRA || c.Method == "rslora" {
		return float32(alpha / math.Sqrt(float64(r)))
	}
	return float32(alpha / float64(r))
}
