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

type seam struct {
	By     session.Continuation `json:"by"`
	Offset int64                `json:"offset"`
}

// Hold: the model writes on, nothing is shown, and after resume nothing is
// missing and nothing was asked twice.
func TestPauseHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(100, time.Second)
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec, OnPause: session.Hold})
		time.Sleep(10500 * time.Millisecond)
		must(t, s.Pause(t.Context()))
		last := s.Status().Last
		time.Sleep(time.Hour) // the model has long ended
		if got := s.Status(); got.Last != last || got.State != session.Paused || up.open.Load() != 0 || up.still.Load() != 1 {
			t.Errorf("after an hour: %+v, %d models run, %d suspended", got, up.open.Load(), up.still.Load())
		}
		must(t, s.Resume(t.Context()))
		frames := readAll(t, s, 0)
		if got := join(frames); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
		if kind, _ := endOf(t, frames); kind != session.KindDone || up.started.Load() != 1 {
			t.Errorf("end = %s, %d generations", kind, up.started.Load())
		}
	})
}

// Release: the model is let go at once, and what it says after resume joins.
func TestPauseReleases(t *testing.T) {
	for _, unit := range []chunker.Unit{chunker.Token, chunker.Grapheme, chunker.Word, chunker.Line, chunker.Delta} {
		t.Run(string(unit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := newModel(100, time.Second)
				m := start(t, session.Options{Upstreams: up})
				s := create(t, m, session.Spec{Source: upstreamSpec, Unit: unit, OnPause: session.Release})
				for range 3 {
					time.Sleep(10500 * time.Millisecond)
					if took := elapsed(func() { must(t, s.Pause(t.Context())); synctest.Wait() }); took != 0 || up.open.Load() != 0 {
						t.Fatalf("pause took %v, %d models run", took, up.open.Load())
					}
					time.Sleep(time.Hour)
					must(t, s.Resume(t.Context()))
				}
				frames := readAll(t, s, 0)
				if got := join(frames); got != up.text() {
					t.Errorf("text = %q, want %q", got, up.text())
				}
				for _, cause := range up.ended() {
					if !errors.Is(cause, session.ErrReleased) {
						t.Errorf("a model was left because: %v", cause)
					}
				}
				if got, want := payload[seam](t, frame(t, frames, session.KindSeam)), (seam{session.ByPrefill, int64(len("word0 ") * 10)}); got != want {
					t.Errorf("seam = %+v, want %+v", got, want)
				}
				whole := create(t, m, session.Spec{Source: text(up.text()), Unit: unit})
				if unit != chunker.Delta {
					sameChunks(t, frames, readAll(t, whole, 0))
				}
				_, end := endOf(t, frames)
				// A token that a seam cuts is one of both generations.
				if got, want := *end.Usage.Output, count(t, up.text()); end.Usage.Source != session.UsageEstimated || got < want || got > want+3 {
					t.Errorf("usage = %v %s, want %d estimated", got, end.Usage.Source, want)
				}
				if got := *end.Timings.BetweenTokens; got < 400 || got > 500 { // two tokens a second, and no pause in it
					t.Errorf("%v ms between tokens", got)
				}
				if got := *end.Timings.FirstToken; got != 1000 {
					t.Errorf("first token after %v ms, want 1000", got)
				}
			})
		})
	}
}

// sameChunks checks that two logs hold the same chunks.
func sameChunks(t *testing.T, got, want []session.Frame) {
	t.Helper()
	chunks := func(frames []session.Frame) (all []string) {
		for _, f := range frames {
			if f.Kind == session.KindText {
				all = append(all, f.Text())
			}
		}
		return all
	}
	g, w := chunks(got), chunks(want)
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("chunk %d = %q, want %q", i, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Errorf("%d chunks, want %d", len(g), len(w))
	}
}

// count returns how many tokens a text has.
func count(t *testing.T, text string) (n int64) {
	t.Helper()
	cut, err := chunker.New(chunker.Token, chunker.DefaultEncoding)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cut.Flush(cut.Push(nil, text)) {
		n += int64(c.Units)
	}
	return n
}

// Before the first token there is nothing to go on from, and no seam.
func TestReleaseBeforeTheFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(10, time.Second)
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec, OnPause: session.Release})
		must(t, s.Pause(t.Context()))
		must(t, s.Resume(t.Context()))
		must(t, s.Pause(t.Context()))
		synctest.Wait()
		if up.open.Load() != 0 {
			t.Error("a model runs while the session is paused")
		}
		must(t, s.Resume(t.Context()))
		frames := readAll(t, s, 0)
		if got := join(frames); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
		for _, f := range frames {
			if f.Kind == session.KindSeam {
				t.Errorf("a seam where nothing was: %s", f.Data)
			}
		}
	})
}

// A part of a tool call cannot be gone on from: it is held.
func TestToolCallsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec, OnPause: session.Release})
		up.deltas <- session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{ID: "c", Name: "f", Arguments: `{"a`}}
		synctest.Wait()
		must(t, s.Pause(t.Context()))
		up.deltas <- session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Arguments: `":1}`}}
		up.finish()
		must(t, s.Resume(t.Context()))
		if got, want := kinds(readAll(t, s, 0)), "session|tool_call|paused|resumed|tool_call|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

// What is held is bounded, for one session and for all of them together.
func TestHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(10_000, time.Millisecond)
		m := start(t, session.Options{Upstreams: up, MaxHold: 64 << 10, MaxTotalHold: 100 << 10})
		var all []*session.Session
		for range 4 {
			s := create(t, m, session.Spec{Source: upstreamSpec})
			must(t, s.Pause(t.Context()))
			all = append(all, s)
		}
		time.Sleep(time.Minute)
		if held := m.Use().Held; held < 90<<10 || held > 110<<10 {
			t.Errorf("%d bytes are held, want about 100 KiB", held)
		}
		for _, s := range all {
			must(t, s.Resume(t.Context()))
		}
		for _, s := range all {
			if got := join(readAll(t, s, 0)); got != up.text() {
				t.Errorf("text has %d bytes, want %d", len(got), len(up.text()))
			}
		}
		if held := m.Use().Held; held != 0 {
			t.Errorf("%d bytes are held by nobody", held)
		}
	})
}

// A session that was released and paused outlives a restart; resume goes on.
func TestReleasedOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := memstore.New(), newModel(40, time.Second)
		m, stop := run(t, st, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line, OnPause: session.Release})
		time.Sleep(10500 * time.Millisecond)
		must(t, s.Pause(t.Context()))
		synctest.Wait()
		if n := m.Unresumable(); n != 0 {
			t.Errorf("%d sessions would not outlive the process", n)
		}
		stop()
		m = startOn(t, st, session.Options{Upstreams: up})
		must(t, m.Recover(t.Context()))
		synctest.Wait()
		s, err := m.Get(t.Context(), me, s.Info().ID)
		must(t, err)
		if up.open.Load() != 0 || s.Status().State != session.Paused {
			t.Fatalf("%d models run, state %s", up.open.Load(), s.Status().State)
		}
		must(t, s.Resume(t.Context()))
		frames := readAll(t, s, 0)
		if got := join(frames); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
		if _, end := endOf(t, frames); *end.Usage.Output != count(t, up.text()) {
			t.Errorf("usage = %d tokens, want %d", *end.Usage.Output, count(t, up.text()))
		}
	})
}
