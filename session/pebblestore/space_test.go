package pebblestore_test

import (
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// onDisk returns how many bytes the files below dir with such names take, as
// du counts. Logs are kept to be used again, and are always about as many.
func onDisk(t testing.TB, dir, pattern string) (n int64) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if match, _ := filepath.Match(pattern, filepath.Base(path)); err != nil || !match {
			return nil // or a file that went meanwhile
		}
		if info, err := d.Info(); err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return n
}

// randomFrames returns frames whose text no compression makes smaller than
// three quarters.
func randomFrames(random *rand.ChaCha8, after, last session.FrameID, size int) session.Wire {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var w session.Wire
	raw := make([]byte, size)
	for id := after + 1; id <= last; id++ {
		random.Read(raw)
		data := append([]byte(nil), `{"text":"`...)
		for _, b := range raw {
			data = append(data, letters[b%64])
		}
		w = session.Frame{ID: id, Data: append(data, `"}`...)}.AppendWire(w)
	}
	return w
}

// fillStore makes sessions of frames in records of 8, several at a time, and
// ends them.
func fillStore(t testing.TB, st session.Store, sessions int, frames session.FrameID, size int) []session.Record {
	t.Helper()
	random := rand.NewChaCha8([32]byte{})
	var all []session.Record
	for len(all) < sessions {
		var some []session.Record
		for range min(100, sessions-len(all)) {
			r := sessiontest.Record("a", created.Add(time.Duration(len(all)+len(some))*time.Second))
			create(t, st, r)
			some = append(some, r)
		}
		for last := session.FrameID(1); last < frames; {
			next := min(frames, last+8)
			var batches []session.Batch
			for _, r := range some {
				b := batch(r, last, next)
				b.Frames = randomFrames(random, last, next, size)
				if next == frames {
					b.State = session.Done
				}
				batches = append(batches, b)
			}
			for _, err := range st.Append(t.Context(), batches) {
				if err != nil {
					t.Fatal(err)
				}
			}
			last = next
		}
		all = append(all, some...)
	}
	return all
}

// The room of sessions that expire comes back by itself.
func TestSpaceComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for compactions of a real store")
	}
	t.Parallel()
	dir := t.TempDir()
	st := open(t, dir, pebblestore.Options{Level: session.LevelProcess}.QuickWatch())
	all := fillStore(t, st, 300, 400, 84)
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	tables := onDisk(t, dir, "*.sst")
	eventually(t, "the store knows its size", func() bool { return st.Stat().Disk > tables })
	began := time.Now()
	for _, r := range all[:270] {
		if err := st.Remove(t.Context(), r.Info.ID, session.Expired); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("removed in %v", time.Since(began))
	left := tables/10 + 5<<20 // a few MiB wait for more
	if left > tables*3/4 {
		t.Fatalf("tables of %d bytes are too few to tell", tables)
	}
	eventually(t, "nine tenths of the sessions give their room back", func() bool {
		return onDisk(t, dir, "*.sst") < left // Stat counts logs too, which come and go
	})
	t.Logf("in tables %d of %d bytes after %v", onDisk(t, dir, "*.sst"), tables, time.Since(began))
	for _, r := range all[270:] {
		if w, err := st.Read(t.Context(), r.Info.ID, 0, 1<<30); err != nil {
			t.Fatal(err)
		} else if last, _, err := w.Check(0); err != nil || last != 400 {
			t.Errorf("a session that stays holds %d frames, %v; want 400", last, err)
		}
	}
}

func randomSource() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{}) }
