package upstream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Whoever takes no more ends the generation, however long it would go on.
func TestTakerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		source := open(t, newSet(t, upstream.Config{}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				io.WriteString(w, stream(content(`"a"`)))
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}))
		start := time.Now()
		for d, err := range source.Deltas(t.Context(), session.Position{}) {
			if got := show(d, err); got != "text a" {
				t.Errorf("got %q", got)
			}
			break
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it ended %v after it was left, want at once", took)
		}
		<-gone
	})
}

// Wherever a generation stands when its context ends, it ends at once with
// the cause, and so does its connection.
func TestContextEnds(t *testing.T) {
	cause := errors.New("a cause")
	for _, test := range []struct {
		name   string
		dial   dialFunc
		handle http.HandlerFunc
	}{
		{"connect", noDial, nil},
		{"request is not read", func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				time.Sleep(5 * time.Second)
				io.Copy(io.Discard, server) // until the client closes it
			}()
			return client, nil
		}, nil},
		{"no answer", nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"no token", nil, play(eventStream, "")},
		{"in an event", nil, play(eventStream, stream(content(`"a"`))+"data: {")},
		{"between tokens", nil, play(eventStream, stream(content(`"a"`)))},
		{"in the body of an error", nil, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"back-off", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := make(chan time.Time, 10)
				var o upstream.Options
				if test.dial != nil {
					o.Transport = dialing(test.dial)
					defer time.Sleep(noDialTime)
				}
				set := newSet(t, upstream.Config{}, o, func(w http.ResponseWriter, r *http.Request) {
					defer func() { closed <- time.Now() }()
					test.handle(w, r)
				})
				ctx, end := context.WithCancelCause(t.Context())
				began := time.Now()
				time.AfterFunc(6*time.Second, func() { end(cause) })
				var last error
				for _, err := range open(t, set).Deltas(ctx, session.Position{}) {
					last = err
				}
				if took := time.Since(began); last != cause || took != 6*time.Second {
					t.Errorf("ended with %v after %v, want %v after 6s", last, took, cause)
				}
				if test.dial == nil {
					if took := (<-closed).Sub(began); took > 6*time.Second {
						t.Errorf("the provider saw it after %v", took)
					}
				}
			})
		})
	}
}
