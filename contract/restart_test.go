package contract_test

import (
	"strings"
	"testing"
	"time"
)

// overRestart has a client read a session to its end, and kills the relay (-9)
// after some of its events and starts it again.
func overRestart(t *testing.T, read func(url string, into *transcript)) {
	random := newRand(t)
	r := start(t)
	want := newText(random, 6000)
	at, reached := uint64(20+random.IntN(1000)), make(chan struct{})
	seen := transcript{onEvent: func(id uint64) {
		if id == at {
			close(reached)
		}
	}}
	url := r.url + r.textSession(want, "rune", 2000) + "/events"
	done := make(chan struct{})
	go func() {
		defer close(done)
		read(url, &seen)
	}()
	select {
	case <-reached:
	case <-time.After(limit):
		t.Fatalf("event %d: not in %v", at, limit)
	}
	r.restart()
	<-done
	seen.check(t, want)
	t.Logf("killed after event %d of %d, %d lost, %d repeated", at, seen.events, seen.lost, seen.repeated)
}

func TestGoSSEOverRestart(t *testing.T) {
	overRestart(t, func(url string, into *transcript) {
		if err := followGoSSE(t, url, into); err == nil || !strings.Contains(err.Error(), "204") {
			t.Errorf("connection ended with %v, want 204", err)
		}
	})
}

// What is killed has written whole events only, which is all that this client can
// bear.
func TestR3labsOverRestart(t *testing.T) {
	overRestart(t, func(url string, into *transcript) { followR3labs(t, url, into) })
}
