package pebblestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// tail is a store that was not closed, as the disk holds it.
type tail struct {
	disk *vfs.MemFS
	r    session.Record
	name string // of its last log
	log  []byte
	ends []session.FrameID // of the batches

	noTally bool // whether to open without it
}

// newTail makes a store whose log has a few commits of one session.
func newTail(t *testing.T, level session.Level) tail {
	disk := vfs.NewCrashableMem()
	st := open(t, "data", pebblestore.Options{Level: level}.Quick().OnFS(disk))
	torn := tail{r: sessiontest.Record("a", created), ends: []session.FrameID{1}}
	torn.r.Info.Spec = session.Spec{Unit: "word"} // short
	create(t, st, torn.r)
	last := session.FrameID(1)
	for n := range session.FrameID(5) {
		appendOne(t, st, batch(torn.r, last, last+n%3+1))
		last += n%3 + 1
		torn.ends = append(torn.ends, last)
	}
	torn.disk = crash(disk, 100, rand.New(rand.NewPCG(1, 1)))
	names, err := torn.disk.List("data/pebble")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			torn.name = path.Join("data/pebble", name)
		}
	}
	torn.log = readAll(t, torn.disk, torn.name)
	return torn
}

// open opens the store with other bytes in its last log. It returns the last
// frame, 0 if the session is not there, or why the store is refused.
func (torn tail) open(t *testing.T, level session.Level, log []byte) (session.FrameID, error) {
	t.Helper()
	disk := torn.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	writeAll(t, disk, torn.name, log)
	if torn.noTally {
		if err := disk.Remove("data/tokenrelay.commits"); err != nil {
			t.Fatal(err)
		}
	}
	st, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{Level: level}.Quick().OnFS(disk))
	if err != nil {
		return 0, err
	}
	defer st.Close()
	if _, err := st.Load(t.Context(), torn.r.Info.ID); errors.Is(err, session.ErrNotFound) {
		for r, err := range st.Records(t.Context()) {
			t.Errorf("Records yields %+v, %v, which Load does not find", r, err)
		}
		create(t, st, torn.r)
		return 0, nil
	}
	last := holds(t, st, torn.r.Info.ID)
	if !slices.Contains(torn.ends, last) {
		t.Errorf("frames end at %d, want the end of a batch: one of %v", last, torn.ends)
	}
	if page, err := st.List(t.Context(), "a", session.Cursor{}, 9); err != nil || len(page) != 1 {
		t.Errorf("List = %v, %v; want the session", page, err)
	}
	appendOne(t, st, batch(torn.r, last, last+1)) // it goes on
	if got := holds(t, st, torn.r.Info.ID); got != last+1 {
		t.Errorf("after one more frame the last is %d, want %d", got, last+1)
	}
	return last, nil
}

// A log that is cut anywhere holds whole commits up to there. It is refused
// where power does not cut it: before what was acknowledged.
func TestTornTail(t *testing.T) {
	for _, level := range levels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			torn := newTail(t, level)
			t.Logf("%d bytes", len(torn.log))
			if _, err := torn.open(t, level, torn.log[:len(torn.log)/2]); (err != nil) != (level == session.LevelPower) {
				t.Errorf("Open with half a log = %v; want an error at the level power", err)
			}
			torn.noTally = true
			previous, ends := session.FrameID(0), 0
			for n := range len(torn.log) + 1 {
				if n < len(torn.log) && (level != session.LevelPower || n < len(torn.log)*2/3) && n%8 > 0 {
					continue // all bytes of the last commits will do, at one level
				}
				last, err := torn.open(t, level, torn.log[:n])
				if err != nil {
					t.Fatalf("Open with %d bytes of %d in its log = %v", n, len(torn.log), err)
				}
				if last < previous {
					t.Fatalf("%d bytes of the log hold %d frames, and fewer bytes %d", n, last, previous)
				}
				if last > previous {
					ends++
				}
				previous = last
			}
			if previous != torn.ends[len(torn.ends)-1] || ends != len(torn.ends) {
				t.Errorf("the whole log holds %d frames in %d steps, want %d in %d", previous, ends, torn.ends[len(torn.ends)-1], len(torn.ends))
			}
		})
	}
}

// A log with wrong bytes is refused. At the level process it may hold whole
// commits before them instead.
func TestFlippedTail(t *testing.T) {
	for _, level := range levels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			torn := newTail(t, level)
			refused := 0
			for at := 0; at < len(torn.log); at += 11 {
				log := slices.Clone(torn.log)
				log[at] ^= 1 << (at % 8)
				last, err := torn.open(t, level, log)
				switch {
				case err != nil:
					refused++
					if !strings.Contains(err.Error(), "restore it from a backup") {
						t.Errorf("Open with byte %d of the log spoilt = %v", at, err)
					}
				case level == session.LevelPower && last < torn.ends[len(torn.ends)-1]:
					t.Errorf("with byte %d of %d of the log spoilt %d frames are there, and %d were acknowledged", at, len(torn.log), last, torn.ends[len(torn.ends)-1])
				case last == torn.ends[len(torn.ends)-1] && at < len(torn.log)-100:
					t.Errorf("with byte %d of %d of the log spoilt all is there", at, len(torn.log))
				}
			}
			t.Logf("%d of %d refused", refused, len(torn.log)/11)
		})
	}
}

