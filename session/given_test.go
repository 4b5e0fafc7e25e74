package session_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// What a source was given is there once its session has ended, for its
// principal, and over a restart.
func TestGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := memstore.New(), newModel(50, time.Second)
		m, stop := run(t, st, session.Options{Upstreams: up})
		spec := upstreamSpec
		spec.Dialect, spec.Parameters = session.DialectChat, json.RawMessage(`{"temperature":1}`)
		asked, written := create(t, m, session.Spec{Source: spec}), create(t, m, session.Spec{Source: text("abc")})
		if _, err := m.Given(t.Context(), me, asked.Info().ID); err != session.ErrNotEnded {
			t.Errorf("of one that runs: %v, want ErrNotEnded", err)
		}
		time.Sleep(time.Hour)
		check := func() {
			t.Helper()
			for s, want := range map[*session.Session]session.SourceSpec{asked: spec, written: text("abc")} {
				if got, err := m.Given(t.Context(), me, s.Info().ID); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("given = %+v, %v; want %+v", got, err, want)
				}
				if _, err := m.Given(t.Context(), "somebody else", s.Info().ID); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("for somebody else: %v, want ErrNotFound", err)
				}
			}
		}
		check()
		must(t, written.Stop(t.Context())) // it is there as before
		stop()
		m = startOn(t, st, session.Options{Upstreams: up})
		must(t, m.Recover(t.Context()))
		check()
		must(t, m.Delete(t.Context(), me, asked.Info().ID))
		if _, err := m.Given(t.Context(), me, asked.Info().ID); err == nil {
			t.Error("of one that was deleted: no error")
		}
		if _, err := m.Given(t.Context(), me, session.NewID()); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("of one that never was: %v, want ErrNotFound", err)
		}
	})
}
