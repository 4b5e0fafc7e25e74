package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// A source whose answers live on is attached to again after every restart, at
// the next token; the log is that of a run without one.
func TestAttach(t *testing.T) {
	for _, unit := range chunker.Units() {
		for _, paused := range []bool{false, true} {
			t.Run(string(unit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st, up := memstore.New(), newModel(60, time.Second)
					up.cursors = true
					m, stop := run(t, st, session.Options{Upstreams: up})
					id := create(t, m, session.Spec{Source: upstreamSpec, Unit: unit}).Info().ID
					for range 5 {
						time.Sleep(7500 * time.Millisecond)
						synctest.Wait()
						if n := m.Unresumable(); n != 0 {
							t.Fatalf("%d sessions would not outlive the process", n)
						}
						if paused {
							s, err := m.Get(t.Context(), me, id)
							must(t, err)
							must(t, s.Pause(t.Context()))
							time.Sleep(3 * time.Second) // what comes now is held, and in no frame
						}
						stop()
						m, stop = run(t, st, session.Options{Upstreams: up})
						must(t, m.Recover(t.Context()))
						if paused {
							synctest.Wait()
							s, err := m.Get(t.Context(), me, id)
							must(t, err)
							must(t, s.Resume(t.Context()))
						}
					}
					defer stop()
					s, err := m.Get(t.Context(), me, id)
					must(t, err)
					frames := readAll(t, s, 0)
					if got := join(frames); got != up.text() {
						t.Errorf("text = %q, want %q", got, up.text())
					}
					if kind, _ := endOf(t, frames); kind != session.KindDone || up.started.Load() != 1 {
						t.Errorf("end = %s, %d generations", kind, up.started.Load())
					}
					if unit != chunker.Delta {
						sameChunks(t, frames, readAll(t, create(t, m, session.Spec{Source: text(up.text()), Unit: unit}), 0))
					}
					for _, cause := range up.ended() {
						if errors.Is(cause, session.ErrReleased) {
							t.Error("an answer that is wanted was let go")
						}
					}
				})
			})
		}
	}
}

// A provider that has the answer no more, or is not configured any more, leaves
// what came.
func TestAttachRefused(t *testing.T) {
	for code, up := range map[string]session.Opener{session.CodeNotContinuable: gone{}, session.CodeUpstreamRemoved: nil} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, first := memstore.New(), newModel(60, time.Second)
				first.cursors = true
				m, stop := run(t, st, session.Options{Upstreams: first})
				id := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line}).Info().ID
				time.Sleep(7500 * time.Millisecond)
				stop()
				m = startOn(t, st, session.Options{Upstreams: up})
				must(t, m.Recover(t.Context()))
				s, err := m.Get(t.Context(), me, id)
				must(t, err)
				frames := readAll(t, s, 0)
				kind, end := endOf(t, frames)
				if kind != session.KindInterrupted || end.Error.Code != code || join(frames) != first.text()[:len("word0 ")*7] {
					t.Errorf("%s, %+v", kinds(frames), end)
				}
			})
		})
	}
}
