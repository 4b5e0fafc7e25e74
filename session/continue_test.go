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

// What was stopped, has failed or was interrupted is gone on from in a new
// session that has its text.
func TestContinue(t *testing.T) {
	for _, unit := range []chunker.Unit{chunker.Token, chunker.Line} {
		t.Run(string(unit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, up := memstore.New(), newModel(50, time.Second)
				m, stop := run(t, st, session.Options{Upstreams: up})
				spec := session.Spec{Source: upstreamSpec, Unit: unit, Metadata: map[string]string{"chat": "1"}, OnPause: session.Release}
				stopped, interrupted := create(t, m, spec), create(t, m, spec)
				time.Sleep(10500 * time.Millisecond)
				must(t, stopped.Stop(t.Context()))
				stop()
				m = startOn(t, st, session.Options{Upstreams: up})
				must(t, m.Recover(t.Context()))
				synctest.Wait()
				for _, old := range []*session.Session{stopped, interrupted} {
					id := old.Info().ID
					old, err := m.Get(t.Context(), me, id)
					must(t, err)
					before := join(readAll(t, old, 0))
					// Of what it continues again a beginning only.
					again, _, err := m.Continue(t.Context(), me, id, session.Names{})
					must(t, err)
					time.Sleep(5500 * time.Millisecond)
					must(t, again.Stop(t.Context()))
					s, _, err := m.Continue(t.Context(), me, again.Info().ID, session.Names{})
					must(t, err)
					frames := readAll(t, s, 0)
					if got := join(frames); got != up.text() {
						t.Errorf("text = %q, want %q", got, up.text())
					}
					if got := join(readAll(t, again, 0)); len(got) <= len(before) {
						t.Errorf("continued once: %q", got)
					}
					first := payload[struct{ Continues string }](t, frames[0])
					if info := s.Info(); first.Continues != again.Info().ID.String() || info.Spec.Continues != again.Info().ID || info.Spec.Metadata["chat"] != "1" || info.Spec.OnPause != session.Release {
						t.Errorf("session = %s, %+v", frames[0].Data, info.Spec)
					}
					given := join(readAll(t, again, 0))
					if got, want := payload[seam](t, frame(t, frames, session.KindSeam)), (seam{session.ByPrefill, int64(len(given))}); got != want {
						t.Errorf("seam = %+v, want %+v", got, want)
					}
					if _, end := endOf(t, frames); *end.Usage.Output != count(t, up.text()[len(given):]) || *end.Timings.FirstToken != 1000 {
						t.Errorf("usage = %d after %v ms, want %d: what was given is not counted", *end.Usage.Output, *end.Timings.FirstToken, count(t, up.text()[len(given):]))
					}
					sameChunks(t, frames, readAll(t, create(t, m, session.Spec{Source: text(up.text()), Unit: unit}), 0))
					if got := readAll(t, old, 0); join(got) != before {
						t.Error("the log that has ended was changed")
					}
				}
			})
		})
	}
}

// Paused while it still shows what it was given, it shows the rest of that first.
func TestContinuePausedWithin(t *testing.T) {
	for _, size := range []int{100, 30_000} {
		for _, policy := range []session.OnPause{session.Hold, session.Release} {
			synctest.Test(t, func(t *testing.T) {
				up := newModel(size+50, time.Millisecond)
				m := start(t, session.Options{Upstreams: up})
				old := create(t, m, session.Spec{Source: upstreamSpec, OnPause: policy, Unit: chunker.Delta})
				time.Sleep(time.Duration(size)*time.Millisecond + 500*time.Microsecond)
				must(t, old.Stop(t.Context()))
				s, _, err := m.Continue(t.Context(), me, old.Info().ID, session.Names{})
				must(t, err)
				for range 3 {
					must(t, s.Pause(t.Context()))
					synctest.Wait()
					must(t, s.Resume(t.Context()))
				}
				frames := readAll(t, s, 0)
				if got := join(frames); got != up.text() {
					t.Errorf("%d words, %s: the text has %d bytes, want %d", size, policy, len(got), len(up.text()))
				}
				given := len(join(readAll(t, old, 0)))
				for _, f := range frames {
					if f.Kind == session.KindSeam && payload[seam](t, f).Offset < int64(given) {
						t.Errorf("a seam within what was given: %s", f.Data)
					}
				}
				frame(t, frames, session.KindSeam)
			})
		}
	}
}

func TestContinueRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec})
		if _, _, err := m.Continue(t.Context(), me, s.Info().ID, session.Names{}); !errors.Is(err, session.ErrNotEnded) {
			t.Errorf("of one that runs: %v", err)
		}
		up.deltas <- session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{ID: "c"}}
		synctest.Wait()
		must(t, s.Stop(t.Context()))
		if _, _, err := m.Continue(t.Context(), me, s.Info().ID, session.Names{}); !errors.Is(err, session.ErrToolCall) {
			t.Errorf("of one that called a tool: %v", err)
		}
		if _, _, err := m.Continue(t.Context(), "you", s.Info().ID, session.Names{}); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("of another's: %v", err)
		}
		up = newScript()
		m = start(t, session.Options{Upstreams: up})
		s = create(t, m, session.Spec{Source: upstreamSpec})
		up.finish()
		readAll(t, s, 0)
		if _, _, err := m.Continue(t.Context(), me, s.Info().ID, session.Names{}); err == nil {
			t.Error("one that is done was continued")
		} else if _, ok := errors.AsType[*session.EndedError](err); !ok {
			t.Errorf("of one that is done: %v", err)
		}
		other := create(t, m, session.Spec{Source: push})
		must(t, other.Stop(t.Context()))
		if _, _, err := m.Continue(t.Context(), me, other.Info().ID, session.Names{}); !errors.Is(err, session.ErrNotUpstream) {
			t.Errorf("of a push session: %v", err)
		}
	})
}
