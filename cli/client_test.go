package cli

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
)

// However often the connection breaks, and wherever, every event comes once
// and in order.
func TestFollowCut(t *testing.T) {
	if err := chunker.Load(); err != nil { // not in a bubble
		t.Fatal(err)
	}
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				network := newPipes()
				cuts := 0
				network.cut = func() int {
					cuts++
					if cuts > 200 {
						return -1
					}
					return random.IntN(2000)
				}
				manager := newRelay(t, network)
				s := newSession(t, manager, session.Spec{
					Rate:   []float64{0, 500}[seed%2],
					Source: session.SourceSpec{Type: session.SourceGenerate, Prompt: "Ebbe? 👩‍👩‍👧", Seed: seed, Length: 1000},
				})
				var text strings.Builder
				var notices []string
				next, kind := session.FrameID(1), session.Kind("none")
				err := network.client(t).follow(t.Context(), s.Info().ID.String(), 0, func(m message) {
					if m.id != next {
						t.Fatalf("event %d came, want %d", m.id, next)
					}
					next++
					kind = m.kind
					if kind == session.KindText {
						text.WriteString(session.Frame{Data: []byte(m.data)}.Text())
					}
				}, func(n string) { notices = append(notices, n) })
				if err != nil || kind != session.KindDone {
					t.Fatalf("ended with %q, error %v", kind, err)
				}
				if want := sessiontest.Text(t, s); text.String() != want || len(want) < 1000 {
					t.Errorf("text of %d bytes differs from the session's, %d bytes", text.Len(), len(want))
				}
				if last := s.Status().Last; next-1 != last {
					t.Errorf("saw %d events, want %d", next-1, last)
				}
				if cuts < 5 {
					t.Errorf("only %d connections: nothing was cut", cuts)
				}
				// Each loss is told once, and each return.
				for i, n := range notices {
					if want := []string{"connection lost at ", "back at "}[i%2]; !strings.HasPrefix(n, want) {
						t.Errorf("notice %d is %q, want %s…", i, n, want)
					}
				}
				if len(notices)%2 != 0 || len(notices) == 0 {
					t.Errorf("%d notices: %q", len(notices), notices)
				}
			})
		})
	}
}

// An answer is what one request of a scripted relay gets.
type scripted func(w http.ResponseWriter, r *http.Request)

// script serves one answer a request, then the last one again, and returns a
// client for it.
func script(t *testing.T, answers ...scripted) (c *client, asked func() []string) {
	network := newPipes()
	requests := make(chan string, 1000)
	n := 0
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Header.Get("Last-Event-ID")
		answer := answers[min(n, len(answers)-1)]
		n++
		answer(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(network)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return network.client(t), func() (all []string) {
		for len(requests) > 0 {
			all = append(all, <-requests)
		}
		return all
	}
}

func events(body string, cut bool) scripted {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, body)
		w.(http.Flusher).Flush()
		if cut {
			panic(http.ErrAbortHandler)
		}
	}
}

func silent(body string) scripted {
	return func(w http.ResponseWriter, r *http.Request) {
		events(body, false)(w, r)
		<-r.Context().Done()
	}
}

// keptAlive is silent for long, but for keep-alives.
func keptAlive(w http.ResponseWriter, r *http.Request) {
	events(first, false)(w, r)
	for range 10 {
		time.Sleep(40 * time.Second)
		io.WriteString(w, ": ka\n")
		w.(http.Flusher).Flush()
	}
	io.WriteString(w, second+terminal)
}

func refusal(status int, after string) scripted {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status":1,"code":"c%d","detail":"d"}`, status)
	}
}

const (
	first    = "retry: 1000\nid: 1\nevent: session\ndata: {}\n\n"
	second   = "id: 2\ndata: {\"text\":\"a\"}\n\n"
	terminal = "id: 3\nevent: done\ndata: {\"reason\":\"stop\"}\n\n"
)

