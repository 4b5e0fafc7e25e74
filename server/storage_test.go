package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/sessiontest"
)

// What clients are told while the store takes nothing; it keeps serving what
// is there, and goes on by itself.
func TestStorageFails(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{session.ErrNoSpace, http.StatusInsufficientStorage, "storage_full"},
		{fmt.Errorf("%w: the disk does not take writes", session.ErrStore), http.StatusServiceUnavailable, "unavailable"},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := &sessiontest.Faulty{Store: memstore.New(), Disk: 4711}
			r := start(t, options{store: st})
			ended := r.create(`{"source":{"type":"text","text":"abc"}}`)
			want := canonical(t, r.ask("GET", ended+"/events", "").Body)
			pushed := r.create(`{"source":{"type":"push"},"unit":"rune"}`)
			st.Fail(c.err)
			refused := func(method, path, body string) {
				t.Helper()
				a := r.ask(method, path, body)
				var problem struct{ Code, Detail string }
				if err := json.NewDecoder(a.Body).Decode(&problem); err != nil || a.StatusCode != c.status || problem.Code != c.code || a.Header.Get("Retry-After") == "" {
					t.Errorf("%s %s = %d %+v, %v, Retry-After %q; want %d %s", method, path, a.StatusCode, problem, err, a.Header.Get("Retry-After"), c.status, c.code)
				}
			}
			refused("GET", "/readyz", "")
			refused("POST", "/v1/sessions", `{"source":{"type":"push"}}`)
			if got := canonical(t, r.ask("GET", ended+"/events", "").Body); got != want {
				t.Errorf("an ended session reads %q, want %q", got, want)
			}
			if got, _ := r.scrape(); got[`tokenrelay_store_up{durability="memory"}`] != "0" || got["tokenrelay_store_bytes"] != "4711" {
				t.Errorf("store_up = %q, store_bytes = %q, want 0 and 4711", got[`tokenrelay_store_up{durability="memory"}`], got["tokenrelay_store_bytes"])
			}
			refused("POST", pushed+"/append", `{"text":"x"}`)
			st.Fail(nil)
			r.create(`{"source":{"type":"push"}}`)
			if status, body := r.do("GET", "/readyz", ""); status != http.StatusOK || body != `{"status":"ready","durability":"memory"}`+"\n" {
				t.Errorf("/readyz = %d %s", status, body)
			}
		})
	}
}

// A cursor into a session that was removed says why, whoever removed it, and a
// reader of one that leaves memory goes on from the store.
func TestGoneSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{MaxTotalBytes: 100_000, MaxLog: 1}})
		gone := func(path, code string) {
			t.Helper()
			status, body := r.do("GET", path+"/events", "", "Last-Event-ID: 2")
			if status != http.StatusGone || !strings.Contains(body, `"code":"`+code+`"`) {
				t.Errorf("events of a removed session = %d %s, want 410 %s", status, body, code)
			}
		}
		const spec = `{"source":{"type":"text","text":"abc"},"unit":"rune","retain":%q}`
		deleted := r.create(fmt.Sprintf(spec, "1h"))
		r.do("DELETE", deleted, "")
		gone(deleted, "session_deleted")
		expired := r.create(fmt.Sprintf(spec, "10m"))
		kept := r.create(fmt.Sprintf(spec, "1h"))
		want := canonical(t, r.ask("GET", kept+"/events", "").Body)
		time.Sleep(11 * time.Minute)
		gone(expired, "session_expired")
		if got, _ := r.scrape(); got["tokenrelay_sessions_in_memory"] != "0" {
			t.Errorf("%s sessions in memory, want 0", got["tokenrelay_sessions_in_memory"])
		}
		for after, at := 0, 0; after < 5; after++ {
			if got := canonical(t, r.ask("GET", fmt.Sprintf("%s/events?after=%d", kept, after), "").Body); got != want[at:] {
				t.Errorf("after %d = %q, want %q", after, got, want[at:])
			}
			at += strings.Index(want[at:], "\n\n") + 2
		}
		if status, _ := r.do("GET", kept+"/events?after=5", ""); status != http.StatusNoContent {
			t.Errorf("after the last = %d, want 204", status)
		}
		r.create(`{"source":{"type":"text","text":"` + strings.Repeat("x", 50_000) + `"},"unit":"line"}`)
		synctest.Wait()
		gone(kept, "session_evicted")
	})
}

// The law of resumption over a restart: what a reader had and what it gets from
// the next process are the whole stream.
func TestResumeAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		r := start(t, options{store: st, server: server.Options{Drain: time.Millisecond}})
		path := r.create(`{"source":{"type":"generate","seed":5,"length":40},"rate":20}`)
		a := r.ask("GET", path+"/events", "")
		time.Sleep(2 * time.Second)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			r.stop()
		}()
		before, err := io.ReadAll(a.Body)
		if !isReset(err) {
			t.Fatalf("the stream ended with %v", err)
		}
		<-stopped
		r = start(t, options{store: st})
		had := split(strings.TrimPrefix(string(before), "retry: 1000\n"))
		rest := canonical(t, r.ask("GET", path+"/events", "", fmt.Sprintf("Last-Event-ID: %d", len(had))).Body)
		whole := canonical(t, r.ask("GET", path+"/events", "").Body)
		if got := strings.Join(had, "") + rest; got != whole || len(had) < 30 {
			t.Errorf("%d events before and the rest are %q, want %q", len(had), got, whole)
		}
	})
}

// A slowModel gives its text, and its end after a while.
type slowModel struct{ takes time.Duration }

func (m slowModel) Open(session.SourceSpec) (session.Source, error) { return m, nil }

func (m slowModel) Deltas(ctx context.Context, _ session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		if !yield(session.Delta{Text: "answer"}, nil) {
			return
		}
		select {
		case <-time.After(m.takes):
			yield(session.Delta{Kind: session.DeltaFinish, Reason: "stop"}, nil)
		case <-ctx.Done():
			yield(session.Delta{}, ctx.Err())
		}
	}
}

// A model's answer could not go on after a restart, so a relay that ends waits
// for it, even if nobody reads it, and no longer than for streams.
func TestDrainWaitsForModels(t *testing.T) {
	for takes, want := range map[time.Duration]struct {
		drained time.Duration
		state   session.State
	}{
		3 * time.Second: {3 * time.Second, session.Done},
		time.Minute:     {10 * time.Second, session.Running},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := memstore.New()
			r := start(t, options{store: st, session: session.Options{Upstreams: slowModel{takes}}})
			r.create(`{"source":{"type":"upstream","model":"m","messages":[]}}`)
			r.create(`{"source":{"type":"push"}}`) // goes on with the next start
			began := time.Now()
			r.stop()
			if took := time.Since(began).Truncate(time.Second); took != want.drained { // net/http looks twice a second
				t.Errorf("an answer of %v: drained for %v, want %v", takes, took, want.drained)
			}
			for record := range st.Records(t.Context()) {
				if record.Info.Spec.Source.Type == session.SourceUpstream && record.State != want.state {
					t.Errorf("an answer of %v is %s, want %s", takes, record.State, want.state)
				}
			}
		})
	}
}
