package pebblestore_test

import (
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A faults is a file system whose operations fail as a test says.
type faults struct {
	vfs.FS

	mu      sync.Mutex
	before  func(op, name string) error // called before each change; nil lets all through
	missing string                      // a part of the names of files that are not there to be read; none if empty
	hits    atomic.Int64                // operations that failed
	drop    bool                        // a sync that fails loses what was written since the one before
	usage   *vfs.DiskUsage              // what GetDiskUsage says, if not nil
	synced  map[string]int64            // bytes of each file that are safe
}

func (fs *faults) setBefore(before func(op, name string) error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.before = before
}

func (fs *faults) setMissing(missing string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.missing = missing
}

func (fs *faults) setUsage(usage *vfs.DiskUsage) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.usage = usage
}

func (fs *faults) check(op, name string) error {
	fs.mu.Lock()
	before := fs.before
	fs.mu.Unlock()
	if before == nil {
		return nil
	}
	err := before(op, fs.PathBase(name))
	if err != nil {
		fs.hits.Add(1)
	}
	return err
}

func (fs *faults) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.check("create", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	fs.unsafe(name)
	return &faultyFile{File: f, fs: fs, name: name}, nil
}

func (fs *faults) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := fs.check("open", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: f, fs: fs, name: name}, nil
}

func (fs *faults) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.check("create", newname); err != nil {
		return nil, err
	}
	f, err := fs.FS.ReuseForWrite(oldname, newname, c)
	if err != nil {
		return nil, err
	}
	fs.unsafe(newname)
	return &faultyFile{File: f, fs: fs, name: newname}, nil
}

func (fs *faults) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	fs.mu.Lock()
	missing := fs.missing
	fs.mu.Unlock()
	if missing != "" && strings.Contains(name, missing) {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return fs.FS.Open(name, opts...)
}

func (fs *faults) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: f, fs: fs, name: name + "/"}, nil
}

func (fs *faults) Remove(name string) error {
	if err := fs.check("remove", name); err != nil {
		return err
	}
	return fs.FS.Remove(name)
}

func (fs *faults) Rename(oldname, newname string) error {
	if err := fs.check("rename", newname); err != nil {
		return err
	}
	return fs.FS.Rename(oldname, newname)
}

func (fs *faults) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.usage != nil {
		return *fs.usage, nil
	}
	return fs.FS.GetDiskUsage(path)
}

func (fs *faults) Unwrap() vfs.FS { return fs.FS }

// A faultyFile fails with its file system. A write that fails has written half
// of what it was given.
type faultyFile struct {
	vfs.File
	fs      *faults
	name    string
	written int64
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.fs.check("write", f.name); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		f.written += int64(n)
		return n, err
	}
	n, err := f.File.Write(p)
	f.written += int64(n)
	return n, err
}

func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.fs.check("write", f.name); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], at)
		return n, err
	}
	f.written = max(f.written, at+int64(len(p)))
	return f.File.WriteAt(p, at)
}

func (f *faultyFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *faultyFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *faultyFile) sync(sync func() error) error {
	op := "sync"
	if f.name[len(f.name)-1] == '/' {
		op = "syncdir"
	}
	if err := f.fs.check(op, f.name); err != nil {
		if f.fs.drop {
			f.fs.lose(f.name, f.written)
		}
		return err
	}
	err := sync()
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.synced == nil {
		f.fs.synced = make(map[string]int64)
	}
	f.fs.synced[f.name] = f.written
	return err
}

// unsafe takes note that a file begins anew.
func (fs *faults) unsafe(name string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.synced, name)
}

// lose puts zeros where a file is not synced.
func (fs *faults) lose(name string, written int64) {
	fs.mu.Lock()
	synced := fs.synced[name]
	fs.mu.Unlock()
	if written <= synced {
		return
	}
	if f, err := fs.FS.OpenReadWrite(name, vfs.WriteCategoryUnspecified); err == nil {
		f.WriteAt(make([]byte, written-synced), synced)
		f.Close()
	}
}

// crash returns what a loss of power leaves of a disk: of what was not synced,
// that percentage. The tally is what it was before: the kernel may write it at
// any time.
func crash(disk *vfs.MemFS, percent int, random *rand.Rand) *vfs.MemFS {
	var tally []byte
	if f, err := disk.Open(tallyPath); err == nil {
		tally, _ = io.ReadAll(f)
		f.Close()
	}
	after := disk.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent, RNG: random,
	})
	if len(tally) > 0 {
		if f, err := after.Create(tallyPath, vfs.WriteCategoryUnspecified); err == nil {
			f.Write(tally)
			f.Close()
		}
	}
	return after
}
