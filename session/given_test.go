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
	"tokenrelay/session/sessiontest"
)

// What a source was given is there for its principal while its session lives and
// once it has ended, over a restart, and while nothing can be committed. Asking
// changes nothing about who runs the session.
func TestGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := &sessiontest.Faulty{Store: memstore.New()}, newModel(50, time.Second)
		m, stop := run(t, st, session.Options{Upstreams: up})
		asked := upstreamSpec
		asked.Dialect, asked.Parameters = session.DialectChat, json.RawMessage(`{"temperature":1}`)
		want := map[session.ID]session.SourceSpec{}
		for _, spec := range []session.SourceSpec{asked, text("abc"), {Type: session.SourceGenerate, Prompt: "p", Seed: 7, Length: 9}, {Type: session.SourcePush}} {
			want[create(t, m, session.Spec{Source: spec}).Info().ID] = spec
		}
		check := func(when string) {
			t.Helper()
			for id, want := range want {
				if got, err := m.Given(t.Context(), me, id); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s, given = %+v, %v; want %+v", when, got, err, want)
				}
				if _, err := m.Given(t.Context(), "somebody else", id); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("%s, for somebody else: %v, want ErrNotFound", when, err)
				}
			}
		}
		check("live")
		time.Sleep(time.Hour)
		check("after their ends")
		st.Fail(session.ErrStore)
		check("while nothing can be committed")
		st.Fail(nil)
		stop()
		m = startOn(t, st, session.Options{Upstreams: up})
		must(t, m.Recover(t.Context()))
		check("after a restart")
		for id, spec := range want {
			if spec.Type == session.SourcePush { // it has gone on
				s, err := m.Get(t.Context(), me, id)
				must(t, err)
				_, _, err = s.Append(t.Context(), session.Append{Text: "still its owner's"})
				must(t, err)
			}
			must(t, m.Delete(t.Context(), me, id))
			if _, err := m.Given(t.Context(), me, id); !session.IsNone(err) {
				t.Errorf("of one that was deleted: %v, want none", err)
			}
		}
		if _, err := m.Given(t.Context(), me, session.NewID()); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("of one that never was: %v, want ErrNotFound", err)
		}
	})
}
