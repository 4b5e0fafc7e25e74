package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
)

// How often an operation that failed is tried again: at first every
// retrySoon, and after soonRetries times every retryLater.
const (
	retrySoon   = 100 * time.Millisecond
	retryLater  = time.Second
	soonRetries = 10
)

// A shield stands between Pebble and the disk. Pebble ends the process when a
// log (a write-ahead log, the manifest, a marker or their directory) cannot be
// written; behind a shield these do not fail but wait, and are tried again
// until they succeed. So does the file of its options, which it writes last
// when it opens: where that fails, it panics if a compaction has begun. Tables
// may fail: Pebble writes them again.
//
// After a failed sync the kernel may have dropped what it could not write, and
// a second sync would not say so. So what was written to a log since its last
// good sync is kept, and written again before the next one. The entries of a
// directory cannot be written again; its sync is repeated on a new handle.
//
// While the store closes nothing waits: the first failure makes the shield
// give up. From then on nothing reaches the disk, and Pebble is told that all
// is well, so that it comes to its end. What is on the disk is then what a
// crash at that moment would have left.
type shield struct {
	vfs.FS
	logger    *slog.Logger
	syncLogs  bool // whether a sync of a write-ahead log is one
	ballast   *ballast
	soon      time.Duration // retrySoon, or less in a test
	later     time.Duration
	closing   <-chan struct{} // closed when the store closes, or is to open no more
	abandoned atomic.Bool     // the shield gave up

	mu      sync.Mutex // guards the fields below; held over nothing that waits
	waiting int        // operations that are tried again
	cause   error      // why the last of them failed
	table   error      // why the last flush or compaction failed, nil if it did not
	stalled bool       // commits wait for a flush
	isDown  bool       // as last logged
	retryAt time.Time  // when the next table may be begun
}

func newShield(under vfs.FS, level session.Level, l *ballast, logger *slog.Logger, closing <-chan struct{}) *shield {
	return &shield{
		FS: under, logger: logger, syncLogs: level == session.LevelPower, ballast: l,
		soon: retrySoon, later: retryLater, closing: closing,
	}
}

// down returns why nothing can be committed at the moment, or nil.
func (s *shield) down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.trouble(); err != nil {
		return fmt.Errorf("%w: the disk does not take writes: %w", session.ErrStore, err)
	}
	return nil
}

// trouble is what commits wait for, or nil. It needs mu.
func (s *shield) trouble() error {
	switch {
	case s.waiting > 0:
		return s.cause
	case s.stalled:
		return s.table
	}
	return nil
}

// report logs when the disk has begun or ceased to fail, which it does not do
// because the shield gave up. It needs mu.
func (s *shield) report() {
	err := s.trouble()
	if (err != nil) == s.isDown || s.abandoned.Load() {
		return
	}
	s.isDown = err != nil
	if s.isDown {
		s.logger.Error("the disk of the store does not take writes: new sessions are refused, and those that write wait", "error", firstLine(err))
	} else {
		s.logger.Info("the disk of the store takes writes again")
	}
}

// gaveUp returns why the shield gave up, or nil.
func (s *shield) gaveUp() error {
	if !s.abandoned.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// tableDone takes how a flush or compaction ended.
func (s *shield) tableDone(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = err
	s.report()
}

func (s *shield) setStalled(stalled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = stalled
	s.report()
}

// insist tries op until it succeeds or the shield gives up. It reports whether
// op succeeded.
func (s *shield) insist(op func() error) bool {
	if s.abandoned.Load() {
		return false
	}
	err := op()
	return err == nil || s.again(err, op)
}

// again is insist after a failure of op.
func (s *shield) again(err error, op func() error) bool {
	if isFull(err) && s.ballast.release() {
		if err = op(); err == nil {
			return true
		}
	}
	s.mu.Lock()
	s.waiting++
	s.cause = cause(err)
	s.report()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.report()
		s.mu.Unlock()
	}()
	for n := 0; err != nil; n++ {
		if s.abandoned.Load() {
			return false
		}
		wait := s.soon
		if n >= soonRetries {
			wait = s.later
		}
		select {
		case <-s.closing:
			if err = op(); err != nil {
				s.abandon(err)
				return false
			}
			return true
		case <-time.After(wait):
		}
		if err = op(); err != nil {
			if isFull(err) {
				s.ballast.release()
			}
			s.mu.Lock()
			if !s.abandoned.Load() {
				s.cause = cause(err)
			}
			s.mu.Unlock()
		}
	}
	return true
}

// abandon gives up. Whoever closes the store is told why.
func (s *shield) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.abandoned.Swap(true) {
		s.cause = cause(err)
	}
}

