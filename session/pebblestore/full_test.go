//go:build linux

package pebblestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// fullFS mounts a file system of 96 MiB.
func fullFS(t *testing.T) (mount string) {
	t.Helper()
	mount = t.TempDir()
	if err := syscall.Mount("none", mount, "tmpfs", 0, "size=96m"); err != nil {
		t.Skip("mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return mount
}

// fillFS makes a file that leaves so many bytes of a file system, and returns
// its path.
func fillFS(t *testing.T, mount string, left uint64) (path string) {
	t.Helper()
	filler, err := os.Create(filepath.Join(mount, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for block := make([]byte, 64<<10); ; {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(mount, &fs); err != nil {
			t.Fatal(err)
		}
		if left > 0 && fs.Bavail*uint64(fs.Bsize) <= left {
			break
		}
		if _, err := filler.Write(block); err != nil {
			break // full
		}
	}
	return filler.Name()
}

// What is too large for a disk that is nearly full is refused, and the rest
// goes on.
func TestLargeCommitOnFullFileSystem(t *testing.T) {
	mount := fullFS(t)
	dir := filepath.Join(mount, "data")
	st := open(t, dir, pebblestore.Options{}.QuickWatch())
	large, small, ends := sessiontest.Record("a", created), sessiontest.Record("a", created), sessiontest.Record("a", created)
	for _, r := range []session.Record{large, small, ends} {
		create(t, st, r)
	}
	random := randomSource()
	frames := randomFrames(random, 1, 51, 200<<10)
	try := func(when string, want ...error) {
		t.Helper()
		b := batch(large, 1, 51)
		b.Frames = frames
		last := holds(t, st, small.Info.ID)
		began := time.Now()
		errs := st.Append(t.Context(), []session.Batch{b, batch(small, last, last+1)})
		for i := range want {
			if !errors.Is(errs[i], want[i]) {
				t.Errorf("%s: batch %d = %v after %v, want %v", when, i, errs[i], time.Since(began), want[i])
			}
		}
		r := sessiontest.Record("a", created)
		r.Info.Spec.Source.Text = string(frames[:4<<20])
		if _, err := st.Create(t.Context(), r, sessiontest.Frames(0, 1)); !errors.Is(err, session.ErrNoSpace) {
			t.Errorf("%s: Create of a large session = %v, want ErrNoSpace", when, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "tokenrelay.ballast")); err != nil {
			t.Errorf("%s: the ballast: %v", when, err)
		}
	}
	fillFS(t, mount, 17<<20)
	try("17 MiB are left", session.ErrNoSpace, nil)
	filler := fillFS(t, mount, 0)
	try("nothing is left", session.ErrNoSpace, session.ErrNoSpace)
	appendOne(t, st, ended(ends, 1, 2))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room again", func() bool { return st.Stat().Err == nil })
	b := batch(large, 1, 51)
	b.Frames = frames
	appendOne(t, st, b)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, dir, pebblestore.Options{})
	if got, err := st.Read(t.Context(), large.Info.ID, 1, 1<<30); err != nil || string(got) != string(frames) {
		t.Errorf("Read = %d bytes, %v; want %d", len(got), err, len(frames))
	}
	for _, r := range []session.Record{small, ends} {
		if got := holds(t, st, r.Info.ID); got != 2 {
			t.Errorf("a session holds %d frames, want 2", got)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file system that is really full: sessions end, and later ones begin.
func TestFullFileSystem(t *testing.T) {
	mount := fullFS(t)
	dir := filepath.Join(mount, "data")
	st := open(t, dir, pebblestore.Options{}.QuickWatch())
	r, other := sessiontest.Record("a", created), sessiontest.Record("a", created)
	create(t, st, r)
	create(t, st, other)
	filler := fillFS(t, mount, 0)
	random := randomSource()
	last := session.FrameID(1)
	var frames []session.Wire
	for deadline := time.Now().Add(20 * time.Second); ; {
		b := batch(r, last, last+50)
		b.Frames = randomFrames(random, last, last+50, 1000)
		err := st.Append(t.Context(), []session.Batch{b})[0]
		if errors.Is(err, session.ErrNoSpace) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("Append = %v, want ErrNoSpace in the end", err)
		}
		frames, last = append(frames, b.Frames), b.Last
	}
	if !errors.Is(st.Stat().Err, session.ErrNoSpace) {
		t.Errorf("Stat = %v, want ErrNoSpace", st.Stat().Err)
	}
	appendOne(t, st, ended(r, last, last+1))
	if got, err := st.Load(t.Context(), r.Info.ID); err != nil || got.State != session.Done {
		t.Errorf("Load = %v, %v; want done", got.State, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room again", func() bool { return st.Stat().Err == nil })
	appendOne(t, st, batch(other, 1, 9))
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, dir, pebblestore.Options{})
	want := sessiontest.Frames(0, 1)
	for _, w := range frames {
		want = append(want, w...)
	}
	want = append(want, sessiontest.Frames(last, last+1)...)
	if got, err := st.Read(t.Context(), r.Info.ID, 0, 1<<30); err != nil || string(got) != string(want) {
		t.Errorf("Read = %d bytes, %v; want %d bytes", len(got), err, len(want))
	}
	holds(t, st, other.Info.ID)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
