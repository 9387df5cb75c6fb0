package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"shira/internal/fault"
	"shira/internal/fsx"
)

// maxIndex bounds the size of an index file, in bytes. That of the largest public models is about 10 MB.
const maxIndex = 64 << 20

const weightMapKey = "weight_map"

// parseIndex reads model.safetensors.index.json and returns its weight map: tensor name to shard name. Shard names are
// plain: an index cannot point to another directory. Members that it does not know are passed over.
func parseIndex(b []byte) (map[string]string, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("not UTF-8")
	}
	var weights map[string]string
	seen := map[string]bool{}
	s := &scanner{b: b}
	err := s.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("key %s twice", fault.Quote(key))
		}
		seen[key] = true
		if key != weightMapKey {
			return s.skip(0)
		}
		weights = map[string]string{}
		if err := readWeightMap(s, weights); err != nil {
			return fmt.Errorf("%s: %w", weightMapKey, err)
		}
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && len(weights) == 0 {
		err = fmt.Errorf("%s is missing or empty", weightMapKey)
	}
	return weights, err
}

func readWeightMap(s *scanner, weights map[string]string) error {
	shards := map[string]string{} // one copy of each name, however many tensors repeat it
	return s.object(func(name string) error {
		if err := checkName(name); err != nil {
			return err
		}
		if _, ok := weights[name]; ok {
			return fmt.Errorf("tensor %s twice", fault.Quote(name))
		}
		shard, err := s.str()
		if err != nil {
			return fmt.Errorf("tensor %s: %w", fault.Quote(name), err)
		}
		if _, ok := shards[shard]; !ok {
			if !validShard(shard) {
				return fmt.Errorf("tensor %s: %s is not the plain name of a .safetensors file", fault.Quote(name), fault.Quote(shard))
			}
			shards[shard] = shard
		}
		weights[name] = shards[shard]
		return nil
	})
}

// validShard accepts the plain name of a file: no directory, drive, or "..", under any system's rules.
func validShard(name string) bool {
	return strings.HasSuffix(name, ".safetensors") && !strings.ContainsAny(name, `/\:`) &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

// checkShards checks that the shards hold exactly the tensors that the index promises, each in its shard. shards is
// keyed by name.
func checkShards(path string, weights map[string]string, shards map[string]*File) error {
	var bad fault.Problems
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if _, ok := shards[weights[name]].Lookup(name); !ok {
			bad.Add("tensor %s is not in its shard %s", fault.Quote(name), fault.Quote(weights[name]))
		}
	}
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		for _, t := range shards[shard].header.tensors {
			switch weights[t.Name] {
			case shard:
			case "":
				bad.Add("tensor %s of shard %s is not listed", fault.Quote(t.Name), fault.Quote(shard))
			default:
				bad.Add("tensor %s is also in shard %s", fault.Quote(t.Name), fault.Quote(shard))
			}
		}
	}
	return bad.Err(fault.Malformed, path, "")
}

// WriteIndex writes a model.safetensors.index.json durably. weights maps each tensor's name to the name of its shard;
// totalSize is the bytes of all tensors.
func WriteIndex(path string, weights map[string]string, totalSize int64, opts ...fsx.Option) error {
	var index struct {
		Metadata struct {
			TotalSize int64 `json:"total_size"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	index.Metadata.TotalSize = totalSize
	index.WeightMap = weights
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(index); err != nil {
		return fault.Wrap(fault.Internal, path, err, "cannot encode the index")
	}
	return fsx.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(buf.Bytes())
		return err
	}, opts...)
}
