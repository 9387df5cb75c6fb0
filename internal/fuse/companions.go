package fuse

import (
	"context"
	"path/filepath"

	"shira/internal/fault"
)

// leftOut returns what the output lacks of the base's directory, never nil.
func (j *job) leftOut() []string {
	if !j.isDir {
		return []string{}
	}
	_, names := j.model.Companions()
	return append([]string{}, names...)
}

// copyCompanions copies the files that go with the weights into dir.
func (j *job) copyCompanions(ctx context.Context, dir string) error {
	names, _ := j.model.Companions()
	for _, name := range names {
		if err := fault.Canceled(ctx, j.Out, "not written"); err != nil {
			return err
		}
		if err := j.model.CopyCompanion(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
