package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/upstream"
)

// A dialect is a protocol that shows sessions of any other.
type dialect struct {
	name string
	// stream is the path of the whole stream of a session.
	stream func(id string) string
	// after are the ways to ask for what follows the first k events, which is
	// one at least.
	after map[string]asking
	// keeps says that a reader keeps the text until its end.
	keeps bool
}

// An asking makes a request for what follows the first k events: a path, and a
// body or a header if they are not empty.
type asking func(id string, k int) (path, body, header string)

// lastEventID asks as EventSource does: the URL is that of the whole stream.
func lastEventID(stream func(id string) string) asking {
	return func(id string, k int) (string, string, string) {
		return stream(id), "", "Last-Event-ID: " + strconv.Itoa(k-1)
	}
}

func responseStream(id string) string { return "/v1/responses/resp_" + id + "?stream=true" }

func chatStream(id string) string { return "/v1/chat/completions/chatcmpl-" + id + "?stream=true" }

func uiStream(id string) string { return "/api/chat/" + id + "/stream" }

var dialects = []dialect{
	{"responses", responseStream, map[string]asking{
		"query": func(id string, k int) (string, string, string) {
			return fmt.Sprintf("%s&starting_after=%d", responseStream(id), k-1), "", ""
		},
		"header": lastEventID(responseStream),
		"body": func(id string, k int) (string, string, string) {
			return "/v1/responses/" + id, fmt.Sprintf(`{"stream":true,"starting_after":%d}`, k-1), ""
		},
	}, true},
	{"chat", chatStream, map[string]asking{
		"query": func(id string, k int) (string, string, string) {
			return fmt.Sprintf("%s&starting_after=%d", chatStream(id), k-1), "", ""
		},
		"header": lastEventID(chatStream),
	}, false},
	{"ui", uiStream, map[string]asking{
		"startIndex": func(id string, k int) (string, string, string) {
			return fmt.Sprintf("%s?startIndex=%d", uiStream(id), k), "", ""
		},
		"header": lastEventID(uiStream),
	}, false},
}

// resume asks for what follows the first k events of a session.
func (d dialect) resume(r *relay, way, id string, k int) answer {
	r.t.Helper()
	if k == 0 {
		return r.ask("GET", d.stream(id), "")
	}
	path, body, header := d.after[way](id, k)
	if header == "" {
		return r.ask("GET", path, body)
	}
	return r.ask("GET", path, body, header)
}

// whole returns the events of a session that has ended, and how many of them
// are numbered: the others are how a protocol ends its streams.
func (d dialect) whole(t *testing.T, w *world, id string) (events []string, numbered int) {
	t.Helper()
	events = split(canonical(t, w.ask("GET", d.stream(id), "").Body))
	for numbered < len(events) && strings.HasPrefix(events[numbered], fmt.Sprintf("id: %d\n", numbered)) {
		numbered++
	}
	if numbered < 2 || strings.Contains(strings.Join(events[numbered:], ""), "id: ") {
		t.Fatalf("%s: only %d of %d events are numbered from 0: %q", d.name, numbered, len(events), events)
	}
	return events, numbered
}

// checkResume compares what follows k with what the whole stream has there, for
// each k and each way.
func (d dialect) checkResume(t *testing.T, w *world, id string, events []string, numbered int) {
	t.Helper()
	whole := strings.Join(events, "")
	for way := range d.after {
		for k := 1; k <= numbered; k++ {
			a := d.resume(w.relay, way, id, k)
			got := canonical(t, a.Body)
			a.conn.Close()
			if k == numbered && a.StatusCode == http.StatusNoContent && got == "" {
				continue // which tells EventSource not to come back
			}
			if joined := strings.Join(events[:k], "") + got; a.StatusCode != http.StatusOK || joined != whole {
				t.Fatalf("%s by %s: %d, canonical[:%d] + resume(%d) = %q, want %q", d.name, way, a.StatusCode, k, k, joined, whole)
			}
		}
	}
}

