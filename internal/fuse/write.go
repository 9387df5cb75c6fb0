package fuse

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"

	"shira/internal/adapter"
	"shira/internal/checkpoint"
	"shira/internal/fault"
	"shira/internal/fsx"
)

// measure walks over the tensors that change and counts what happens, without writing.
func (j *job) measure(ctx context.Context) error {
	for _, t := range j.tensors {
		if err := t.copyTo(ctx, io.Discard, len(j.adapters), j.progress.add); err != nil {
			return err
		}
	}
	return nil
}

// write puts the output in place, durably and as a whole.
func (j *job) write(ctx context.Context) error {
	record, err := j.record()
	if err != nil {
		return err
	}
	if !j.isDir {
		return j.writeFile(ctx, j.model.Files()[0], j.Out, record, fsx.Replace(j.Force))
	}
	if err := j.checkSpace(); err != nil {
		return err
	}
	return fsx.WriteDir(j.Out, func(dir string) error {
		for _, f := range j.model.Files() {
			if err := j.writeFile(ctx, f, filepath.Join(dir, filepath.Base(f.Path())), record); err != nil {
				return err
			}
		}
		return j.copyCompanions(ctx, dir)
	}, fsx.Replace(j.Force))
}

// writeFile writes the new form of one of the model's files: the same tensors in the same order.
func (j *job) writeFile(ctx context.Context, f *checkpoint.File, path, record string, opts ...fsx.Option) error {
	var entries []checkpoint.Entry
	for _, t := range f.Tensors() {
		entry := t.Entry()
		if target := j.byName[t.Name]; target != nil {
			entry.Write = func(w io.Writer) error { return target.copyTo(ctx, w, len(j.adapters), j.progress.add) }
		} else {
			entry.Write = func(w io.Writer) error { return t.Entry().Write(&passer{ctx, w, f.Path(), &j.progress}) }
		}
		entries = append(entries, entry)
	}
	metadata := f.Metadata()
	metadata[adapter.FusedKey] = record
	return checkpoint.Write(path, entries, metadata, opts...)
}

// passer passes bytes on until the context is canceled.
type passer struct {
	ctx  context.Context
	w    io.Writer
	path string
	*meter
}

func (p *passer) Write(b []byte) (int, error) {
	if err := interrupted(p.ctx, p.path); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b)
	p.add(int64(n))
	return n, err
}

// record returns the metadata that tells of this fusion, after those that went before.
func (j *job) record() (string, error) {
	base, err := j.fingerprint()
	if err != nil {
		return "", err
	}
	list := adapter.Fusions(j.model.Files()[0].Metadata())
	for _, i := range j.canonicalOrder() {
		list = append(list, adapter.Fusion{
			Adapter: filepath.Base(filepath.Clean(j.Adapters[i].Path)),
			Digest:  j.adapters[i].Digest(),
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
