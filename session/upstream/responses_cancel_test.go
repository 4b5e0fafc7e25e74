package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
)

// slowToCancel returns a set before a provider that never answers a cancel, and
// of whose one response no more than the beginning comes.
func slowToCancel(t *testing.T, limits upstream.Limits) *upstream.Set {
	p := &backgroundProvider{events: varied[:12]}
	p.write = func(_ int, w http.ResponseWriter, r *http.Request, body string) {
		play(eventStream, body)(w, r)
	}
	return newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true, Limits: limits}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cancel") {
			<-r.Context().Done()
			return
		}
		p.ServeHTTP(w, r)
	})
}

// A cancel that is not answered takes five seconds.
func TestCancelIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { end(session.ErrReleased) })
		start := time.Now()
		withCursors(open(t, slowToCancel(t, limits)).Deltas(ctx, session.Position{}))
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("it took %v, want the second until it was let go and 5s for the cancel", took)
		}
	})
}

// A provider that does not answer a cancel does not hold up who stops the
// session, and not for long who ends the relay.
func TestCancelHoldsUpNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: slowToCancel(t, limits)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		ran := make(chan time.Time)
		go func() {
			manager.Run(ctx)
			ran <- time.Now()
		}()
		s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
			Source: session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		start := time.Now()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 || s.Status().State != session.Stopped {
			t.Errorf("stopping it took %v and made it %s, want at once and %s", took, s.Status().State, session.Stopped)
		}
		end()
		if took := (<-ran).Sub(start); took > 5*time.Second {
			t.Errorf("the relay went on for %v, want the 5s of a cancel at most", took)
		}
	})
}

// While one answer is let go the next may be asked for: its clocks are its own.
func TestSuspendWhileAnotherIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := open(t, slowToCancel(t, limits))
		ctx, end := context.WithCancelCause(t.Context())
		first := make(chan struct{})
		go func() {
			defer close(first)
			withCursors(source.Deltas(ctx, session.Position{}))
		}()
		time.Sleep(time.Second)
		end(session.ErrReleased) // the cancel takes until the sixth second
		time.Sleep(time.Second)
		start := time.Now()
		time.AfterFunc(10*time.Second, func() { source.SetSuspended(true) })
		time.AfterFunc(10*time.Second+time.Hour, func() { source.SetSuspended(false) })
		var last string
		var took time.Duration
		for d, err := range source.Deltas(t.Context(), session.Position{}) {
			last, took = show(d, err), time.Since(start)
		}
		// Thirty seconds of silence, an hour of pause, and five for the cancel.
		if want := time.Hour + 35*time.Second; last != idle || took != want {
			t.Errorf("got %q after %v, want %q after %v", last, took, idle, want)
		}
		<-first
	})
}

// The time that our own cancel takes is none of the provider's.
func TestCancelStopsTheClock(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits upstream.Limits
	}{
		{"first token", upstream.Limits{FirstToken: 3 * time.Second}},
		{"total", upstream.Limits{Total: 3 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &backgroundProvider{events: numbered(created, said(`"a"`), completed)}
				p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
					if connection == 0 {
						body = stream(numbered(created, `{"type":"error","code":"server_error","message":"bad"}`)...)
					}
					io.WriteString(w, body)
				}
				set := newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true, Limits: test.limits}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/cancel") {
						time.Sleep(4 * time.Second)
					}
					p.ServeHTTP(w, r)
				})
				got := lines(withCursors(open(t, set).Deltas(t.Context(), session.Position{})))
				if want := []string{"text a", "usage 3 5 reported", "finish stop"}; !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		})
	}
}

// What a cancel is answered is read, so that the next request has its
// connection.
func TestCancelKeepsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied[:12]}
		p.write = func(_ int, w http.ResponseWriter, r *http.Request, body string) {
			play(eventStream, body)(w, r)
		}
		var dials atomic.Int64
		transport := piped(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/cancel") {
				io.WriteString(w, `{"id":"resp_1","status":"cancelled","output":"`+strings.Repeat("x", 8<<10)+`"}`)
				return
			}
			p.ServeHTTP(w, r)
		})
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, address)
		}
		set := newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true}, upstream.Options{Transport: transport}, nil)
		for range 2 {
			ctx, end := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { end(session.ErrReleased) })
			for _, err := range open(t, set).Deltas(ctx, session.Position{}) {
				if err != nil && !errors.Is(err, session.ErrReleased) {
					t.Error(err)
				}
			}
			synctest.Wait()
		}
		// The stream of each answer was broken off, and its connection with it.
		if got := dials.Load(); got != 3 {
			t.Errorf("%d connections for two answers and two cancels, want 3", got)
		}
	})
}