// Law 1, for each projection of sessions that have ended.
func TestResumeLawOfProjections(t *testing.T) {
	seen := make(map[string]int)
	for _, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMemory, options{})
				id := l.create(w)
				w.lead(l, id)
				for _, d := range dialects {
					events, numbered := d.whole(t, w, id)
					d.checkResume(t, w, id, events, numbered)
				}
				follow(w.ask("GET", "/v1/sessions/"+id+"/events", "").Body, func(e upstream.Event) bool {
					seen[e.Name]++
					return false
				})
			})
		})
	}
	// What the lives are there for.
	for _, kind := range []string{"session", "", "reasoning", "tool_call", "provider", "paused", "resumed", "seam", "message", "done", "stopped", "failed"} {
		if seen[kind] == 0 {
			t.Errorf("no life has an event %q", kind)
		}
	}
}

// nextEvent reads one event as it stands, without what is none. At the end it
// returns what is left, and how the body ended.
func nextEvent(r *bufio.Reader) (string, error) {
	var event strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "retry: ") && !strings.HasPrefix(line, ":") {
			event.WriteString(line)
		}
		if err != nil || line == "\n" {
			return event.String(), err
		}
	}
}

// readInPieces reads a session that may still go on, and leaves and comes back
// behind every few events.
func (d dialect) readInPieces(w *world, way, id string, rnd *rand.Rand) (events []string) {
	for {
		a := d.resume(w.relay, way, id, len(events))
		if a.StatusCode == http.StatusNoContent {
			return events
		}
		r := bufio.NewReader(a.Body)
		for range 1 + rnd.IntN(7) {
			event, err := nextEvent(r)
			if err == io.EOF {
				return events
			}
			if err != nil {
				w.relay.t.Errorf("%s by %s: behind %d events: %v", d.name, way, len(events), err)
				return events
			}
			if strings.HasPrefix(event, "id: ") {
				events = append(events, event)
			}
		}
		a.conn.Close()
	}
}

// The same while they go on.
func TestResumeLawOfProjectionsLive(t *testing.T) {
	cuts := 0
	for i, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMemory, options{})
				id := l.create(w)
				type reader struct {
					dialect
					way string
					got []string
				}
				var readers []*reader
				var reading sync.WaitGroup
				for _, d := range dialects {
					for way := range d.after {
						for n := range 3 {
							r := &reader{dialect: d, way: way}
							readers = append(readers, r)
							reading.Go(func() {
								r.got = d.readInPieces(w, way, id, rand.New(rand.NewPCG(uint64(i), uint64(n))))
							})
						}
					}
				}
				w.lead(l, id)
				reading.Wait()
				for _, r := range readers {
					events, numbered := r.whole(t, w, id)
					if got, want := strings.Join(r.got, ""), strings.Join(events[:numbered], ""); got != want {
						t.Errorf("%s by %s, in pieces: %q, want %q", r.name, r.way, got, want)
					}
					cuts += len(r.got) / 4
				}
			})
		})
	}
	t.Logf("some %d cuts", cuts)
}

