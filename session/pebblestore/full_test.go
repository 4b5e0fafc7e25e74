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

// A file system that is really full: sessions end, and later ones begin.
func TestFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("none", mount, "tmpfs", 0, "size=96m"); err != nil {
		t.Skip("mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "data")
	st := open(t, dir, pebblestore.Options{}.QuickWatch())
	r, other := sessiontest.Record("a", created), sessiontest.Record("a", created)
	create(t, st, r)
	create(t, st, other)
	filler, err := os.Create(filepath.Join(mount, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); ; {
		if _, err := filler.Write(block); err != nil {
			break // full
		}
	}
	filler.Close()
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
	if err := os.Remove(filler.Name()); err != nil {
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
