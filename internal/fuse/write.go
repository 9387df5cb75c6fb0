package fuse

import (
	"context"
	"encoding/json"
	"path/filepath"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// write makes one pass over the base into temporary files, and puts them in place, durably and as a whole, unless accept,
// which is called when all is known, returns an error.
func (j *job) write(ctx context.Context, accept func() error) error {
	record, err := j.record()
	if err != nil {
		return err
	}
	if !j.isDir {
		return j.writeFiles(ctx, []string{j.Out}, record, accept, fsx.Replace(j.Force))
	}
	if err := j.checkSpace(); err != nil {
		return err
	}
	return fsx.WriteDir(j.Out, func(dir string) error {
		var paths []string
		for _, f := range j.model.Files() {
			paths = append(paths, filepath.Join(dir, filepath.Base(f.Path())))
		}
		if err := j.writeFiles(ctx, paths, record, accept); err != nil {
			return err
		}
		return j.copyCompanions(ctx, dir)
	}, fsx.Replace(j.Force))
}

// writeFiles writes the new forms of the model's files: the same tensors in the same order.
func (j *job) writeFiles(ctx context.Context, paths []string, record string, accept func() error, opts ...fsx.Option) error {
	outputs := make([]*checkpoint.Rewriter, len(paths))
	for i, f := range j.model.Files() {
		metadata := f.Metadata()
		metadata[adapter.FusedKey] = record
		var err error
		if outputs[i], err = f.Rewrite(paths[i], metadata, opts...); err != nil {
			return err
		}
		defer outputs[i].Abort()
	}
	if err := j.pass(ctx, outputs); err != nil {
		return err
	}
	if err := accept(); err != nil {
		return err
	}
	for _, out := range outputs {
		if err := interrupted(ctx, j.Out); err != nil {
			return err
		}
		if err := out.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// record returns the metadata that tells of this fusion, after those that went before.
func (j *job) record() (string, error) {
	base, err := j.fingerprint()
	if err != nil {
		return "", err
	}
	list := adapter.Fusions(j.model.Files()[0].Metadata())
	for _, i := range j.order {
		list = append(list, adapter.Fusion{
			Adapter: filepath.Base(filepath.Clean(j.Adapters[i].Path)),
			Digest:  j.digests[i],
			Weight:  j.Adapters[i].Weight,
			Base:    base,
		})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "", fault.Wrap(fault.Internal, j.Out, err, "encode the record of the fusion")
	}
	return string(b), nil
}

// fingerprint returns the base's, which an adapter that was checked against it knows already.
func (j *job) fingerprint() (string, error) {
	for _, a := range j.adapters {
		if known := a.Config.BaseFingerprint; known != "" && !j.ForceBase {
			return known, nil
		}
	}
	return j.model.Fingerprint()
}

// checkSpace fails when the disk has no room for the output. Where that cannot be asked, the writing will tell.
func (j *job) checkSpace() error {
	free, err := fsx.FreeSpace(filepath.Dir(filepath.Clean(j.Out)))
	if need := j.model.Size(); err == nil && free < uint64(need) {
		return fault.New(fault.Environment, j.Out, "needs %d bytes, but the disk has only %d free", need, free)
	}
	return nil
}