// cause is what an error of the file system says, without the path.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// isFull reports whether err says that there is no room: on the disk, in what a
// user may take of it, or in what the file system lets a file be.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A fileKind is how much of the shield a file needs.
type fileKind int

const (
	plainFile fileKind = iota
	tableFile          // may fail
	logFile            // may not
	walFile            // a log that a commit syncs
)

func kindOf(name string) fileKind {
	switch {
	case strings.HasSuffix(name, ".log"):
		return walFile
	case strings.HasPrefix(name, "MANIFEST-"), strings.HasPrefix(name, "marker."), strings.HasSuffix(name, ".dbtmp"):
		return logFile
	case strings.HasSuffix(name, ".sst"), strings.HasSuffix(name, ".blob"):
		return tableFile
	}
	return plainFile
}

func (s *shield) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	kind := kindOf(s.PathBase(name))
	switch kind {
	case walFile, logFile:
		var f vfs.File
		if !s.insist(func() (err error) { f, err = s.FS.Create(name, c); return err }) {
			return sink{}, nil
		}
		return s.newLog(f, name, kind), nil
	case tableFile:
		s.pause()
		if s.abandoned.Load() {
			return sink{}, nil
		}
		f, err := s.FS.Create(name, c)
		if err != nil {
			return nil, s.tableError(err)
		}
		return &shieldedTable{f, s}, nil
	}
	if s.abandoned.Load() {
		return sink{}, nil
	}
	return s.FS.Create(name, c)
}

// pause keeps Pebble, which tries a failed flush or compaction again at once,
// from doing so more often than every retryLater.
func (s *shield) pause() {
	s.mu.Lock()
	wait := time.Until(s.retryAt)
	s.mu.Unlock()
	if wait > 0 {
		select {
		case <-s.closing:
		case <-time.After(wait):
		}
	}
}

// tableError takes a failure of a table and returns it.
func (s *shield) tableError(err error) error {
	if isFull(err) {
		s.ballast.release()
	}
	if isClosed(s.closing) {
		s.abandon(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retryAt = time.Now().Add(s.later)
	s.table = cause(err)
	s.report()
	return err
}

func (s *shield) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if s.abandoned.Load() {
		return sink{}, nil
	}
	f, err := s.FS.ReuseForWrite(oldname, newname, c)
	if err != nil {
		// The old file may have its new name already: one made from scratch is
		// as good.
		if !s.again(err, func() error {
			s.FS.Remove(oldname)
			f, err = s.FS.Create(newname, c)
			return err
		}) {
			return sink{}, nil
		}
	}
	return s.newLog(f, newname, kindOf(s.PathBase(newname))), nil
}

// Open opens a file for reading. Pebble ends the process when a table is not
// there; so that is another error.
func (s *shield) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.Open(name, opts...)
	if errors.Is(err, fs.ErrNotExist) && kindOf(s.PathBase(name)) == tableFile {
		return nil, fmt.Errorf("%w: the file %s is missing", errCorrupt, name)
	}
	return f, err
}

func (s *shield) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &shieldedDir{f, s, name}, nil
}

func (s *shield) Remove(name string) error {
	if s.abandoned.Load() {
		return nil
	}
	return s.FS.Remove(name)
}

func (s *shield) RemoveAll(name string) error {
	if s.abandoned.Load() {
		return nil
	}
	return s.FS.RemoveAll(name)
}

// Rename gives a new name, which no file has had, to a file.
func (s *shield) Rename(oldname, newname string) error {
	s.insist(func() error {
		err := s.FS.Rename(oldname, newname)
		if errors.Is(err, fs.ErrNotExist) {
			_, err = s.FS.Stat(newname) // an attempt that failed may have done it
		}
		return err
	})
	return nil
}

func (s *shield) Link(oldname, newname string) error {
	if s.abandoned.Load() {
		return nil
	}
	return s.FS.Link(oldname, newname)
}

func (s *shield) Unwrap() vfs.FS { return s.FS }

// A shieldedLog is a log: written from its start to its end by one goroutine
// at a time.
type shieldedLog struct {
	vfs.File
	shield   *shield
	name     string
	syncs    bool // whether Sync is one; if not, Close is
	placed   bool // File is a handle that is written with WriteAt
	synced   int64
	unsynced []byte // what was written after the first synced bytes
}

func (s *shield) newLog(f vfs.File, name string, kind fileKind) *shieldedLog {
	return &shieldedLog{File: f, shield: s, name: name, syncs: kind != walFile || s.syncLogs}
}

