package session_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
)

func fill(log *session.Log, after, last session.FrameID, terminal bool) {
	w := sessiontest.Frames(after, last)
	_, ends, _ := w.Check(after)
	log.Append(w, ends, terminal)
}

func TestLogAfter(t *testing.T) {
	log := session.NewLog(0, 1<<20)
	fill(log, 0, 4, false)
	fill(log, 4, 12, false)
	for after := range session.FrameID(12) {
		for _, size := range []int{0, 1, 30, 100, 1 << 20} {
			w, last, _, err := log.After(after, size)
			n, _, checkErr := w.Check(after)
			if err != nil || checkErr != nil || n != last || last <= after {
				t.Fatalf("After(%d, %d) = %q to %d, %v, %v", after, size, w, last, err, checkErr)
			}
			if len(w) > size && last != after+1 {
				t.Errorf("After(%d, %d) has %d bytes in %d frames", after, size, len(w), last-after)
			}
			next, _, _, _ := log.After(last, 0)
			if last < 12 && len(w)+len(next) <= size {
				t.Errorf("After(%d, %d) has %d bytes, but %d more would fit", after, size, len(w), len(next))
			}
			if want := sessiontest.Frames(after, last); !bytes.Equal(w, want) {
				t.Errorf("After(%d, %d) = %q, want %q", after, size, w, want)
			}
		}
	}
	_, _, _, err := log.After(13, 1)
	if ahead, ok := errors.AsType[*session.AheadError](err); !ok || ahead.Last != 12 {
		t.Errorf("After(13) = %v, want an AheadError", err)
	}
}

func TestLogWakes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*session.Log)
		want   error
	}{
		"append":   {func(l *session.Log) { fill(l, 2, 3, false) }, nil},
		"terminal": {func(l *session.Log) { fill(l, 2, 3, true) }, io.EOF},
		"broken":   {func(l *session.Log) { l.Break(session.ErrShutdown) }, session.ErrShutdown},
	} {
		log := session.NewLog(0, 1<<20)
		fill(log, 0, 2, false)
		_, _, more, _ := log.After(2, 1)
		test.change(log)
		select {
		case <-more:
		default:
			t.Errorf("%s: the reader was not woken", name)
		}
		if _, _, _, err := log.After(log.Last(), 1); err != test.want {
			t.Errorf("%s: After the last = %v, want %v", name, err, test.want)
		}
	}
}

// A log keeps as much as it was told, at most about twice, and always the last.
func TestLogIsBounded(t *testing.T) {
	for _, room := range []int{1, 100, 1000} {
		log := session.NewLog(0, room)
		for last := session.FrameID(0); last < 500; {
			n := last%7 + 1
			fill(log, last, last+n, false)
			last += n
			oldest := last - 1
			for oldest > 0 {
				if _, _, _, err := log.After(oldest-1, 1); err != nil {
					break
				}
				oldest--
			}
			kept := len(sessiontest.Frames(oldest, last))
			if kept > 2*room && oldest != last-1 {
				t.Fatalf("room %d: %d bytes are kept, from %d to %d", room, kept, oldest+1, last)
			}
			if oldest > 0 && len(sessiontest.Frames(oldest-1, last)) <= room {
				t.Fatalf("room %d: only %d bytes are kept, from %d to %d", room, kept, oldest+1, last)
			}
			w, _, _, err := log.After(oldest, 1<<20)
			if want := sessiontest.Frames(oldest, last); err != nil || !bytes.Equal(w, want) {
				t.Fatalf("room %d: After(%d) = %q, %v; want %q", room, oldest, w, err, want)
			}
		}
	}
}

// Slices that readers hold stay as they were while the log grows.
func TestLogSlicesStay(t *testing.T) {
	log := session.NewLog(0, 1<<20)
	fill(log, 0, 2, false)
	w, _, _, _ := log.After(0, 1<<20)
	want := bytes.Clone(w)
	for id := session.FrameID(2); id < 500; id++ {
		fill(log, id, id+1, false)
	}
	_ = append(w, "junk"...)
	if !bytes.Equal(w, want) {
		t.Errorf("the slice became %q, want %q", w, want)
	}
	if got, _, _, _ := log.After(0, 1<<20); !bytes.Equal(got, sessiontest.Frames(0, 500)) {
		t.Error("appending to a slice changed the log")
	}
}

func BenchmarkLogAppend(b *testing.B) {
	b.ReportAllocs()
	w := sessiontest.Frames(0, 1)
	ends := []uint32{uint32(len(w))}
	log := session.NewLog(0, 1<<20)
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			log = session.NewLog(0, 1<<20)
		}
		log.Append(w, ends, false)
	}
}

func BenchmarkLogReplay2000(b *testing.B) {
	b.ReportAllocs()
	log := session.NewLog(0, 1<<20)
	fill(log, 0, 2000, true)
	for b.Loop() {
		for at := session.FrameID(0); at < 2000; {
			_, at, _, _ = log.After(at, 64<<10)
		}
	}
}
