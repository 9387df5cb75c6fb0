package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"shira/internal/fault"
)

// object is a JSON object whose values are not decoded yet. Unlike a struct it tells keys apart by case.
type object map[string]json.RawMessage

// parseObject reads one JSON object with nothing after it and no key twice.
func parseObject(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	o := object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key := t.(string) // the decoder lets nothing else stand before a colon
		if _, twice := o[key]; twice {
			return nil, fmt.Errorf("key %s appears twice", fault.Quote(key))
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		o[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more follows after the JSON object")
	}
	return o, nil
}

// has reports whether the key is there with a value other than null.
func (o object) has(key string) bool {
	value, ok := o[key]
	return ok && string(value) != "null"
}

// get decodes the value of key into v, which stays as it is when the key is absent or null. The first error of a series
// of calls stays in *err.
func (o object) get(key string, v any, err *error) {
	if *err != nil || !o.has(key) {
		return
	}
	if e := json.Unmarshal(o[key], v); e != nil {
		*err = fmt.Errorf("%s: %w", key, e)
	}
}

// set reports whether the key has a value that says anything: not null, false, zero or empty.
func (o object) set(key string) bool {
	switch string(bytes.TrimSpace(o[key])) {
	case "", "null", "false", "0", `""`, "[]", "{}":
		return false
	}
	return true
}
