package contract_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tmaxmax/go-sse"
)

// followGoSSE follows to the end with github.com/tmaxmax/go-sse, and returns
// why that stopped.
func followGoSSE(t *testing.T, url string, into *transcript) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := sse.Client{HTTPClient: http1}
	connection := client.NewConnection(request)
	connection.SubscribeToAll(func(e sse.Event) { into.add(e.LastEventID, e.Type, e.Data) })
	return connection.Connect()
}

func TestGoSSE(t *testing.T) {
	random := newRand(t)
	r := start(t)
	want := newText(random, 4000)
	for _, unit := range []string{"rune", "grapheme", "token", "word", "line"} {
		var seen transcript
		err := followGoSSE(t, r.url+r.textSession(want, unit, 0)+"/events", &seen)
		seen.check(t, want)
		// It asks once more after the end, and takes 204 for a reason to go.
		if err == nil || !strings.Contains(err.Error(), "204") {
			t.Errorf("unit %s: connection ended with %v, want 204", unit, err)
		}
	}
}

func TestGoSSEUnderCuts(t *testing.T) {
	for name, rate := range map[string]int{"running": 2000, "ended": 0} {
		t.Run(name, func(t *testing.T) {
			random := newRand(t)
			r := start(t)
			want := newText(random, 8000)
			c := newCutter(t, r, random, 60, 2000)
			var seen transcript
			err := followGoSSE(t, c.url+r.textSession(want, "rune", rate)+"/events", &seen)
			if err == nil || !strings.Contains(err.Error(), "204") {
				t.Errorf("connection ended with %v, want 204", err)
			}
			seen.check(t, want)
			c.logged(t, &seen)
			if c.inEvent < 25 {
				t.Errorf("cuts in mid-event = %d, want at least 25", c.inEvent)
			}
		})
	}
}
