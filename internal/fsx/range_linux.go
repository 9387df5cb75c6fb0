package fsx

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// cloneUnit is what file systems that share blocks share them by, or a multiple of it.
const cloneUnit = 4096

// copyRange copies up to n bytes within the kernel, which shares blocks on file systems that can: whole ones, so that what
// is before the first and after the last is copied apart. It returns how many; where these files do not allow it, that is
// less and no error.
func copyRange(dst *os.File, off int64, src *os.File, from, n int64) (done int64, err error) {
	parts := []int64{n}
	if head := -from & (cloneUnit - 1); (off-from)%cloneUnit == 0 && head < n {
		whole := (n - head) &^ (cloneUnit - 1)
		parts = []int64{head, whole, n - head - whole}
	}
	for _, part := range parts {
		k, err := copyPart(dst, off+done, src, from+done, part)
		if done += k; err != nil || k < part {
			return done, err
		}
	}
	return done, nil
}

func copyPart(dst *os.File, off int64, src *os.File, from, n int64) (done int64, err error) {
	for done < n {
		in, out := from+done, off+done
		k, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(min(n-done, 1<<30)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case k <= 0 && impossible(err):
			return done, nil
		case err != nil:
			return done, err
		}
		done += int64(k)
	}
	return done, nil
}

// impossible says whether an outcome of nothing copied tells of the files rather than of the disk.
func impossible(err error) bool {
	for _, known := range []error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EFBIG} {
		if errors.Is(err, known) {
			return false
		}
	}
	return true
}

// startWriteback is advice: an error has no consequence.
func startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
