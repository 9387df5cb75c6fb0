package config

import (
	"encoding/json"
	"fmt"
)

// Record returns the values of all keys that decide what a run computes, as JSON, by key.
func (t *Train) Record() map[string]string {
	record := map[string]string{}
	for i := range keys {
		k := &keys[i]
		if k.Free {
			continue
		}
		b, err := json.Marshal(k.value(t))
		if err != nil { // a number that JSON does not have, which no check lets pass
			b = fmt.Append(nil, k.value(t))
		}
		record[k.Name] = string(b)
	}
	return record
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
			changed = append(changed, fmt.Sprintf("%s was %s, is %s", name, was, now[name]))
		}
	}
	return changed
}