func (l *shieldedLog) Write(p []byte) (int, error) {
	if l.shield.abandoned.Load() {
		return len(p), nil
	}
	at := l.synced + int64(len(l.unsynced))
	l.unsynced = append(l.unsynced, p...) // before the write, which may spoil p
	var err error
	if l.placed {
		_, err = l.File.WriteAt(p, at)
	} else {
		_, err = l.File.Write(p)
	}
	if err != nil {
		l.shield.again(err, l.rewrite)
	}
	return len(p), nil
}

// rewrite writes all that is not synced again, through a new handle.
func (l *shieldedLog) rewrite() error {
	f, err := l.shield.FS.OpenReadWrite(l.name, "pebble-wal")
	if err != nil {
		return err
	}
	l.File.Close()
	l.File, l.placed = f, true
	_, err = f.WriteAt(l.unsynced, l.synced)
	return err
}

func (l *shieldedLog) Sync() error { return l.sync() }

func (l *shieldedLog) SyncData() error { return l.sync() }

// SyncTo does nothing: it promises nothing, and its failure would be lost.
func (l *shieldedLog) SyncTo(int64) (bool, error) { return false, nil }

func (l *shieldedLog) sync() error {
	if l.shield.abandoned.Load() {
		return nil
	}
	if l.syncs {
		if err := l.File.SyncData(); err != nil && !l.shield.again(err, func() error {
			if err := l.rewrite(); err != nil {
				return err
			}
			return l.File.Sync()
		}) {
			return nil
		}
	}
	l.synced += int64(len(l.unsynced))
	l.unsynced = l.unsynced[:0]
	if cap(l.unsynced) > 1<<20 {
		l.unsynced = nil
	}
	return nil
}

func (l *shieldedLog) Stat() (info vfs.FileInfo, err error) {
	l.shield.insist(func() error { info, err = l.File.Stat(); return err })
	if info == nil {
		return sinkInfo{}, nil
	}
	return info, nil
}

// Close closes a log, which is synced by now. At the level process it is
// synced here: a log whose successor outlives a loss of power must be whole.
func (l *shieldedLog) Close() error {
	if !l.syncs && !l.shield.abandoned.Load() {
		l.File.SyncData()
	}
	l.File.Close()
	return nil
}

// A shieldedDir is a directory whose sync may not fail.
type shieldedDir struct {
	vfs.File
	shield *shield
	name   string
}

func (d *shieldedDir) Sync() error {
	if d.shield.abandoned.Load() {
		return nil
	}
	if err := d.File.Sync(); err != nil {
		d.shield.again(err, func() error {
			f, err := d.shield.FS.OpenDir(d.name)
			if err != nil {
				return err
			}
			d.File.Close()
			d.File = f
			return f.Sync()
		})
	}
	return nil
}

func (d *shieldedDir) SyncData() error { return d.Sync() }

// A shieldedTable is a table that is being written.
type shieldedTable struct {
	vfs.File
	shield *shield
}

func (t *shieldedTable) do(op func() error) error {
	if t.shield.abandoned.Load() {
		return nil
	}
	if err := op(); err != nil {
		return t.shield.tableError(err)
	}
	return nil
}

func (t *shieldedTable) Write(p []byte) (int, error) {
	if err := t.do(func() error { _, err := t.File.Write(p); return err }); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *shieldedTable) Sync() error     { return t.do(t.File.Sync) }
func (t *shieldedTable) SyncData() error { return t.do(t.File.SyncData) }

func (t *shieldedTable) SyncTo(length int64) (full bool, err error) {
	err = t.do(func() error { full, err = t.File.SyncTo(length); return err })
	return full, err
}

// A sink takes what is written after the shield gave up.
type sink struct{ vfs.File }

func (sink) Close() error                      { return nil }
func (sink) Read([]byte) (int, error)          { return 0, os.ErrClosed }
func (sink) ReadAt([]byte, int64) (int, error) { return 0, os.ErrClosed }
func (sink) Write(p []byte) (int, error)       { return len(p), nil }
func (sink) WriteAt(p []byte, _ int64) (int, error) {
	return len(p), nil
}
func (sink) Preallocate(int64, int64) error { return nil }
func (sink) Stat() (vfs.FileInfo, error)    { return sinkInfo{}, nil }
func (sink) Sync() error                    { return nil }
func (sink) SyncTo(int64) (bool, error)     { return false, nil }
func (sink) SyncData() error                { return nil }
func (sink) Prefetch(int64, int64) error    { return nil }
func (sink) Fd() uintptr                    { return vfs.InvalidFd }

type sinkInfo struct{ vfs.FileInfo }

func (sinkInfo) Size() int64 { return 0 }
