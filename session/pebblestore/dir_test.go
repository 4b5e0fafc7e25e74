package pebblestore_test

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// A noLock is a file system whose locks fail.
type noLock struct {
	vfs.FS
	err error
}

func (fs noLock) Lock(string) (io.Closer, error) { return nil, fs.err }

// Only a lock that is held says that another relay has the directory.
func TestLockFails(t *testing.T) {
	for _, test := range []struct {
		err    error
		locked bool
		says   string
	}{
		{syscall.EAGAIN, true, "in use by another relay"},
		{syscall.EWOULDBLOCK, true, "in use by another relay"},
		{errors.New("lock held by current process"), true, "in use by another relay"},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, false, "cannot be written by this user (permission denied): give its user read and write permission"},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}, false, "mount its file system for writing"},
		{syscall.ENOLCK, false, "cannot be locked"},
	} {
		_, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{}.OnFS(noLock{vfs.NewMem(), test.err}))
		if errors.Is(err, pebblestore.ErrLocked) != test.locked || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "data directory data") {
			t.Errorf("Open whose lock fails with %v = %v, want %q", test.err, err, test.says)
		}
	}
}

// A directory that cannot be used is refused with what to do.
func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{
		"":                         "has no name: give one",
		file:                       "give another directory",
		filepath.Join(file, "sub"): "give another directory",
	} {
		_, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "mkdir") || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open of %q = %v, want %q", dir, err, says)
		}
		t.Log(err)
	}
	if os.Getuid() == 0 {
		return // who may write everywhere
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{closed, filepath.Join(closed, "sub")} {
		_, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{})
		if err == nil || errors.Is(err, pebblestore.ErrLocked) || !strings.Contains(err.Error(), "by this user") {
			t.Errorf("Open of a directory that cannot be written = %v", err)
		}
		t.Log(err)
	}
}

// What stands in the data directory is for its owner alone, whatever mode the
// directory has, and was given what is in it.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		t.Helper()
		for name, want := range map[string]fs.FileMode{
			"": 0o755, "pebble": 0o700, "tokenrelay.format": 0o600, "tokenrelay.lock": 0o600,
			"tokenrelay.ballast": 0o600, "tokenrelay.commits": 0o600,
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Errorf("%s: %v", when, err)
			} else if got := info.Mode().Perm(); got != want {
				t.Errorf("%s: the mode of %q is %#o, want %#o", when, name, got, want)
			}
		}
	}
	st := open(t, dir, pebblestore.Options{})
	create(t, st, sessiontest.Record("a", created))
	look("when it is made")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"pebble": 0o755, "tokenrelay.format": 0o644, "tokenrelay.lock": 0o644, "tokenrelay.ballast": 0o644, "tokenrelay.commits": 0o666} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir, pebblestore.Options{})
	look("when it is opened again")
}

// A directory that is moved, removed or replaced is missed, until it is back.
func TestDirectoryGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	said := newBook()
	st := open(t, dir, pebblestore.Options{Logger: slog.New(said)}.QuickWatch())
	r := sessiontest.Record("a", created)
	create(t, st, r)
	gone := func() bool {
		err := st.Stat().Err
		return errors.Is(err, session.ErrStore) && strings.Contains(err.Error(), "the data directory "+dir+" is gone")
	}
	back := func() bool { return st.Stat().Err == nil }
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a directory that was moved is missed", gone)
	if _, err := st.Create(t.Context(), sessiontest.Record("a", created), sessiontest.Frames(0, 1)); !errors.Is(err, session.ErrStore) {
		t.Errorf("Create without the directory = %v, want ErrStore", err)
	}
	if err := st.Append(t.Context(), []session.Batch{ended(r, 1, 2)})[0]; !errors.Is(err, session.ErrStore) {
		t.Errorf("Append without the directory = %v, want ErrStore", err)
	}
	if err := os.CopyFS(dir, os.DirFS(away)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if !gone() {
		t.Errorf("Stat with a copy of the directory in its place = %v, want that it is gone", st.Stat().Err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the directory is there again", back)
	create(t, st, sessiontest.Record("a", created))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a directory that was removed is missed", gone)
	st.Close()
	if got := said.of("the data directory is gone or replaced: nothing is taken any more; put it back and start the relay again"); got != 2 {
		t.Errorf("it was logged %d times, want twice", got)
	}
}
