package data

import (
	"os"
	"path/filepath"

	"shira/internal/tokenizer"
)

// OpenTokenizer loads the tokenizer.json in dir, or returns nil where there is none: rows of token ids need none.
func OpenTokenizer(dir string) (Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return nil, nil
	}
	t, err := tokenizer.Load(path)
	if err != nil {
		return nil, err
	}
	return t, nil
}
