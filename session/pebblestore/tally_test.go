package pebblestore_test

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

const tallyPath = "data/tokenrelay.commits"

// lastLog returns the path of the last log in data.
func lastLog(t *testing.T, disk vfs.FS) string {
	t.Helper()
	names, err := disk.List("data/pebble")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if strings.HasSuffix(name, ".log") {
			return "data/pebble/" + name
		}
	}
	t.Fatal("there is no log")
	return ""
}

// contents returns the names and contents of all files below data but locks.
func contents(t *testing.T, disk *vfs.MemFS) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, dir := range []string{"data", "data/pebble"} {
		names, err := disk.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := disk.Stat(dir + "/" + name); err == nil && !info.IsDir() && !strings.Contains(strings.ToLower(name), "lock") {
				all[dir+"/"+name] = string(readAll(t, disk, dir+"/"+name))
			}
		}
	}
	return all
}

// A bit that flips in the middle of a log of large commits makes Pebble drop
// what is behind it without a word. The store does not.
func TestLostCommits(t *testing.T) {
	disk := vfs.NewCrashableMem()
	st := open(t, "data", pebblestore.Options{}.OnFS(disk))
	r := sessiontest.Record("a", created)
	create(t, st, r)
	random := randomSource()
	last := session.FrameID(1)
	name, written := "", 0 // of the last log, which may be longer: it was another before
	for ; written < 3<<20; last++ {
		if now := lastLog(t, disk); now != name {
			name, written = now, 0
		}
		b := batch(r, last, last+1)
		b.Frames = randomFrames(random, last, last+1, 100<<10)
		appendOne(t, st, b)
		written += len(b.Frames)
	}
	copied := func() *vfs.MemFS { return crash(disk, 100, rand.New(rand.NewPCG(1, 1))) }
	log := readAll(t, disk, name)
	if lastLog(t, disk) != name {
		t.Fatal("the last commit began another log")
	}
	silent := 0
	for _, percent := range []int{1, 10, 25, 50, 75, 90, 99} {
		spoilt := slices.Clone(log)
		spoilt[written*percent/100] ^= 1 << 3
		refused := copied()
		writeAll(t, refused, lastLog(t, refused), spoilt)
		before := contents(t, refused)
		st, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{}.OnFS(refused))
		if err == nil {
			st.Close()
			t.Errorf("Open with a bit flipped at %d %% = nil", percent)
			continue
		}
		if !strings.Contains(err.Error(), "restore it from a backup") || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("Open with a bit flipped at %d %% = %v", percent, err)
		}
		if after := contents(t, refused); !maps.Equal(after, before) {
			t.Errorf("Open with a bit flipped at %d %% changed what is there", percent)
		}
		if !strings.Contains(err.Error(), "has lost commits") {
			continue
		}
		if silent++; silent == 1 {
			t.Log(err)
		}
		// It goes on with what is left when it is told to.
		if err := refused.Remove(tallyPath); err != nil {
			t.Fatal(err)
		}
		left := open(t, "data", pebblestore.Options{}.OnFS(refused))
		if percent > 10 {
			got, err := left.Load(t.Context(), r.Info.ID)
			if err != nil {
				t.Fatal(err)
			}
			appendOne(t, left, batch(r, got.Last, got.Last+1))
		}
		if err := left.Close(); err != nil {
			t.Fatal(err)
		}
		open(t, "data", pebblestore.Options{}.OnFS(refused))
	}
	if silent == 0 {
		t.Error("Pebble noticed all of them: nothing was tested")
	}
	t.Logf("%d that Pebble does not notice", silent)

	for name, content := range map[string]string{"empty": "", "garbled": strings.Repeat("x", 24), "longer": string(readAll(t, disk, tallyPath)) + "x"} {
		other := copied()
		writeAll(t, other, tallyPath, []byte(content))
		st := open(t, "data", pebblestore.Options{}.OnFS(other))
		if got, err := st.Load(t.Context(), r.Info.ID); err != nil || got.Last != last {
			t.Errorf("with a tally that is %s: Load = last %d, %v; want %d", name, got.Last, err, last)
		}
		if got := len(readAll(t, other, tallyPath)); got < 24 {
			t.Errorf("with a tally that was %s: it has %d bytes now", name, got)
		}
	}
	if before, err := copied().List("data"); err != nil || !slices.Contains(before, "tokenrelay.commits") {
		t.Errorf("the data directory holds %v, %v", before, err)
	}
}

// A directory moves between the levels, and loses power at each: what must be
// there is, and what was lost at the level process does not keep it closed.
func TestLevelsTakeTurns(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			random := rand.New(rand.NewPCG(5, uint64(percent)))
			disk := vfs.NewCrashableMem()
			r := sessiontest.Record("a", created)
			said := newBook()
			lost, safe := 0, session.FrameID(0)
			for n := range 40 {
				level := levels[n/2%2]
				if n == 39 {
					level = session.LevelPower
				}
				st, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{Level: level, Logger: slog.New(said)}.Quick().OnFS(disk))
				if err != nil {
					t.Fatalf("Open %d, at the level %s = %v", n, level, err)
				}
				last := session.FrameID(1)
				if n == 0 {
					create(t, st, r)
				} else if last = holds(t, st, r.Info.ID); last < safe {
					t.Fatalf("Open %d, at the level %s: %d frames are there, want %d", n, level, last, safe)
				}
				safe = last // opening has made tables of it
				for range 5 {
					appendOne(t, st, batch(r, last, last+20))
					last += 20
				}
				if level == session.LevelPower {
					safe = last
				}
				st.NoteTally()
				disk = crash(disk, percent, random)
				st.Close()
			}
			const warned = "the last commits before a loss of power are missing, which the durability \"process\" allows"
			lost = said.of(warned)
			t.Logf("warned %d times", lost)
			if percent == 100 && lost > 0 {
				t.Errorf("it warned %d times, and nothing was lost", lost)
			}
			if percent == 0 && lost == 0 {
				t.Error("it never warned, though commits were lost")
			}
		})
	}
}
