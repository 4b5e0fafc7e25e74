package contract_test

import (
	"context"
	"testing"
	"time"

	"github.com/r3labs/sse/v2"
)

// soon has a client try again at once.
type soon struct{}

func (soon) NextBackOff() time.Duration { return time.Millisecond }
func (soon) Reset()                     {}

// followR3labs follows to the end with github.com/r3labs/sse.
func followR3labs(t *testing.T, url string, into *transcript) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	client := sse.NewClient(url)
	client.Connection = http1
	client.ReconnectStrategy = soon{}
	err := client.SubscribeRawWithContext(ctx, func(e *sse.Event) {
		into.add(string(e.ID), string(e.Event), string(e.Data))
	})
	if err != nil {
		t.Errorf("subscription ended with %v", err)
	}
}

func TestR3labs(t *testing.T) {
	random := newRand(t)
	// Its keep-alives come between events that it cuts apart by empty lines.
	r := start(t, "--keep-alive=5ms")
	want := newText(random, 2000)
	for unit, rate := range map[string]int{"rune": 0, "token": 0, "line": 100} {
		var seen transcript
		followR3labs(t, r.url+r.textSession(want, unit, rate)+"/events", &seen)
		seen.check(t, want)
	}
}

// Between whole events only: it takes what a reset leaves of an event for an
// event, with whatever of the id has come.
func TestR3labsUnderResets(t *testing.T) {
	random := newRand(t)
	r := start(t)
	want := newText(random, 8000)
	c := newCutter(t, r, random, 60, 2000)
	c.between = true
	var seen transcript
	followR3labs(t, c.url+r.textSession(want, "rune", 2000)+"/events", &seen)
	seen.check(t, want)
	c.logged(t, &seen)
}
