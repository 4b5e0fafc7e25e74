package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
)

// breaksAfter is an answer that takes its time, and breaks off then.
func breaksAfter(takes time.Duration) script {
	s := script{{Text: "Half of"}}
	for range takes / (50 * time.Millisecond) {
		s = append(s, session.Delta{Text: " an answer"})
	}
	return s
}

// opens is an upstream of one source for all.
type opens struct{ source session.Source }

func (o opens) Open(session.SourceSpec) (session.Source, error) { return o.source, nil }

// waiting are the creates that are answered with the whole.
var waiting = [...][2]string{
	{"/v1/chat/completions", completion("m", "")},
	{"/v1/responses", response("m", "")},
}

// An answer that fails after longer than a write may take is an error of the
// answer, and not of the line, which SDKs would have another made for.
func TestFailureIsAwaited(t *testing.T) {
	for _, create := range waiting {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{session: session.Options{Upstreams: opens{breaksAfter(server.DefaultWriteTimeout + 5*time.Second)}}})
			began := time.Now()
			a := r.ask("POST", create[0], create[1])
			body, err := io.ReadAll(a.Body)
			if took := time.Since(began); took < server.DefaultWriteTimeout {
				t.Fatalf("%s: answered after %v", create[0], took)
			}
			if a.StatusCode != http.StatusBadGateway || !strings.Contains(string(body), `"code":"upstream_rate_limited"`) || err != nil {
				t.Errorf("%s: %d %s (%v), want 502", create[0], a.StatusCode, body, err)
			}
			if got := a.Header.Get("X-Should-Retry"); got != "false" {
				t.Errorf("%s: X-Should-Retry = %q, want false", create[0], got)
			}
		})
	}
}

// Who waits while the relay shuts down is told that the answer goes on. To ask
// again with the same key is to wait for it; without one it would be to ask for
// another.
func TestShutdownIsAwaited(t *testing.T) {
	for _, create := range waiting {
		for _, key := range [...]string{"", "k"} {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, options{
					server:  server.Options{Drain: 40 * time.Second},
					session: session.Options{Upstreams: told{deltas: []session.Delta{says("Hel")}, hangs: true}},
				})
				header := "X: y"
				if key != "" {
					header = "Idempotency-Key: " + key
				}
				var stopping sync.WaitGroup
				stopping.Go(func() {
					time.Sleep(time.Second)
					r.stop()
				})
				defer stopping.Wait()
				a := r.ask("POST", create[0], create[1], header)
				body, err := io.ReadAll(a.Body)
				if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), `"code":"shutting_down"`) || !strings.Contains(string(body), "the session goes on") || err != nil {
					t.Errorf("%s: %d %s (%v), want 503 that says that the session goes on", create[0], a.StatusCode, body, err)
				}
				want := map[string]string{"": "false", "k": ""}[key]
				if got, after := a.Header.Get("X-Should-Retry"), a.Header.Get("Retry-After"); got != want || after == "" || sessionOf(a) == "" {
					t.Errorf("%s, key %q: X-Should-Retry, Retry-After, session = %q, %q, %q, want %q and both", create[0], key, got, after, sessionOf(a), want)
				}
			})
		}
	}
}

// A session that is deleted while its creator waits was stopped, or is not there
// any more if the log is looked for later: 404 and never 410, which OpenAI's
// clients do not know.
func TestDeletionIsAwaited(t *testing.T) {
	for _, create := range waiting {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{session: session.Options{MaxLog: 1, Upstreams: told{deltas: []session.Delta{says("Hel")}, hangs: true}}})
			var deleting sync.WaitGroup
			deleting.Go(func() {
				time.Sleep(time.Second)
				_, listed := r.do("GET", "/v1/sessions", "")
				_, id, _ := strings.Cut(listed, `"id":"`)
				id, _, _ = strings.Cut(id, `"`)
				if status, body := r.do("DELETE", "/v1/sessions/"+id, ""); status != http.StatusNoContent {
					t.Errorf("DELETE = %d %s", status, body)
				}
			})
			a := r.ask("POST", create[0], create[1])
			got := fmt.Sprint(a.StatusCode, " ", errorCode(a))
			if got != "404 session_not_found" && got != "502 stopped" && got != "200 " {
				t.Errorf("%s: %s, want an answer that was stopped, or none", create[0], got)
			}
			deleting.Wait()
		})
	}
}
