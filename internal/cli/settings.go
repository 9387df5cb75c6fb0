package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"shira/internal/config"
	"shira/internal/fault"
	"shira/internal/spell"
)

// variable is an environment variable that does not stand for a key of the configuration.
type variable struct{ name, doc string }

const (
	envDebug   = config.EnvPrefix + "_DEBUG"
	envNoColor = "NO_COLOR"
)

// variables is the table of those variables.
var variables = []variable{
	{config.EnvPrefix + "_QUIET", "true: as --quiet"},
	{config.EnvPrefix + "_VERBOSE", "true: as --verbose"},
	{config.EnvPrefix + "_LOG_FORMAT", "text or json: as --log-format"},
	{config.EnvPrefix + "_KERNEL", "instruction set of the kernels: amx, avx512bf16, avx512, avx2, neon or go; the best there is by default"},
	{envDebug, "1: after an internal error, print where it happened"},
	{envNoColor, "not empty: no colours"},
}

// fromEnvironment gives the named flags the values of their SHIRA_<NAME> variables where they were not given themselves.
// viper resolves which one counts; the flag checks the value.
func fromEnvironment(flags *pflag.FlagSet, names ...string) error {
	v := viper.New()
	v.SetEnvPrefix(config.EnvPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	for _, name := range names {
		f := flags.Lookup(name)
		if err := v.BindPFlag(name, f); err != nil {
			return err
		}
		if err := v.BindEnv(name); err != nil {
			return err
		}
		if value := v.GetString(name); !f.Changed && value != f.DefValue {
			if flags.Set(name, value) != nil {
				return fault.New(fault.Usage, "", "%s: want %s, got %s", variableOf(name), wanted(f), fault.Quote(value))
			}
			if err := flags.SetAnnotation(name, fromVariable, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// fromVariable marks a flag that has the value of its variable.
const fromVariable = "shira_from_variable"

// flagName is what to call a flag in errors: by its variable where that gave the value.
func flagName(flags *pflag.FlagSet, flag string) string {
	if _, ok := flags.Lookup(flag).Annotations[fromVariable]; ok {
		return variableOf(flag)
	}
	return "--" + flag
}

// notNegative refuses the flags of those named that are numbers below 0.
func notNegative(flags *pflag.FlagSet, names ...string) error {
	var wrong []string
	for _, name := range names {
		if n, err := flags.GetInt(name); err == nil && n < 0 {
			wrong = append(wrong, fmt.Sprintf("%s: want no negative number, got %d", flagName(flags, name), n))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "", "%s", strings.Join(wrong, "; "))
}

// variableOf returns the variable that stands for a flag.
func variableOf(flag string) string {
	return config.EnvPrefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// overrides returns what stands in the place of the configuration file's values: the SHIRA_* variables of its keys, and
// the KEY=VALUE of --set.
func overrides(sets []string) ([]config.Override, error) {
	var list []config.Override
	v := viper.New()
	v.SetEnvPrefix(config.EnvPrefix)
	for _, k := range config.Keys() {
		if err := v.BindEnv(k.Name); err != nil {
			return nil, err
		}
		if v.IsSet(k.Name) {
			list = append(list, config.Override{Layer: config.Environment, Name: k.Env(), Value: v.GetString(k.Name)})
		}
	}
	for _, set := range sets {
		key, value, ok := strings.Cut(set, "=")
		if !ok {
			return nil, fault.New(fault.Usage, "", "--set: want KEY=VALUE, got %s", fault.Quote(set))
		}
		list = append(list, config.Override{Layer: config.Flag, Name: strings.TrimSpace(key), Value: strings.TrimSpace(value)})
	}
	return list, nil
}

// unknownVariables returns a notice for each SHIRA_* variable that stands for nothing, most likely a slip of the hand.
func unknownVariables(environ []string) []string {
	var known, notices []string
	for _, k := range config.Keys() {
		known = append(known, k.Env())
	}
	for _, v := range variables {
		known = append(known, v.name)
	}
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, config.EnvPrefix+"_") || slices.Contains(known, name) {
			continue
		}
		line := "environment variable " + fault.Quote(name) + " stands for nothing"
		if meant, ok := spell.Nearest(name, known); ok {
			line += "; did you mean " + meant + "?"
		}
		notices = append(notices, line)
	}
	return notices
}

// loadConfig reads the configuration at path, "-" for the standard input, with all overrides, and prints its notices.
func (a *app) loadConfig(path string, sets []string) (*config.Resolved, error) {
	data, err := a.readConfig(path)
	if err != nil {
		return nil, err
	}
	return a.resolveConfig(config.ForTraining, path, data, sets)
}

// resolveConfig resolves the data of the configuration at path with all overrides, of which flags are some more, and prints
// its notices. Without a path there is no file.
func (a *app) resolveConfig(purpose config.Purpose, path string, data []byte, sets []string, flags ...config.Override) (*config.Resolved, error) {
	over, err := overrides(sets)
	if err != nil {
		return nil, err
	}
	if path == "-" {
		path = "standard input"
	}
	r, err := config.ParseFor(purpose, path, data, append(over, flags...)...)
	if err != nil {
		return nil, err
	}
	for _, n := range append(r.Notices, unknownVariables(os.Environ())...) {
		a.log.notice(n)
	}
	return r, nil
}
