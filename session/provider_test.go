package session_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// payloadsOf joins what frames carry of a provider's own.
func payloadsOf(frames []session.Frame) string {
	var all []string
	for _, f := range frames {
		if f.Kind == session.KindProvider {
			all = append(all, string(f.Data))
		}
	}
	return strings.Join(all, "")
}

// words is what a model with fields sends of its own with the words from a to b.
func words(a, b int) string {
	var all strings.Builder
	for ; a < b; a++ {
		fmt.Fprintf(&all, `{"word":%d}`, a)
	}
	return all.String()
}

// What a provider sends beside the text is in frames of its own, before the text
// that it came with, and the text is cut as if it were not there.
func TestProviderFrames(t *testing.T) {
	for _, unit := range chunker.Units() {
		synctest.Test(t, func(t *testing.T) {
			up := newModel(30, time.Second)
			up.fields = true
			m := start(t, session.Options{Upstreams: up})
			frames := readAll(t, create(t, m, session.Spec{Source: upstreamSpec, Unit: unit}), 0)
			if got := join(frames); got != up.text() {
				t.Errorf("%s: text = %q, want %q", unit, got, up.text())
			}
			if got, want := payloadsOf(frames), words(0, 30); got != want {
				t.Errorf("%s: provider's = %s, want %s", unit, got, want)
			}
			up.fields = false
			plain := readAll(t, create(t, m, session.Spec{Source: upstreamSpec, Unit: unit}), 0)
			sameChunks(t, frames, plain)
			_, end := endOf(t, frames)
			_, want := endOf(t, plain)
			if got, want := *end.Usage.Output, *want.Usage.Output; got != want {
				t.Errorf("%s: usage = %d, want %d", unit, got, want)
			}
			if unit == chunker.Delta && !strings.HasPrefix(kinds(frames), "session|provider|word0 |provider|word1 |") {
				t.Errorf("frames = %s, want each before its text", kinds(frames))
			}
		})
	}
}

// Held, they are shown after resume; of a generation that was released they stay,
// and those of the next follow.
func TestProviderFramesOverPauses(t *testing.T) {
	for _, policy := range []session.OnPause{session.Hold, session.Release} {
		for _, unit := range []chunker.Unit{chunker.Token, chunker.Delta} {
			synctest.Test(t, func(t *testing.T) {
				up := newModel(30, time.Second)
				up.fields = true
				m := start(t, session.Options{Upstreams: up})
				s := create(t, m, session.Spec{Source: upstreamSpec, Unit: unit, OnPause: policy})
				for range 2 {
					time.Sleep(5500 * time.Millisecond)
					must(t, s.Pause(t.Context()))
					time.Sleep(3 * time.Second)
					must(t, s.Resume(t.Context()))
				}
				frames := readAll(t, s, 0)
				if got := join(frames); got != up.text() {
					t.Errorf("%s, %s: text = %q, want %q", policy, unit, got, up.text())
				}
				if got, want := payloadsOf(frames), words(0, 30); got != want {
					t.Errorf("%s, %s: provider's = %s, want %s", policy, unit, got, want)
				}
			})
		}
	}
}

// After a restart the text goes on behind them as if they were not there, be it
// to end the session or to go on from what was released.
func TestProviderFramesOverRestarts(t *testing.T) {
	for _, unit := range chunker.Units() {
		for i := range 60 {
			at, released := 50+i/2, i%2 == 0 // within a long word
			synctest.Test(t, func(t *testing.T) {
				st, up := memstore.New(), newModel(0, time.Second)
				up.words, up.fields = pieces(mixed+strings.Repeat("unbelievable", 12)+mixed, 3), true
				all := len(up.words)
				var log bytes.Buffer
				options := session.Options{Upstreams: up, Logger: slog.New(slog.NewTextHandler(&log, nil))}
				m, stop := run(t, st, options)
				s := create(t, m, session.Spec{Source: upstreamSpec, Unit: unit, OnPause: session.Release})
				time.Sleep(time.Duration(at)*time.Second + 500*time.Millisecond)
				if released {
					must(t, s.Pause(t.Context()))
				}
				stop()
				s, err := restart(t, st, options).Get(t.Context(), me, s.Info().ID)
				must(t, err)
				text, own, end := strings.Join(up.words[:at], ""), words(0, at), session.KindInterrupted
				if released {
					must(t, s.Resume(t.Context()))
					text, own, end = up.text(), words(0, all), session.KindDone
				}
				frames := readAll(t, s, 0)
				if got := join(frames); got != text {
					t.Errorf("%s at %d, released %v: text = %q, want %q", unit, at, released, got, text)
				}
				if got := payloadsOf(frames); got != own {
					t.Errorf("%s at %d, released %v: provider's = %s, want %s", unit, at, released, got, own)
				}
				if kind, e := endOf(t, frames); kind != end {
					t.Errorf("%s at %d, released %v: end = %s %+v, want %s", unit, at, released, kind, e.Error, end)
				}
				synctest.Wait() // until the pump has told its end to the log
				if strings.Contains(log.String(), "cut anew") {
					t.Errorf("%s at %d: %s", unit, at, &log)
				}
			})
		}
	}
}

// What no frame can carry is left out, and only its size is logged.
func TestProviderFramesThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		up := newScript()
		m := start(t, session.Options{Upstreams: up, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		s := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line})
		up.text("It")
		for _, payload := range []string{
			"{\n\n\"a\": \"\u2028\"}", `{"secret`, "", "{\"secret\":\"\xff\"}",
			`{"secret":"` + strings.Repeat("x", session.MaxFrame) + `"}`,
		} {
			up.deltas <- session.Delta{Kind: session.DeltaProvider, Text: payload}
		}
		up.text(" is")
		up.finish()
		frames := readAll(t, s, 0)
		if got, want := kinds(frames), "session|provider|It is|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
		if got, want := payloadsOf(frames), `{"a":"\u2028"}`; got != want {
			t.Errorf("payload = %s, want %s", got, want)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "what a provider sent"); n != 4 || strings.Contains(log.String(), "secret") {
			t.Errorf("%d of 4 logged:\n%s", n, &log)
		}
	})
}

// They count for the limit of bytes.
func TestProviderFramesFillASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up, MaxBytes: 4 << 10})
		s := create(t, m, session.Spec{Source: upstreamSpec})
		for range 5 {
			up.deltas <- session.Delta{Kind: session.DeltaProvider, Text: `"` + strings.Repeat("x", 1<<10) + `"`}
		}
		if kind, end := endOf(t, readAll(t, s, 0)); kind != session.KindFailed || end.Error.Code != session.CodeSessionFull {
			t.Errorf("end = %s %+v, want failed with %s", kind, end, session.CodeSessionFull)
		}
	})
}