// The same over restarts of the relay on its disk, of sessions that go on, that
// are interrupted and that have ended.
func TestResumeLawOfProjectionsAfterRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func() session.Store {
			st, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{Level: session.LevelProcess})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}, options{})
		defer func() {
			w.relay.stop()
			w.close()
		}()
		ids := make([]string, len(lives))
		for i, l := range lives {
			ids[i] = l.create(w)
		}
		var leading sync.WaitGroup
		for i, l := range lives {
			leading.Go(func() { w.lead(l, ids[i]) })
		}
		type reader struct {
			dialect
			life int
			got  []string
		}
		var readers []*reader
		for i := range lives {
			for _, d := range dialects {
				readers = append(readers, &reader{dialect: d, life: i})
			}
		}
		// Each reads until it is cut off, and then goes on where it was.
		read := func(r *reader, way string) {
			a := r.resume(w.relay, way, ids[r.life], len(r.got))
			for body := bufio.NewReader(a.Body); a.StatusCode == http.StatusOK; {
				event, err := nextEvent(body)
				if err != nil {
					return
				}
				if strings.HasPrefix(event, "id: ") {
					r.got = append(r.got, event)
				}
			}
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for _, after := range []time.Duration{120, 260, 470, 0} {
			var reading sync.WaitGroup
			for _, r := range readers {
				ways := slices.Sorted(maps.Keys(r.after)) // so that the seed chooses
				way := ways[rnd.IntN(len(ways))]
				reading.Go(func() { read(r, way) })
			}
			if after > 0 {
				time.Sleep(after * time.Millisecond)
				w.restart()
			}
			reading.Wait()
		}
		leading.Wait()
		states := make(map[string]int)
		before := make(map[string]string)
		for _, r := range readers {
			id := ids[r.life]
			events, numbered := r.whole(t, w, id)
			before[r.name+id] = strings.Join(events, "")
			if got, want := strings.Join(r.got, ""), strings.Join(events[:numbered], ""); got != want {
				t.Errorf("%s of %q over restarts: %q, want %q", r.name, lives[r.life].name, got, want)
			}
			states[w.state("/v1/sessions/"+id).State]++
		}
		t.Logf("ends: %v", states)
		if states["interrupted"] == 0 || states["done"] == 0 || states["stopped"] == 0 {
			t.Errorf("ends: %v, want some of each", states)
		}
		w.restart()
		for _, r := range readers {
			id := ids[r.life]
			events, numbered := r.whole(t, w, id)
			if got, want := strings.Join(events, ""), before[r.name+id]; got != want {
				t.Errorf("%s of %q after a restart: %q, want %q", r.name, lives[r.life].name, got, want)
			}
			r.checkResume(t, w, id, events, numbered)
		}
	})
}

// errorCode is the code of an error in any protocol's shape.
func errorCode(a answer) string {
	if code := a.Header.Get("X-Error-Code"); code != "" {
		return code
	}
	var body struct {
		Code  string
		Error struct{ Code string }
	}
	json.NewDecoder(a.Body).Decode(&body)
	return body.Code + body.Error.Code
}

// A cursor that cannot be is an error of its own, and never an empty answer.
func TestCursorsOfProjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{session: session.Options{MaxLog: 1}})
		ended := native(`{"source":{"type":"text","text":"abc"},"unit":"rune","retain":"10m"}`)(w)
		deleted := native(`{"source":{"type":"text","text":"abc"},"unit":"rune"}`)(w)
		running := native(`{"source":{"type":"push"},"unit":"rune"}`)(w)
		do("append", `{"text":"abc"}`)(w, running)
		time.Sleep(time.Second)
		w.do("DELETE", "/v1/sessions/"+deleted, "")
		check := func(d dialect, way, id string, k int, codes string) {
			t.Helper()
			if a := d.resume(w.relay, way, id, k); a.StatusCode < 400 || a.StatusCode >= 500 || !strings.Contains(codes, errorCode(a)) {
				t.Errorf("%s by %s: resume(%d) = %d, want an error %s", d.name, way, k, a.StatusCode, codes)
			}
		}
		for _, d := range dialects {
			for way := range d.after {
				_, numbered := d.whole(t, w, ended)
				check(d, way, ended, numbered+1, "cursor_ahead")
				if got, want := d.resume(w.relay, way, ended, numbered+1).Header.Get("Content-Range"), fmt.Sprintf("events */%d", numbered-1); got != want {
					t.Errorf("%s by %s: ahead of the stream, Content-Range = %q, want %q", d.name, way, got, want)
				}
				check(d, way, ended, 1<<40, "cursor_ahead")
				check(d, way, running, 1000, "cursor_ahead")
				if way != "startIndex" { // which counts from the tail then
					check(d, way, running, -7, "malformed_cursor invalid_parameter")
				}
				check(d, way, deleted, 2, "cursor_expired session_deleted")
			}
		}
		time.Sleep(11 * time.Minute)
		for _, d := range dialects {
			for way := range d.after {
				check(d, way, ended, 2, "cursor_expired session_expired")
			}
			if status, body := w.do("GET", d.stream(session.NewID().String()), ""); d.name == "ui" && status != http.StatusNoContent || d.name != "ui" && (status != http.StatusNotFound || body == "") {
				t.Errorf("%s of what never was = %d %s, want 404, or 204 of the AI SDK's route", d.name, status, body)
			}
		}
	})
}

