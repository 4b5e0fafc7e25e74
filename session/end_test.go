package session_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// However much a source says of its end, it fits into a frame.
func TestLongEnds(t *testing.T) {
	long := strings.Repeat("€\x01", 1<<20)
	for name, end := range map[string]func(up *script){
		"reason": func(up *script) {
			up.deltas <- session.Delta{Kind: session.DeltaFinish, Reason: long, ProviderReason: long}
		},
		"failure": func(up *script) { up.fail <- &session.Failure{Code: "x", Message: long} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := newScript()
				s := create(t, start(t, session.Options{Upstreams: up}), session.Spec{Source: upstreamSpec})
				end(up)
				frames := readAll(t, s, 0)
				if n := len(frames[len(frames)-1].AppendWire(nil)); n > session.MaxFrame {
					t.Errorf("the last frame has %d bytes", n)
				}
				endOf(t, frames)
			})
		})
	}
}

// What comes while Run ends is refused, and harms nobody.
func TestChangesWhileRunEnds(t *testing.T) {
	for range 50 {
		m, err := session.NewManager(memstore.New(), session.Options{})
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- m.Run(ctx) }()
		s := create(t, m, session.Spec{Source: push})
		var asking sync.WaitGroup
		over := make(chan struct{})
		for range 8 {
			asking.Go(func() {
				for {
					m.Delete(t.Context(), me, s.Info().ID)
					m.Create(t.Context(), me, session.Spec{Source: push})
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		stop()
		<-ran
		close(over)
		asking.Wait()
	}
}

// Where another generation goes on, the figures of the one before are over.
func TestSeamAfterLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &seamed{first: session.Delta{Kind: session.DeltaReasoning, Text: "Hm"}}
		s := create(t, start(t, session.Options{Upstreams: up}), session.Spec{Source: upstreamSpec, Unit: chunker.Rune, OnPause: session.Release})
		synctest.Wait()
		must(t, s.Pause(t.Context()))
		must(t, s.Resume(t.Context()))
		if got, want := kinds(readAll(t, s, 0)), "session|reasoning|reasoning|paused|resumed|seam|W|e|l|l|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}

		up = &seamed{first: session.Delta{Kind: session.DeltaUsage, Usage: session.Usage{Output: new(int64(3)), Source: session.UsageReported}}}
		s = create(t, start(t, session.Options{Upstreams: up}), session.Spec{Source: upstreamSpec, OnPause: session.Release})
		synctest.Wait()
		must(t, s.Pause(t.Context()))
		must(t, s.Resume(t.Context()))
		if _, end := endOf(t, readAll(t, s, 0)); end.Usage.Source != session.UsageEstimated || *end.Usage.Output != 1 {
			t.Errorf("usage = %d %s, want that of the second answer", *end.Usage.Output, end.Usage.Source)
		}
	})
}
