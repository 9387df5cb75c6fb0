package config

import (
	"fmt"
	"slices"
	"strings"
)

// Starter returns a commented configuration to start from, with every key that the method uses. Keys that are not needed
// are commented out. It reports false for a method that is not available.
func Starter(method string) (string, bool) {
	if !slices.Contains(MethodNames(), method) {
		return "", false
	}
	var b strings.Builder
	b.WriteString("# shira train --config run.yaml\n")
	section := ""
	for i := range keys {
		k := &keys[i]
		if slices.Contains(unusedBy(method), k.Name) {
			continue
		}
		if k.Section != section {
			section = k.Section
			fmt.Fprintf(&b, "\n# --- %s ---\n", section)
		}
		b.WriteString("\n")
		for line := range strings.Lines(k.Doc) {
			fmt.Fprintf(&b, "# %s\n", strings.TrimSuffix(line, "\n"))
		}
		if k.Choices != nil {
			fmt.Fprintf(&b, "# One of: %s.\n", strings.Join(k.Choices, ", "))
		}
		b.WriteString(k.starterLine(method))
	}
	return b.String(), true
}

func (k *Key) starterLine(method string) string {
	value, comment := k.Default, ""
	switch {
	case k.Name == "method":
		value = method
	case k.Name == "learning_rate":
		value = formatFloat(methodOf(method).learningRate)
	case value == "":
		value = k.Example
	}
	if value == "" {
		comment = "# "
	}
	return strings.TrimRight(comment+k.Name+": "+value, " ") + "\n"
}
