package server_test

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// A body of HTTP/1.0 ends with its connection, so that only a reset says that
// it is not whole. It takes real sockets to see one.
func TestHTTP10IsReset(t *testing.T) {
	r := startTCP(t, session.Options{})
	s, err := r.manager.Create(t.Context(), session.Anonymous, session.Spec{Source: session.SourceSpec{Type: session.SourcePush}, Unit: chunker.Rune})
	if err != nil {
		t.Fatal(err)
	}
	c := r.open(t, eventsPath(s), "HTTP/1.0")
	defer c.Close()
	first := make([]byte, 4096)
	for got := ""; !strings.Contains(got, "event: session"); {
		n, err := c.Read(first)
		if got += string(first[:n]); err != nil {
			t.Fatalf("stream ended with %v after %q", err, got)
		}
	}
	r.stop()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("stream that was broken off ended with %v, want a reset", err)
	}
}

// A reader that takes nothing cannot keep the relay from ending.
func TestStalledReaderDoesNotHoldShutdown(t *testing.T) {
	r := startTCP(t, session.Options{})
	s, err := r.manager.Create(t.Context(), session.Anonymous, session.Spec{
		Source: session.SourceSpec{Type: session.SourceText, Text: strings.Repeat("x", 200_000)}, Unit: chunker.Rune})
	if err != nil {
		t.Fatal(err)
	}
	c := r.open(t, eventsPath(s), "HTTP/1.1")
	defer c.Close()
	c.Read(make([]byte, 1)) // and no more
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 15*time.Second { // far below the write timeout
		t.Errorf("the end took %v", took)
	}
}
