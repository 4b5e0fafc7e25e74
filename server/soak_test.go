//go:build soak

package server_test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

const cutsWanted = 300_000

// What TestNobodyWaitsForAReader shows in virtual time, over real sockets and
// through a real minute. How late events come is printed, not judged.
func TestStalledReaderOverTCP(t *testing.T) {
	const readers, rate, seconds = 1000, 10, 75
	r := startTCP(t, session.Options{})
	defer r.stop()
	var all []*session.Session
	var following, attached sync.WaitGroup
	var mu sync.Mutex
	var lags [2][]time.Duration // before the stall, and in it
	var stalling atomic.Int32
	follow := func(s *session.Session, stalls bool) {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Error(err)
			attached.Done()
			return
		}
		defer c.Close()
		a, err := exchange(c, "GET", "GET /v1/sessions/"+s.Info().ID.String()+"/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		attached.Done()
		if err != nil {
			t.Error(err)
			return
		}
		last := 0
		for event, err := range upstream.Events(a.Body) {
			if err != nil {
				if !stalls {
					t.Errorf("a reader was cut after %d: %v", last, err)
				}
				return
			}
			now := time.Now()
			if id, _ := strconv.Atoi(event.ID); id != last+1 {
				t.Errorf("event %d came after %d", id, last)
			}
			last++
			sent, _, _ := strings.Cut(textOf(event), " ")
			ns, _ := strconv.ParseInt(sent, 10, 64)
			if stalls && last == 5*rate {
				stalling.Add(1)
				time.Sleep(time.Minute) // what is tested
			}
			if !stalls && ns > 0 && last%10 == 0 {
				mu.Lock()
				at := min(int(stalling.Load()), 1)
				lags[at] = append(lags[at], now.Sub(time.Unix(0, ns)))
				mu.Unlock()
			}
		}
	}
	for range 2 {
		s, err := r.manager.Create(t.Context(), session.Anonymous, session.Spec{Source: session.SourceSpec{Type: session.SourcePush}, Unit: chunker.Delta})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
		for i := range readers {
			attached.Add(1)
			following.Go(func() { follow(s, i == 0) })
		}
	}
	attached.Wait()
	var before int64
	for n := range rate * seconds {
		time.Sleep(time.Second / rate)
		for _, s := range all {
			// Long enough to fill a stalled reader's socket.
			text := fmt.Sprintf("%d %s", time.Now().UnixNano(), strings.Repeat("x", 4<<10))
			if _, _, err := s.Append(t.Context(), session.Append{Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		switch n {
		case 10 * rate:
			before = heap()
		case 60 * rate:
			logs := int64(2 * 50 * rate * (5 << 10) * 3) // the logs and the store's copy, with room to grow
			grown := heap() - before
			t.Logf("heap %.1f MiB with %d readers, %+.1f MiB in 50 s of a stall (the logs take up to %.1f)",
				float64(before)/(1<<20), 2*readers, float64(grown)/(1<<20), float64(logs)/(1<<20))
			if grown > logs {
				t.Errorf("the heap grew by %d bytes during the stall", grown)
			}
		}
	}
	for _, s := range all {
		s.Finish(t.Context())
	}
	following.Wait()
	for i, when := range []string{"before the stall", "during it"} {
		slices.Sort(lags[i])
		n := len(lags[i])
		t.Logf("append to reader %s: p50 %v, p99 %v, max %v of %d", when, lags[i][n/2], lags[i][n*99/100], lags[i][n-1], n)
	}
}
