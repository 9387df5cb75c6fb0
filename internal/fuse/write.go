package fuse

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
	"shira/internal/merge"
)

// write makes one pass over the base into temporary files, and puts them in place, durably and as a whole, unless accept,
// which is called when all is known, returns an error.
func (j *job) write(ctx context.Context, accept func() error) error {
	if !j.isDir {
		return j.writeFiles(ctx, []string{j.Out}, accept, fsx.Replace(j.Force))
	}
	if err := j.checkSpace(); err != nil {
		return err
	}
	return fsx.WriteDir(j.Out, func(dir string) error {
		var paths []string
		for _, f := range j.model.Files() {
			paths = append(paths, filepath.Join(dir, filepath.Base(f.Path())))
		}
		if err := j.writeFiles(ctx, paths, accept); err != nil {
			return err
		}
		return j.copyCompanions(ctx, dir)
	}, fsx.Replace(j.Force))
}

// writeFiles writes the new forms of the model's files: the same tensors in the same order. What their metadata says of the
// inputs is known only after the pass; until then a blank of the same length keeps its place.
func (j *job) writeFiles(ctx context.Context, paths []string, accept func() error, opts ...fsx.Option) error {
	outputs := make([]*checkpoint.Rewriter, len(paths))
	anyOrder := make([]int, len(j.adapters))
	for i := range anyOrder {
		anyOrder[i] = i
	}
	blank := slices.Repeat([]string{strings.Repeat("0", digestLength)}, len(j.adapters))
	for i, f := range j.model.Files() {
		metadata, err := j.metadata(f, anyOrder, blank, strings.Repeat("0", checkpoint.FingerprintLength))
		if err != nil {
			return err
		}
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
	base, err := j.identity.base()
	if err != nil {
		return err
	}
	order, digests, err := j.canonicalOrder()
	if err != nil {
		return err
	}
	for i, f := range j.model.Files() {
		if err := fault.Canceled(ctx, j.Out, "not written"); err != nil {
			return err
		}
		metadata, err := j.metadata(f, order, digests, base)
		if err != nil {
			return err
		}
		if err := outputs[i].SetMetadata(metadata); err != nil {
			return err
		}
		if err := outputs[i].Commit(); err != nil {
			return err
		}
	}
	return nil
}

// digestLength is the length of an adapter's digest.
const digestLength = 2 * sha256.Size

// metadata returns that of a file of the output: the base's own, and a record of this fusion after those that went before.
func (j *job) metadata(f *checkpoint.File, order []int, digests []string, base string) (map[string]string, error) {
	m := f.Metadata()
	list := adapter.Fusions(j.model.Files()[0].Metadata())
	for _, i := range order {
		list = append(list, adapter.Fusion{
			Adapter: filepath.Base(filepath.Clean(j.Adapters[i].Path)),
			Digest:  digests[i],
			Weight:  j.Adapters[i].Weight,
			Base:    base,
			Method:  j.recordedMethod(),
		})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, j.Out, err, "encode the record of the fusion")
	}
	m[adapter.FusedKey] = string(b)
	return m, nil
}

// recordedMethod returns the merge method as the record has it, "" for the sum.
func (j *job) recordedMethod() string {
	if j.method.Name == "linear" {
		return ""
	}
	s := j.method.Name
	if j.method.Density {
		s += fmt.Sprintf(", density %v", j.Params.Density)
	}
	if j.method.Sign && j.Params.MajoritySign != merge.Total {
		s += ", signs by " + j.Params.MajoritySign
	}
	if j.method.Random {
		s += fmt.Sprintf(", seed %d", j.Params.Seed)
	}
	return s
}

// checkSpace fails when the disk has no room for the output. Where that cannot be asked, the writing will tell.
func (j *job) checkSpace() error {
	free, err := fsx.FreeSpace(filepath.Dir(filepath.Clean(j.Out)))
	if need := j.model.Size(); err == nil && free < uint64(need) {
		return fault.New(fault.Environment, j.Out, "needs %d bytes, but the disk has only %d free", need, free)
	}
	return nil
}
