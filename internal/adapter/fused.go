package adapter

import "encoding/json"

// FusedKey is the key of a checkpoint's metadata that lists the adapters fused into it, as a JSON array of [Fusion].
const FusedKey = "shira_fused"

// Fusion is one adapter that was fused into a checkpoint.
type Fusion struct {
	Adapter string  `json:"adapter"` // the last element of its path
	Digest  string  `json:"digest"`  // see [Adapter.Digest]
	Weight  float64 `json:"weight"`
	Base    string  `json:"base_fingerprint"` // of the checkpoint it was fused into
	Method  string  `json:"method,omitempty"` // of merging, with its parameters; "" for the sum
}

// Fusions returns what a checkpoint's metadata tells of adapters fused into it. It is a record for people and for hints:
// one that cannot be read counts as none.
func Fusions(metadata map[string]string) []Fusion {
	var list []Fusion
	if err := json.Unmarshal([]byte(metadata[FusedKey]), &list); err != nil {
		return nil
	}
	return list
}