// load appends to sessions from several goroutines until it is stopped. What
// it reports as acknowledged was so at that moment.
type load struct {
	records []session.Record
	acked   []atomic.Uint64 // last frame of each
	removed []session.Record
	gone    atomic.Int64 // how many of removed are, from the first
	stop    atomic.Bool
	done    sync.WaitGroup
}

const loadWriters = 3

// start begins a load of n sessions for each writer.
func start(t *testing.T, st *pebblestore.Store, n int) *load {
	l := &load{acked: make([]atomic.Uint64, n*loadWriters)}
	for range n * loadWriters {
		r := sessiontest.Record("a", created)
		create(t, st, r)
		l.acked[len(l.records)].Store(1)
		l.records = append(l.records, r)
	}
	for range 40 {
		r := sessiontest.Record("b", created)
		create(t, st, r)
		l.removed = append(l.removed, r)
	}
	for w := range loadWriters {
		l.done.Go(func() {
			for !l.stop.Load() {
				var batches []session.Batch
				for i := w; i < len(l.records); i += loadWriters {
					last := session.FrameID(l.acked[i].Load())
					batches = append(batches, batch(l.records[i], last, last+session.FrameID(1+i%4)))
				}
				for i, err := range st.Append(t.Context(), batches) {
					switch {
					case err == nil:
						l.acked[w+i*loadWriters].Store(uint64(batches[i].Last))
					case !errors.Is(err, session.ErrNoSpace) && !errors.Is(err, session.ErrStore):
						t.Errorf("Append = %v", err)
						return
					}
				}
			}
		})
	}
	return l
}

// snapshot returns what is acknowledged now.
func (l *load) snapshot() (acked []session.FrameID, gone int) {
	gone = int(l.gone.Load())
	for i := range l.acked {
		acked = append(acked, session.FrameID(l.acked[i].Load()))
	}
	return acked, gone
}

func (l *load) wait() {
	l.stop.Store(true)
	l.done.Wait()
}

// check looks that a store holds at least what was acknowledged, if it must,
// and nothing that is not whole.
func (l *load) check(t *testing.T, st *pebblestore.Store, acked []session.FrameID, gone int, all bool) {
	t.Helper()
	for i, r := range l.records {
		if _, err := st.Load(t.Context(), r.Info.ID); err != nil && !all {
			continue
		}
		if last := holds(t, st, r.Info.ID); all && last < acked[i] {
			t.Errorf("session %d holds %d frames, and %d were acknowledged", i, last, acked[i])
		}
	}
	for i, r := range l.removed[:gone] {
		_, err := st.Load(t.Context(), r.Info.ID)
		if _, ok := errors.AsType[*session.GoneError](err); all && !ok {
			t.Errorf("Load of removed session %d = %v, want gone", i, err)
		}
	}
}

// Whenever the power fails, or the process is killed, all that was
// acknowledged at the level is there, and nothing that is not whole.
func TestCrash(t *testing.T) {
	for _, test := range []struct {
		level   session.Level
		percent int  // of what was not synced is kept
		all     bool // whether all that was acknowledged must be there
	}{
		{session.LevelPower, 0, true},
		{session.LevelPower, 50, true},
		{session.LevelPower, 100, true},
		{session.LevelProcess, 100, true}, // the end of the process alone
		{session.LevelProcess, 0, false},
		{session.LevelProcess, 50, false},
	} {
		t.Run(fmt.Sprint(test.level, " ", test.percent), func(t *testing.T) {
			t.Parallel()
			type moment struct {
				disk  *vfs.MemFS
				acked []session.FrameID
				gone  int
			}
			var moments []moment
			random := rand.New(rand.NewPCG(3, uint64(test.percent)))
			disk := vfs.NewCrashableMem()
			st := open(t, "data", pebblestore.Options{Level: test.level}.Quick().OnFS(disk))
			l := start(t, st, 4)
			for i, r := range l.removed {
				if err := st.Remove(t.Context(), r.Info.ID, session.Expired); err != nil {
					t.Error(err)
				}
				l.gone.Store(int64(i + 1))
				if i%4 == 0 {
					acked, gone := l.snapshot()
					moments = append(moments, moment{crash(disk, test.percent, random), acked, gone})
				}
			}
			l.wait()
			for i, m := range moments {
				st, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{Level: test.level}.Quick().OnFS(m.disk))
				if err != nil {
					t.Errorf("Open after the crash at moment %d = %v", i, err)
					continue
				}
				l.check(t, st, m.acked, m.gone, test.all)
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
