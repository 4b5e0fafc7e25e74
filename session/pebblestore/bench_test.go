package pebblestore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

const (
	benchSessions = 2000
	perRecord     = 8  // frames
	payload       = 84 // bytes of a frame's text
)

// cpu returns the processor time of this process, in seconds.
func cpu() float64 {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e9
}

func percentile(took []time.Duration, p int) float64 {
	slices.Sort(took)
	return float64(took[(len(took)-1)*p/100]) / float64(time.Millisecond)
}

// floor returns the bytes a second that the plainest way of keeping runs of n
// bytes at a level reaches, and how long each takes: a write and a sync to a
// file, a write, or a copy.
func floor(b *testing.B, level session.Level, n int) (perSecond float64, took []time.Duration) {
	b.Helper()
	data := bytes.Repeat([]byte("x"), n)
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var kept []byte
	began := time.Now()
	for time.Since(began) < time.Second && len(took) < 1<<30/n {
		at := time.Now()
		switch level {
		case session.LevelMemory:
			if kept = append(kept, data...); len(kept) > 64<<20 {
				kept = nil
			}
		case session.LevelPower:
			_, err = f.Write(data)
			if err == nil {
				err = syscall.Fdatasync(int(f.Fd()))
			}
		default:
			_, err = f.Write(data)
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	return float64(n) * float64(len(took)) / time.Since(began).Seconds(), took
}

func benchStore(b *testing.B, level session.Level) session.Store {
	if level == session.LevelMemory {
		return memstore.New()
	}
	return open(b, b.TempDir(), pebblestore.Options{Level: level})
}

// Flat out: records of 8 frames of 2,000 sessions, so many a commit. floor/ is
// how often the plain file is faster for the same bytes.
func BenchmarkAppend(b *testing.B) {
	for _, level := range []session.Level{session.LevelPower, session.LevelProcess, session.LevelMemory} {
		for _, many := range []int{20, 500} {
			b.Run(fmt.Sprintf("%s/batches=%d", level, many), func(b *testing.B) {
				st := benchStore(b, level)
				var records []session.Record
				for range benchSessions {
					r := sessiontest.Record("a", created)
					create(b, st, r)
					records = append(records, r)
				}
				random := randomSource()
				last := session.FrameID(1)
				var frames session.Wire
				var took []time.Duration
				batches := make([]session.Batch, many)
				next, size := benchSessions, 0
				began, used := time.Now(), cpu()
				for b.Loop() {
					if next == benchSessions {
						if next = 0; frames != nil {
							last += perRecord
						}
						frames = randomFrames(random, last, last+perRecord, payload)
					}
					for i := range batches {
						batches[i] = session.Batch{ID: records[next+i].Info.ID, Token: 1, After: last, Last: last + perRecord, Frames: frames, State: session.Running}
					}
					next += many
					size = many * len(frames)
					at := time.Now()
					for _, err := range st.Append(b.Context(), batches) {
						if err != nil {
							b.Fatal(err)
						}
					}
					took = append(took, time.Since(at))
				}
				seconds, used := time.Since(began).Seconds(), cpu()-used
				events := float64(len(took) * many * perRecord)
				plain, plainTook := floor(b, level, size)
				b.ReportMetric(events/seconds, "events/s")
				b.ReportMetric(plain*events/(float64(size*len(took)))/(events/seconds), "floor/events")
				b.ReportMetric(used/events*1e6, "cpu-s/Mevents")
				b.ReportMetric(percentile(took, 50), "p50-ms")
				b.ReportMetric(percentile(took, 99), "p99-ms")
				b.ReportMetric(percentile(took, 50)/percentile(plainTook, 50), "p50/floor")
				b.ReportMetric(percentile(took, 99)/percentile(plainTook, 99), "p99/floor")
			})
		}
	}
}

// The 2,000 events past k, of a session among others.
func BenchmarkReplay(b *testing.B) {
	const frames = 4001
	for _, level := range []session.Level{session.LevelPower, session.LevelProcess, session.LevelMemory} {
		st := benchStore(b, level)
		all := fillStore(b, st, 50, frames, payload)
		if st, ok := st.(*pebblestore.Store); ok {
			if err := st.Flush(); err != nil {
				b.Fatal(err)
			}
		}
		for _, k := range []session.FrameID{0, 2001} {
			b.Run(fmt.Sprintf("%s/after=%d", level, k), func(b *testing.B) {
				b.ReportAllocs()
				n := 0
				size := 2000 * len(randomFrames(randomSource(), 9998, 9999, payload))
				var w session.Wire
				began := time.Now()
				for b.Loop() {
					var err error
					if w, err = st.Read(b.Context(), all[n%len(all)].Info.ID, k, size); err != nil {
						b.Fatal(err)
					}
					n++
				}
				each := time.Since(began) / time.Duration(n)
				path := filepath.Join(b.TempDir(), "floor")
				if err := os.WriteFile(path, w, 0o600); err != nil {
					b.Fatal(err)
				}
				began = time.Now()
				const reads = 500
				for range reads {
					if _, err := os.ReadFile(path); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(each)/float64(time.Since(began)/reads), "x-of-ReadFile")
				b.ReportMetric(float64(len(w)), "bytes")
			})
		}
	}
}

// A store of 1,000,000 events: how long it takes to open, after Close and
// after a kill, what it takes on the disk, and when nine tenths come back.
func BenchmarkMillion(b *testing.B) {
	for _, level := range []session.Level{session.LevelPower, session.LevelProcess} {
		b.Run(string(level), func(b *testing.B) { benchMillion(b, level) })
	}
}

func benchMillion(b *testing.B, level session.Level) {
	const sessions, frames = 1000, 1000
	dir := filepath.Join(b.TempDir(), "data")
	o := pebblestore.Options{Level: level}
	st := open(b, dir, o)
	began := time.Now()
	all := fillStore(b, st, sessions, frames, payload)
	filled := time.Since(began)
	killed := filepath.Join(b.TempDir(), "killed")
	for before := int64(-1); before != onDisk(b, dir, "*"); time.Sleep(300 * time.Millisecond) {
		before = onDisk(b, dir, "*") // until compactions rest: the copy is no moment
	}
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	open(b, killed, o)
	afterKill := time.Since(began)
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	n, opening := 0, time.Duration(0)
	for b.Loop() {
		began = time.Now()
		st = open(b, dir, o)
		opening += time.Since(began)
		n++
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(opening.Milliseconds())/float64(n), "open-ms")
	b.ReportMetric(float64(afterKill.Milliseconds()), "open-after-kill-ms")
	b.ReportMetric(filled.Seconds(), "fill-s")

	st = open(b, dir, o)
	began = time.Now()
	count := 0
	for _, err := range st.Records(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		count++
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/float64(count), "record-us")
	full, tables := onDisk(b, dir, "*"), onDisk(b, dir, "*.sst")
	b.ReportMetric(float64(full)/(sessions*frames), "disk-B/event")
	began = time.Now()
	for _, r := range all[:sessions*9/10] {
		if err := st.Remove(b.Context(), r.Info.ID, session.Expired); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/(sessions*9/10), "remove-us")
	back := time.Duration(-1)
	for time.Since(began) < 40*time.Second {
		if onDisk(b, dir, "*.sst") < tables/4 {
			back = time.Since(began)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.ReportMetric(back.Seconds(), "space-back-s")
	b.ReportMetric(float64(onDisk(b, dir, "*"))/float64(full), "left/full")
	b.ReportMetric(float64(onDisk(b, dir, "*.log"))/(1<<20), "logs-MiB")
}
