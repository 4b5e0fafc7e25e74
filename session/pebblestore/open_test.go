package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// A lateLock is a file system on which something happens just before its first
// lock is taken.
type lateLock struct {
	vfs.FS
	before func()
}

func (fs *lateLock) Lock(name string) (io.Closer, error) {
	if before := fs.before; before != nil {
		fs.before = nil
		before()
	}
	return fs.FS.Lock(name)
}

func (fs *lateLock) Unwrap() vfs.FS { return fs.FS }

// Of two relays that are started on a new directory, the second finds what the
// first has kept, though it had found the directory empty.
func TestOpenLooksUnderTheLock(t *testing.T) {
	mem := vfs.NewMem()
	r := sessiontest.Record("a", created)
	fs := &lateLock{FS: mem, before: func() {
		st := open(t, "data", pebblestore.Options{}.Quick().OnFS(mem))
		create(t, st, r)
		appendOne(t, st, batch(r, 1, 9))
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(fs))
	if got := holds(t, st, r.Info.ID); got != 9 {
		t.Errorf("the session holds %d frames, want 9", got)
	}
}

var errEnough = errors.New("enough")

func TestOpenWithContextDone(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	mem := vfs.NewMem()
	if st, err := pebblestore.Open(ctx, "data", pebblestore.Options{}.OnFS(mem)); !errors.Is(err, errEnough) {
		t.Errorf("Open = %v, %v; want %v", st, err, errEnough)
	}
	if names, _ := mem.List(""); len(names) > 0 {
		t.Errorf("Open made %v", names)
	}
}

// Opening waits for a disk that fails, until its context is done, or until the
// disk is back.
func TestOpenWaits(t *testing.T) {
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprint("disk comes back: ", back), func(t *testing.T) {
			disk := &faults{FS: vfs.NewMem()}
			st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
			r := sessiontest.Record("a", created)
			create(t, st, r)
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			disk.setBefore(func(op, name string) error {
				if op == "write" && strings.HasPrefix(name, "MANIFEST") {
					return syscall.ENOSPC
				}
				return nil
			})
			said := newBook()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			opened := make(chan error, 1)
			go func() {
				var err error
				st, err = pebblestore.Open(ctx, "data", pebblestore.Options{Logger: slog.New(said)}.Quick().OnFS(disk))
				opened <- err
			}()
			const waits = "the disk of the store does not take writes: new sessions are refused, and those that write wait"
			eventually(t, "the log says what it waits for", func() bool { return said.of(waits) > 0 })
			select {
			case err := <-opened:
				t.Fatalf("Open = %v while the disk fails", err)
			case <-time.After(50 * time.Millisecond):
			}
			if got := said.of(waits); got != 1 {
				t.Errorf("%q was logged %d times, want once", waits, got)
			}
			if back {
				disk.setBefore(nil)
				if err := <-opened; err != nil {
					t.Fatal(err)
				}
			} else {
				cancel(errEnough)
				err := <-opened
				if !errors.Is(err, errEnough) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "data") {
					t.Errorf("Open = %v; want an error with %v, %v and the directory", err, errEnough, syscall.ENOSPC)
				}
				t.Log(err)
				disk.setBefore(nil)
				st = open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
			}
			holds(t, st, r.Info.ID)
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Wherever the disk begins to fail, an opening whose context is done then ends,
// and the next one finds all that was there.
func TestOpenGivesUpAnywhere(t *testing.T) {
	for _, fresh := range []bool{true, false} {
		t.Run(fmt.Sprint("fresh: ", fresh), func(t *testing.T) {
			t.Parallel()
			before := vfs.NewCrashableMem()
			r := sessiontest.Record("a", created)
			if !fresh {
				st := open(t, "data", pebblestore.Options{}.Quick().OnFS(before))
				create(t, st, r)
				appendOne(t, st, batch(r, 1, 9))
				if err := st.Flush(); err != nil {
					t.Fatal(err)
				}
				appendOne(t, st, batch(r, 9, 12))
				before = crash(before, 100, rand.New(rand.NewPCG(1, 1))) // it was not closed
			}
			gaveUp := 0
			for n, failed := int64(0), true; failed; n++ {
				mem := crash(before, 100, rand.New(rand.NewPCG(1, 1)))
				ctx, cancel := context.WithCancelCause(t.Context())
				var ops atomic.Int64
				disk := &faults{FS: mem, drop: true}
				disk.before = func(op, name string) error {
					if strings.HasSuffix(name, "ballast") || ops.Add(1) <= n {
						return nil
					}
					cancel(errEnough)
					return syscall.EIO
				}
				st, err := pebblestore.Open(ctx, "data", pebblestore.Options{}.Quick().OnFS(disk))
				failed = disk.hits.Load() > 0
				switch {
				case err == nil:
					if err := st.Close(); err != nil && !errors.Is(err, syscall.EIO) {
						t.Errorf("Close after %d operations = %v", n, err)
					}
				case errors.Is(err, errEnough):
					gaveUp++
				case !errors.Is(err, syscall.EIO):
					t.Errorf("Open that fails after %d operations = %v", n, err)
				}
				cancel(nil)
				for percent, left := range map[int]*vfs.MemFS{-1: mem, 0: crash(mem, 0, rand.New(rand.NewPCG(1, 1)))} {
					st, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{}.Quick().OnFS(left))
					if err != nil {
						t.Errorf("Open after one that failed after %d operations (%d) = %v", n, percent, err)
						continue
					}
					if fresh {
						create(t, st, r)
					} else if got := holds(t, st, r.Info.ID); got != 12 {
						t.Errorf("the session holds %d frames, want 12", got)
					}
					if err := st.Close(); err != nil {
						t.Error(err)
					}
				}
			}
			if gaveUp < 5 {
				t.Errorf("gave up at %d moments, want at least 5", gaveUp)
			}
			t.Logf("gave up at %d moments", gaveUp)
		})
	}
}

// A blockedLog is a handler whose log takes nothing until release is closed.
type blockedLog struct {
	*book
	release chan struct{}
}

func (l blockedLog) Handle(ctx context.Context, r slog.Record) error {
	<-l.release
	return l.book.Handle(ctx, r)
}

// A log that takes nothing stops nobody.
func TestBlockedLog(t *testing.T) {
	disk := &faults{FS: vfs.NewMem(), usage: &vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30}}
	said := blockedLog{newBook(), make(chan struct{})}
	release := sync.OnceFunc(func() { close(said.release) })
	defer release()
	st := open(t, "data", pebblestore.Options{Logger: slog.New(said)}.Quick().OnFS(disk))
	l := start(t, st, 1)
	for range 20 {
		disk.setBefore(func(string, string) error { return syscall.EIO })
		eventually(t, "health goes down", func() bool { return errors.Is(st.Stat().Err, syscall.EIO) })
		if _, err := st.Load(t.Context(), l.records[0].Info.ID); err != nil {
			t.Errorf("Load = %v", err)
		}
		disk.setBefore(nil)
		eventually(t, "health comes back", func() bool { return st.Stat().Err == nil })
	}
	down, _ := l.snapshot()
	eventually(t, "appends go on", func() bool {
		now, _ := l.snapshot()
		return now[0] > down[0]+5
	})
	l.wait()
	release()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if said.of("the disk of the store does not take writes: new sessions are refused, and those that write wait") == 0 {
		t.Error("what was said meanwhile is not in the log")
	}
}

// After a failure inside Pebble nothing is committed, and the log says so once.
func TestBroken(t *testing.T) {
	said := newBook()
	st := open(t, "data", pebblestore.Options{Logger: slog.New(said)}.Quick().OnFS(vfs.NewMem()))
	r := sessiontest.Record("a", created)
	create(t, st, r)
	broken := errors.New("broken")
	for range 2 {
		st.Break(broken)
	}
	_, createErr := st.Create(t.Context(), sessiontest.Record("a", created), sessiontest.Frames(0, 1))
	for name, err := range map[string]error{
		"Stat": st.Stat().Err, "Create": createErr, "Append": st.Append(t.Context(), []session.Batch{batch(r, 1, 2)})[0],
		"Remove": st.Remove(t.Context(), r.Info.ID, session.Deleted),
	} {
		if !errors.Is(err, broken) || !errors.Is(err, session.ErrStore) {
			t.Errorf("%s of a broken store = %v, want ErrStore with the cause", name, err)
		}
	}
	holds(t, st, r.Info.ID)
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if got := said.of("the store takes nothing until it is opened again"); got != 1 {
		t.Errorf("it was logged %d times, want once", got)
	}
}
