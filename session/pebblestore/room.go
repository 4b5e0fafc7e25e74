package pebblestore

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	ballastName = "tokenrelay.ballast"
	ballastSize = 4 << 20 // bytes
	// margin is how much must be free, beside the ballast, before a full disk
	// counts as one with room again, in bytes.
	margin = 16 << 20
)

// A room knows whether the disk is full. It keeps a ballast: a file that is
// removed when the disk has become full, so that what is being written, and
// the ends of the sessions, still find room.
type room struct {
	fs     vfs.FS // the disk itself, no shield
	dir    string
	logger *slog.Logger

	size int64 // of the ballast, in bytes

	full atomic.Bool // whether there is no room for new text

	mu      sync.Mutex // guards ballast; held while the file is removed or written
	ballast bool       // the file is there
}

// release takes note that the disk is full and reports whether it has made
// room.
func (r *room) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.full.Swap(true) {
		r.logger.Warn("the disk of the store is full")
	}
	if !r.ballast {
		return false
	}
	r.ballast = false
	return r.fs.Remove(r.fs.PathJoin(r.dir, ballastName)) == nil
}

// restore makes the ballast, unless it is there, and finds out whether a full
// disk has room again.
func (r *room) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ballast && !r.full.Load() {
		return
	}
	need := uint64(margin)
	if !r.ballast {
		need += uint64(r.size)
	}
	// A file system that cannot tell is tried.
	usage, err := r.fs.GetDiskUsage(r.dir)
	if r.full.Load() && err == nil && usage.AvailBytes < need {
		return
	}
	if !r.ballast {
		if err := r.write(); err != nil {
			if errors.Is(err, syscall.ENOSPC) && !r.full.Swap(true) {
				r.logger.Warn("the disk of the store is full")
			}
			return
		}
		r.ballast = true
	}
	if r.full.Swap(false) {
		r.logger.Info("the disk of the store has room again")
	}
}

// find looks whether a ballast is there from before.
func (r *room) find() {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := r.fs.Stat(r.fs.PathJoin(r.dir, ballastName))
	r.ballast = err == nil && info.Size() == r.size
}

// write makes the ballast of bytes that no file system can make smaller. It
// needs mu.
func (r *room) write() (err error) {
	path := r.fs.PathJoin(r.dir, ballastName)
	f, err := r.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			r.fs.Remove(path)
		}
	}()
	random := rand.NewChaCha8([32]byte{})
	block := make([]byte, 64<<10)
	for left := r.size; left > 0; left -= int64(len(block)) {
		block = block[:min(left, int64(len(block)))]
		random.Read(block)
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