// A text that is larger than a page and than what memory keeps, read by one who
// stands still for a while, and what its readers keep of it.
func TestLargeProjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{session: session.Options{MaxLog: 1}, server: server.Options{MaxProjected: 2 << 20}})
		id := native(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":"line"}`, quote(strings.Repeat(hard, 1500))))(w)
		time.Sleep(time.Second)
		for _, d := range dialects {
			a := w.ask("GET", d.stream(id), "")
			body := bufio.NewReader(a.Body)
			nextEvent(body)
			time.Sleep(25 * time.Second) // less than a write may take
			rest := canonical(t, body)
			events, numbered := d.whole(t, w, id)
			if want := strings.Join(events[1:], ""); rest != want {
				t.Errorf("%s: a slow reader got %d bytes, want %d", d.name, len(rest), len(want))
			}
			for _, k := range []int{1, numbered / 3, numbered - 5, numbered - 1} {
				for way := range d.after {
					if got, want := canonical(t, d.resume(w.relay, way, id, k).Body), strings.Join(events[k:], ""); got != want {
						t.Errorf("%s by %s: resume(%d) has %d bytes, want %d", d.name, way, k, len(got), len(want))
					}
				}
			}
			stalled := w.ask("GET", d.stream(id), "")
			nextEvent(bufio.NewReader(stalled.Body))
			time.Sleep(31 * time.Second)
			if _, err := io.ReadAll(stalled.Body); !isReset(err) {
				t.Errorf("%s: a reader that stood still ended with %v, want a reset", d.name, err)
			}
		}
		if got, _ := w.scrape(); got["tokenrelay_projected_bytes"] != "0" {
			t.Errorf("readers that have left keep %s bytes, want 0", got["tokenrelay_projected_bytes"])
		}
	})
}

// Where readers of other protocols keep as much as they may, one more is broken
// off, or refused where nothing has been sent yet; EventSource is told to come
// back.
func TestProjectedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{server: server.Options{MaxProjected: 20 << 10}})
		id := native(fmt.Sprintf(`{"source":{"type":"text","text":%q},"unit":"grapheme","rate":1000}`, strings.Repeat("x", 40<<10)))(w)
		keeping := slices.DeleteFunc(slices.Clone(dialects), func(d dialect) bool { return !d.keeps })
		for _, d := range keeping {
			body := w.ask("GET", d.stream(id), "").Body
			if got, err := io.ReadAll(body); !isReset(err) {
				t.Errorf("%s: beyond the limit, %d bytes ended with %v, want a reset", d.name, len(got), err)
			}
		}
		synctest.Wait()
		if got, _ := w.scrape(); got["tokenrelay_projected_bytes"] != "0" {
			t.Errorf("readers that have left keep %s bytes, want 0", got["tokenrelay_projected_bytes"])
		}
		time.Sleep(time.Minute)
		for _, d := range keeping {
			for way := range d.after {
				a := d.resume(w.relay, way, id, 40<<10)
				got, err := io.ReadAll(a.Body)
				if way == "header" { // a browser would give up for good
					if a.StatusCode != http.StatusOK || !strings.HasPrefix(string(got), "retry: ") || !isReset(err) {
						t.Errorf("%s by %s: beyond the limit = %d %q and %v, want 200, retry and a reset", d.name, way, a.StatusCode, got, err)
					}
				} else if a.StatusCode != http.StatusTooManyRequests {
					t.Errorf("%s by %s: beyond the limit = %d, %d bytes and %v, want 429", d.name, way, a.StatusCode, len(got), err)
				}
			}
		}
	})
}
