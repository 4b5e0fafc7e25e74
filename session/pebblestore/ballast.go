package pebblestore

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	ballastName = "tokenrelay.ballast"
	ballastSize = 4 << 20 // bytes
	// ballastPart says which commits are held against what is free before they
	// are made: those larger than a ballastPart-th of the ballast, which would
	// not leave enough of it.
	ballastPart = 4
	// margin is how much must be free, beside the ballast, before a full disk
	// counts as one with room again, in bytes.
	margin = 16 << 20
)

// A ballast is a file that is removed when the disk has become full, so that
// what is being written, and the ends of the sessions, still find room. With it
// the store knows whether the disk is full.
type ballast struct {
	fs     vfs.FS // the disk itself, no shield
	dir    string
	logger *slog.Logger
	size   int64 // of the file, in bytes

	full atomic.Bool // whether there is no room for new text

	mu    sync.Mutex // guards there; held while the file is removed or written
	there bool
}

// room returns how many of n bytes that are to be committed there is room for,
// or more; less than 0 on a full disk.
func (l *ballast) room(n int64) int64 {
	if l.full.Load() {
		return -1
	}
	if n <= l.size/ballastPart {
		return n
	}
	usage, err := l.fs.GetDiskUsage(l.dir)
	if err != nil {
		return n // a file system that cannot tell is tried
	}
	if usage.AvailBytes < margin {
		l.setFull()
	}
	return int64(min(usage.AvailBytes, math.MaxInt64)) - margin
}

// release takes note that the disk is full and reports whether it has made
// room.
func (l *ballast) release() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setFull()
	if !l.there {
		return false
	}
	l.there = false
	if err := l.fs.Remove(l.fs.PathJoin(l.dir, ballastName)); err != nil {
		return false
	}
	l.logger.Warn("the store gives up its reserve, so that sessions can still end", "bytes", l.size)
	return true
}

func (l *ballast) setFull() {
	if !l.full.Swap(true) {
		l.logger.Error("the disk of the store is full: new sessions are refused, and those that write end")
	}
}

// restore makes the file, unless it is there, and finds out whether a full
// disk has room again.
func (l *ballast) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.there && !l.full.Load() {
		return
	}
	need := uint64(margin)
	if !l.there {
		need += uint64(l.size)
	}
	// A file system that cannot tell is tried.
	usage, err := l.fs.GetDiskUsage(l.dir)
	if l.full.Load() && err == nil && usage.AvailBytes < need {
		return
	}
	if !l.there {
		if err := l.write(); err != nil {
			if isFull(err) {
				l.setFull()
			}
			return
		}
		l.there = true
	}
	if l.full.Swap(false) {
		l.logger.Info("the disk of the store has room again: new sessions are taken")
	}
}

// find looks whether the file is there from before.
func (l *ballast) find() {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := l.fs.Stat(l.fs.PathJoin(l.dir, ballastName))
	l.there = err == nil && info.Size() == l.size
}

// write makes the file of bytes that no file system can make smaller. It
// needs mu.
func (l *ballast) write() (err error) {
	path := l.fs.PathJoin(l.dir, ballastName)
	f, err := l.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			l.fs.Remove(path)
		}
	}()
	tighten(l.fs, path) // it holds nothing: no harm if that fails
	random := rand.NewChaCha8([32]byte{})
	block := make([]byte, 64<<10)
	for left := l.size; left > 0; left -= int64(len(block)) {
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