func TestFollow(t *testing.T) {
	for _, test := range []struct {
		name    string
		answers []scripted
		asked   []string // Last-Event-ID of each request
		ids     []session.FrameID
		notices []string
		err     string
		took    [2]time.Duration // at least and at most
	}{
		{name: "whole", answers: []scripted{events(first+second+terminal, false)},
			asked: []string{"0"}, ids: []session.FrameID{1, 2, 3}},
		{name: "nothing left", answers: []scripted{func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }},
			asked: []string{"0"}},
		{name: "cut", answers: []scripted{events(first+second, true), events(terminal, false)},
			asked: []string{"0", "2"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 2: the line broke", "back at 3"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "cut in an event", answers: []scripted{events(first+second[:len(second)-1], true), events(second+terminal, false)},
			asked: []string{"0", "1"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 1: the line broke", "back at 2"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "orderly end is no end", answers: []scripted{events(first+second, false), events(terminal, false)},
			asked: []string{"0", "2"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 2: the line broke", "back at 3"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "end after cut", answers: []scripted{events(first+second, true), func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }},
			asked: []string{"0", "2"}, ids: []session.FrameID{1, 2},
			notices: []string{"connection lost at 2: the line broke"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "seen again", answers: []scripted{events(first+second, true), events(first+second+terminal, false)},
			asked: []string{"0", "2"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 2: the line broke", "back at 3"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "gap", answers: []scripted{events(first+terminal, false), events(second+terminal, false)},
			asked: []string{"0", "1"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 1: event 3 came after 1", "back at 2"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "pings", answers: []scripted{events("event: ping\ndata: {}\n\n"+first+"event: ping\ndata: {}\n\n"+second+": ka\n"+terminal, false)},
			asked: []string{"0"}, ids: []session.FrameID{1, 2, 3}},
		{name: "silence", answers: []scripted{silent(first), events(second+terminal, false)},
			asked: []string{"0", "1"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 1: nothing came for 45s", "back at 2"}, took: [2]time.Duration{45 * time.Second, 46 * time.Second}},
		{name: "kept alive", answers: []scripted{keptAlive},
			asked: []string{"0"}, ids: []session.FrameID{1, 2, 3}, took: [2]time.Duration{400 * time.Second, 400 * time.Second}},
		{name: "no answer", answers: []scripted{func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, events(first+second+terminal, false)},
			asked: []string{"0", "0"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 0: nothing came for 45s", "back at 1"}, took: [2]time.Duration{45 * time.Second, 46 * time.Second}},
		{name: "unknown", answers: []scripted{refusal(404, "")},
			asked: []string{"0"}, err: "the relay says: d (c404)"},
		{name: "gone while away", answers: []scripted{events(first, true), refusal(410, "")},
			asked: []string{"0", "1"}, ids: []session.FrameID{1}, err: "the relay says: d (c410)",
			notices: []string{"connection lost at 1: the line broke"}, took: [2]time.Duration{125 * time.Millisecond, 250 * time.Millisecond}},
		{name: "overloaded", answers: []scripted{refusal(503, "7"), refusal(429, ""), events(first+second+terminal, false)},
			asked: []string{"0", "0", "0"}, ids: []session.FrameID{1, 2, 3},
			notices: []string{"connection lost at 0: the relay says: d (c503)", "back at 1"}, took: [2]time.Duration{7*time.Second + 250*time.Millisecond, 7*time.Second + 500*time.Millisecond}},
		{name: "no relay", answers: []scripted{func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }},
			asked: []string{"0"}, err: `the relay says: "text/html" instead of a stream: it is no relay (no_stream)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, asked := script(t, test.answers...)
				start := time.Now()
				var ids []session.FrameID
				var notices []string
				err := c.follow(t.Context(), "x", 0, func(m message) { ids = append(ids, m.id) }, func(n string) { notices = append(notices, n) })
				if got := fmt.Sprint(err); err != nil && got != test.err || err == nil && test.err != "" {
					t.Errorf("error %v, want %q", err, test.err)
				}
				if got := asked(); !slices.Equal(got, test.asked) {
					t.Errorf("asked after %q, want %q", got, test.asked)
				}
				if !slices.Equal(ids, test.ids) {
					t.Errorf("events %d, want %d", ids, test.ids)
				}
				if !slices.Equal(notices, test.notices) {
					t.Errorf("notices\n got %q\nwant %q", notices, test.notices)
				}
				if took := time.Since(start); took < test.took[0] || took > test.took[1] {
					t.Errorf("it took %v, want %v", took, test.took)
				}
			})
		})
	}
}

// Waits grow to the longest and begin again once something came.
func TestFollowBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		note := func(answer scripted) scripted {
			return func(w http.ResponseWriter, r *http.Request) {
				at = append(at, time.Now())
				answer(w, r)
			}
		}
		var answers []scripted
		for range 10 {
			answers = append(answers, note(refusal(503, "")))
		}
		c, _ := script(t, append(answers, note(events(first, true)), note(events(second+terminal, false)))...)
		if err := c.follow(t.Context(), "x", 0, func(message) {}, func(string) {}); err != nil {
			t.Fatal(err)
		}
		want := minBackoff
		for i := 1; i < len(at); i++ {
			if i == len(at)-1 {
				want = minBackoff
			}
			if wait := at[i].Sub(at[i-1]); wait < want/2 || wait > want {
				t.Errorf("wait %d is %v, want %v to %v", i, wait, want/2, want)
			}
			want = min(2*want, maxBackoff)
		}
	})
}

// Wherever the line breaks under a create, it makes one session.
func TestCreateCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		manager := newRelay(t, network)
		body := map[string]any{"source": map[string]string{"type": "push"}}
		made := 0
		for size := 0; size < 1200; size += 7 {
			sizes := []int{size, size / 2, -1}
			var n atomic.Int32
			network.cut = func() int { return sizes[min(int(n.Add(1)), len(sizes))-1] }
			id, err := network.client(t).create(t.Context(), body)
			if err != nil {
				t.Fatalf("create over lines that break after %d bytes = %v", size, err)
			}
			if made++; manager.Use().Live != made {
				t.Fatalf("over lines that break after %d bytes %d sessions were made, want 1", size, manager.Use().Live-made+1)
			}
			if _, ok := session.ParseID(id); !ok {
				t.Fatalf("create = %q, want an id", id)
			}
		}
		// One that does not come back is given up on.
		network.cut = func() int { return 0 }
		began := time.Now()
		if _, err := network.client(t).create(t.Context(), body); err == nil || !strings.Contains(err.Error(), "Is there a relay") || time.Since(began) > 5*time.Second {
			t.Errorf("create over lines that break = %v after %v", err, time.Since(began))
		}
	})
}

// What no relay answers is told at once.
func TestCreateElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := func(answer string) func(net.Conn) {
			return func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, answer)
			}
		}
		for name, test := range map[string]struct {
			base   string
			serve  func(net.Conn) // nil: nobody listens
			says   string
			asked  int // connections
			waited bool
		}{
			"nobody":            {"http://localhost", nil, "Is there a relay", 1, false},
			"no address":        {"http://local host", nil, "invalid character", 0, false},
			"no scheme of ours": {"htp://localhost", nil, "unsupported protocol scheme", 0, false},
			"TLS for none":      {"https://localhost", func(c net.Conn) { c.Read(make([]byte, 4096)); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "HTTP response to HTTPS client", 1, false},
			"no HTTP":           {"http://localhost", says("SSH-2.0-x\r\n"), "malformed HTTP response", 1, false},
			"a page":            {"http://localhost", says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), "the relay's answer: invalid character", 1, false},
			"a refusal":         {"http://localhost", says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), "503", 1, false},
			"hangs up":          {"http://localhost", says(""), "EOF", 4, true},
			"half of a line":    {"http://localhost", says("HTTP/1."), "malformed HTTP response", 4, true},
			"half of a head":    {"http://localhost", says("HTTP/1.1 201 Created\r\nContent-Len"), "malformed MIME header", 4, true},
			"half of a body":    {"http://localhost", says("HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{"), "unexpected EOF", 4, true},
		} {
			network, asked := newPipes(), 0
			network.cut = func() int { asked++; return -1 }
			if test.serve == nil {
				network.Close()
			}
			go func() {
				for conn, err := network.Accept(); err == nil; conn, err = network.Accept() {
					test.serve(conn)
					conn.Close()
				}
			}()
			c := network.client(t)
			c.base = test.base
			began := time.Now()
			_, err := c.create(t.Context(), nil)
			network.Close()
			if err == nil || !strings.Contains(err.Error(), test.says) || asked != test.asked || time.Since(began) > 0 != test.waited {
				t.Errorf("%s: %v after %d connections and %v, want %s after %d", name, err, asked, time.Since(began), test.says, test.asked)
			}
		}
	})
}
