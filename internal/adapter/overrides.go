package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"
)

// Override gives modules another value than all others have.
type Override struct {
	Pattern string // a regular expression that the end of a module's name matches, from its start or after a dot
	Value   float64
}

// Overrides is PEFT's rank_pattern or alpha_pattern. The first that is for a module counts, so that their order matters; as
// JSON they are an object all the same.
type Overrides []Override

// maxOverrides bounds the patterns of a file, each of which is matched with each module.
const maxOverrides = 10_000

// compiled caches regular expressions by pattern: every module of an adapter asks for the same few.
var compiled sync.Map

// matches reports whether o is for module: PEFT matches (.*\.)?(pattern)$.
func (o Override) matches(module string) (bool, error) {
	if strings.Trim(o.Pattern, plainCharacters) == "" {
		return o.names(module), nil
	}
	re, ok := compiled.Load(o.Pattern)
	if !ok {
		made, err := regexp.Compile(`^(.*\.)?(` + o.Pattern + `)$`)
		if err != nil {
			return false, fmt.Errorf("pattern %.200q: %w", o.Pattern, err)
		}
		re, _ = compiled.LoadOrStore(o.Pattern, made)
	}
	return re.(*regexp.Regexp).MatchString(module), nil
}

// patternOf returns a pattern that matches a name: the name, as older versions of PEFT want it, where that is one.
func patternOf(name string) string {
	if strings.Trim(name, plainCharacters) == "" {
		return name
	}
	return regexp.QuoteMeta(name)
}

// plainCharacters are those of a pattern that is a name. The dot among them matches any character.
const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

// names is matches for a pattern that is a name, of which there may be one for each module.
func (o Override) names(module string) bool {
	start := len(module) - len(o.Pattern)
	if start < 0 || start > 0 && module[start-1] != '.' {
		return false
	}
	for i, c := range []byte(o.Pattern) {
		if c != '.' && c != module[start+i] {
			return false
		}
	}
	return true
}

// lookup returns the value of the first override that is for module, or other.
func (list Overrides) lookup(module string, other float64) (float64, error) {
	for _, o := range list {
		if ok, err := o.matches(module); err != nil || ok {
			return o.Value, err
		}
	}
	return other, nil
}

// MarshalJSON writes an object with the patterns in order.
func (list Overrides) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, o := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(o.Pattern); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(o.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object whose values are numbers, in order.
func (list *Overrides) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("want an object of patterns and numbers")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		o := Override{Pattern: key.(string)} // the decoder lets nothing else stand before a colon
		if err := d.Decode(&o.Value); err != nil {
			return fmt.Errorf("pattern %.200q: %w", o.Pattern, err)
		}
		*list = append(*list, o)
	}
	return nil
}

// Rank returns rank and alpha of a module. A pattern that is none, or a rank that is no whole number above zero, is an
// error.
func (c *Config) Rank(module string) (r int, alpha float64, err error) {
	rank, err := c.RankPattern.lookup(module, float64(c.R))
	if err != nil {
		return 0, 0, fmt.Errorf("rank_pattern: %w", err)
	}
	if rank < 1 || rank > math.MaxInt32 || rank != math.Trunc(rank) {
		return 0, 0, fmt.Errorf("the rank is %v: want a whole number above 0", rank)
	}
	if alpha, err = c.AlphaPattern.lookup(module, c.Alpha); err != nil {
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
