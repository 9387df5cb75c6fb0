package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"shira/internal/fault"
)

// The rows of the files, in the shapes that `shira train` and `shira eval` read.
type (
	textRow struct {
		Text string `json:"text"`
	}
	promptRow struct {
		Prompt     string `json:"prompt"`
		Completion string `json:"completion"`
	}
	choiceRow struct {
		Query   string   `json:"query"`
		Choices []string `json:"choices"`
		Gold    int      `json:"gold"`
	}
)

// writeJSONL writes one object per line, making the folder if need be.
func writeJSONL[T any](path string, rows []T) error {
	return writeFile(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, row := range rows {
			if err := enc.Encode(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeJSON writes one indented object.
func writeJSON(path string, v any) error {
	return writeFile(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	})
}

func writeFile(path string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fault.Wrap(fault.Environment, path, err, "cannot make its folder")
	}
	f, err := os.Create(path)
	if err != nil {
		return fault.Wrap(fault.Environment, path, err, "cannot create")
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fault.Wrap(fault.Environment, path, cerr, "cannot write")
		}
	}()
	b := bufio.NewWriter(f)
	if err := write(b); err != nil {
		return fault.Wrap(fault.Environment, path, err, "cannot write")
	}
	if err := b.Flush(); err != nil {
		return fault.Wrap(fault.Environment, path, err, "cannot write")
	}
	return nil
}
