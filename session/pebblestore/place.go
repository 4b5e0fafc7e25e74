package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
)

// A place is where the data directory was when it was opened. Files that are
// open go on without it: nothing fails when it is removed, moved or mounted
// over, and nothing that is written then is found again.
type place struct {
	fs     vfs.FS // the disk itself, no shield
	dir    string
	logger *slog.Logger

	marker, db fs.FileInfo // nil if they could not be had
	gone       atomic.Bool
}

// stat gives what os.SameFile can compare, where there is such a thing.
func (p *place) stat(name string) (fs.FileInfo, error) {
	path := p.fs.PathJoin(p.dir, name)
	if p.fs == vfs.Default {
		return os.Stat(path)
	}
	return p.fs.Stat(path)
}

// remember takes what is there for what was opened.
func (p *place) remember() {
	p.marker, _ = p.stat(markerName)
	p.db, _ = p.stat(dbName)
}

// look finds out whether the directory is where it was.
func (p *place) look() {
	gone := p.misses(markerName, p.marker) || p.misses(dbName, p.db)
	if p.gone.Swap(gone) == gone {
		return
	}
	if gone {
		p.logger.Error("the data directory is gone or replaced: nothing is taken any more; put it back and start the relay again")
	} else {
		p.logger.Info("the data directory is there again")
	}
}

// misses reports whether another file has a name than was, or none. What cannot
// be told counts as there.
func (p *place) misses(name string, was fs.FileInfo) bool {
	if was == nil {
		return false
	}
	is, err := p.stat(name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
	}
	return p.fs == vfs.Default && !os.SameFile(was, is)
}

// lost is why nothing should be committed, or nil.
func (p *place) lost() error {
	if !p.gone.Load() {
		return nil
	}
	return fmt.Errorf("%w: the data directory %s is gone", session.ErrStore, p.dir)
}
