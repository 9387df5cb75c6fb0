package fsx

import (
	"errors"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openNonblock is not needed: a path that names a pipe fails to open as a file.
const openNonblock = 0

const errTooLarge = windows.ERROR_FILE_TOO_LARGE

// renamesOpen says that what is open can be renamed, and so keeps its lock until it has its name.
const renamesOpen = false

// FreeSpace returns the bytes that this user can still write to the volume of dir.
func FreeSpace(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, Wrap(err, dir, "ask for the free space")
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, Wrap(err, dir, "ask for the free space")
	}
	return free, nil
}

// syncDir does nothing: Windows cannot flush a directory, and NTFS journals its names.
func syncDir(string) error { return nil }

func syncOpenDir(*os.File) error { return nil }

// exchange cannot be done on Windows.
func exchange(a, b string) error { return errors.ErrUnsupported }

func mapFile(f *os.File, size int) ([]byte, error) {
	h, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer windows.CloseHandle(h) // the view keeps the mapping
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// The address is not of the Go heap, so reading it as a pointer is safe; vet only knows this form of saying so.
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), size), nil
}

func unmap(b []byte) error { return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(&b[0]))) }

// Windows manages the pages of a view by itself.

func adviseWillNeed([]byte) {}

func adviseDontNeed([]byte) {}

// beyond is where locks lie: outside what any file holds, since locked bytes could not be read here.
var beyond = windows.Overlapped{OffsetHigh: 1 << 30}

// tryLock takes an exclusive lock that ends with the file's closing, or the process.
func tryLock(f *os.File) (ok bool, err error) {
	return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK)
}

// tryShare takes a shared lock, which keeps out exclusive ones and ends with the file's closing.
func tryShare(f *os.File) (ok bool, err error) { return lock(f, 0) }

func lock(f *os.File, flags uint32) (ok bool, err error) {
	at := beyond
	err = windows.LockFileEx(windows.Handle(f.Fd()), flags|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// unlock ends a lock before the file's closing.
func unlock(f *os.File) error {
	at := beyond
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// links is not asked for on Windows.
func links(fs.FileInfo) uint64 { return 1 }

func datasync(f *os.File) error { return f.Sync() }

// Windows decides by itself when to write.
func writeBehind(*os.File, int64, int64) {}
