package config

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Record returns the values of all keys that decide what a run computes, as JSON, by key. Where data lies is none of that: it
// is compared by its content.
func (t *Train) Record() map[string]string {
	record := map[string]string{}
	for i := range keys {
		k := &keys[i]
		if k.Free {
			continue
		}
		v := k.value(t)
		if list, ok := k.field(t).(*[]Dataset); ok && len(*list) > 0 {
			v = texts(unplaced(*list))
		}
		b, err := json.Marshal(v)
		if err != nil { // a number that JSON does not have, which no check lets pass
			b = fmt.Append(nil, v)
		}
		record[k.Name] = string(b)
	}
	return record
}

// unplaced returns datasets without their paths.
func unplaced(list []Dataset) []Dataset {
	out := slices.Clone(list)
	for i := range out {
		out[i].Path = ""
	}
	return out
}

// Changed says, in the order of the keys, what a configuration has other than the one of an earlier record. A key that
// the record does not have yet is compared with its default.
func (t *Train) Changed(earlier map[string]string) []string {
	start := Defaults()
	now, standard := t.Record(), start.Record()
	var changed []string
	for i := range keys {
		name := keys[i].Name
		if keys[i].Free {
			continue
		}
		was, ok := earlier[name]
		if !ok {
			was = standard[name]
		}
		if was != now[name] {
			changed = append(changed, fmt.Sprintf("%s was %s, is %s", name, recorded(was), recorded(now[name])))
		}
	}
	return changed
}

// recorded is a value of a record for people.
func recorded(value string) string {
	if value == "null" {
		return "not given"
	}
	return value
}
