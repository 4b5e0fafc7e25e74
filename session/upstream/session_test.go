package upstream_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
)

// Stopping a session closes the provider's connection, so that the model stops.
func TestStopReachesProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		gone := make(chan time.Time, 1)
		set := newSet(t, upstream.Config{}, upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, stream(content(`"a"`)))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			gone <- time.Now()
		})
		log.Reset() // what it says of the configuration
		manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: set})
		if err != nil {
			t.Fatal(err)
		}
		go manager.Run(t.Context())
		s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
			Unit:   "rune",
			Source: session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if text := sessiontest.Text(t, s); text != "a" {
			t.Fatalf("text before the stop is %q, want %q", text, "a")
		}
		start := time.Now()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := (<-gone).Sub(start); took != 0 {
			t.Errorf("the provider saw it after %v, want at once", took)
		}
		if state := s.Status().State; state != session.Stopped {
			t.Errorf("state %s, want %s", state, session.Stopped)
		}
		if log.Len() > 0 {
			t.Errorf("a stop is nothing that went wrong, but was logged:\n%s", &log)
		}
	})
}

// A broken stream is a failed session with the provider's reason.
func TestFailureReachesSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: newSet(t, upstream.Config{}, upstream.Options{}, answer(stream(content(`"a\ud83d"`)), true))})
		if err != nil {
			t.Fatal(err)
		}
		go manager.Run(t.Context())
		s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
			Source: session.SourceSpec{Type: session.SourceUpstream, Model: "m", Messages: json.RawMessage(`[{}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		status := s.Status()
		if status.State != session.Failed || status.End.Error == nil || status.End.Error.Code != upstream.CodeTruncated {
			t.Errorf("status %+v, want failed with %s", status, upstream.CodeTruncated)
		}
		if text := sessiontest.Text(t, s); text != "a" {
			t.Errorf("text %q, want %q", text, "a")
		}
	})
}
