package pebblestore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names in the data directory.
const (
	markerName = "tokenrelay.format"
	markerNew  = "tokenrelay.format.new" // it becomes the marker
	lockName   = "tokenrelay.lock"
	dbName     = "pebble"
)

// The marker is one line: the text, a number and, until the database is
// complete, a note.
const (
	markerText     = "tokenrelay data directory, format "
	markerFormat   = 1
	markerUnready  = ", being created"
	maxMarkerBytes = 200
)

const (
	ownerOnly   = 0o700 // mode of a new directory
	othersModes = 0o077
)

// lockDir keeps other processes out of dir.
func lockDir(under vfs.FS, dir string) (io.Closer, error) {
	lock, err := under.Lock(under.PathJoin(dir, lockName))
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EWOULDBLOCK), strings.Contains(err.Error(), "held by current process"):
		return nil, fmt.Errorf("the data directory %s is %w: stop it first, or give this one another directory", dir, ErrLocked)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // of the file itself
		return nil, unusable(dir, "written", err)
	}
	return nil, unusable(dir, "locked", err)
}

// inspect reports whether there is no complete store in dir yet, or why dir
// must not be used. It writes nothing.
func inspect(under vfs.FS, dir string) (fresh bool, err error) {
	names, err := under.List(dir)
	if err != nil {
		return false, unusable(dir, "read", err)
	}
	if !slices.Contains(names, markerName) {
		for _, name := range names {
			if name != lockName && name != markerNew {
				return false, fmt.Errorf("%s is no data directory of tokenrelay, and it is not empty (it holds %q): give an empty or a new directory", dir, name)
			}
		}
		return true, nil
	}
	line, err := readMarker(under, under.PathJoin(dir, markerName))
	if err != nil {
		return false, unusable(dir, "read", err)
	}
	number, unready := strings.CutSuffix(strings.TrimSuffix(line, "\n"), markerUnready)
	number, ours := strings.CutPrefix(number, markerText)
	format, err := strconv.Atoi(number)
	switch {
	case !ours || err != nil || format < 1:
		return false, fmt.Errorf("%s in %s is damaged: restore the directory from a backup, or give another one", markerName, dir)
	case format > markerFormat:
		return false, fmt.Errorf("the data directory %s has format %d, and this version of tokenrelay knows formats up to %d: use the version that wrote it, or a later one", dir, format, markerFormat)
	}
	return unready, nil
}

func readMarker(under vfs.FS, path string) (string, error) {
	f, err := under.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := io.ReadAll(io.LimitReader(f, maxMarkerBytes))
	return string(line), err
}

// writeMarker replaces the marker. It is on the disk when writeMarker returns.
func writeMarker(under vfs.FS, dir, note string) error {
	path := under.PathJoin(dir, markerNew)
	f, err := under.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(fmt.Appendf(nil, "%s%d%s\n", markerText, markerFormat, note))
	if err := cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	tighten(under, path) // Open tries again, and logs it
	if err := under.Rename(path, under.PathJoin(dir, markerName)); err != nil {
		return err
	}
	return syncDir(under, dir)
}

func syncDir(under vfs.FS, dir string) error {
	d, err := under.OpenDir(dir)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}

// prepare makes the ground for a fresh database, or looks that there is one.
func prepare(under vfs.FS, dir, path string, fresh bool) error {
	if !fresh {
		if _, err := under.Stat(path); err != nil {
			return damaged(dir, err)
		}
		return nil
	}
	// What an earlier attempt left holds nothing that was acknowledged.
	err := writeMarker(under, dir, markerUnready)
	if err == nil {
		err = under.RemoveAll(path)
	}
	if err == nil {
		err = under.MkdirAll(path, ownerOnly)
	}
	if err == nil {
		if err = under.Remove(under.PathJoin(dir, tallyName)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = syncDir(under, under.PathDir(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unusable(dir, "written", err)
	}
	return nil
}

// damaged says what to do about a directory whose database err keeps from being
// opened.
func damaged(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return unusable(dir, "read and written", err)
	}
	return fmt.Errorf("the data directory %s cannot be opened: %w; nothing was changed: repair its disk or restore it from a backup, or give another directory", dir, err)
}

// unusable says what to do about a directory that cannot be made, read, written
// or locked.
func unusable(dir, done string, err error) error {
	why := cause(err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the data directory %s cannot be %s by this user (%w): give its user read and write permission, or give another directory", dir, done, why)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the data directory %s cannot be %s (%w): mount its file system for writing, or give another directory", dir, done, why)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("the data directory %s cannot be %s (%w): it is a file, or lies in one: give another directory", dir, done, why)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the data directory %s cannot be %s (%w): it leads nowhere: give another directory", dir, done, why)
	}
	return fmt.Errorf("the data directory %s cannot be %s: %w", dir, done, why)
}

// tightenAll keeps other users from all that stands in the data directory. The
// directory itself may have been made for it, and keeps its mode.
func tightenAll(under vfs.FS, dir string) (err error) {
	for _, name := range []string{dbName, markerName, lockName, ballastName, tallyName} {
		if e := tighten(under, under.PathJoin(dir, name)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = cmp.Or(err, e)
		}
	}
	return err
}

// tighten keeps other users from a file or directory, where the file system is
// the machine's.
func tighten(under vfs.FS, path string) error {
	if under != vfs.Default {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode()&othersModes == 0 {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^othersModes)
}
