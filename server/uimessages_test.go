package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// A uiRead is what a client of the AI SDK gets of a run.
type uiRead struct {
	status int
	run    string // x-workflow-run-id
	tail   string // x-workflow-stream-tail-index
	events []string
}

// readUI asks for the run of a chat, or for one with that id.
func (r *relay) readUI(name, query string, headers ...string) uiRead {
	r.t.Helper()
	a := r.ask("GET", "/api/chat/"+name+"/stream"+query, "", headers...)
	defer a.conn.Close()
	got := uiRead{status: a.StatusCode, run: a.Header.Get("X-Workflow-Run-Id"), tail: a.Header.Get("X-Workflow-Stream-Tail-Index")}
	if a.StatusCode == http.StatusOK {
		if version := a.Header.Get("X-Vercel-Ai-Ui-Message-Stream"); version != "v1" {
			r.t.Errorf("%s%s: the version of the stream is %q, want v1", name, query, version)
		}
		got.events = split(canonical(r.t, a.Body))
	}
	return got
}

// runOf returns the run that a chat shows, and leaves it.
func (r *relay) runOf(name string) (run string) {
	r.t.Helper()
	a := r.ask("GET", "/api/chat/"+name+"/stream", "")
	a.conn.Close()
	return a.Header.Get("X-Workflow-Run-Id")
}

// startUI starts a run of a chat, and leaves it.
func (r *relay) startUI(body string) (run string) {
	r.t.Helper()
	a := r.ask("POST", "/api/chat", body)
	a.conn.Close()
	if a.StatusCode != http.StatusOK {
		r.t.Fatalf("POST /api/chat %s = %d", body, a.StatusCode)
	}
	return a.Header.Get("X-Workflow-Run-Id")
}

const loneFinish = "data: {\"type\":\"finish\"}\n\ndata: [DONE]\n\n"

// What a chat that is opened again is shown: its run while that goes on, and
// for a while after.
func TestUIReplay(t *testing.T) {
	for name, test := range map[string]struct {
		replay time.Duration
		after  time.Duration // the end
		stop   bool
		shown  bool
	}{
		"running":      {0, -time.Second, false, true},
		"just ended":   {0, 4 * time.Minute, false, true},
		"long ended":   {0, 6 * time.Minute, false, false},
		"stopped":      {0, time.Second, true, false},
		"for longer":   {time.Hour, 50 * time.Minute, false, true},
		"not at all":   {-1, 0, false, false},
		"never, alive": {-1, -time.Second, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{server: server.Options{ChatReplay: test.replay}})
			began := time.Now()
			run := r.startUI(uiAsks(`,"id":"c","tokenrelay":{"unit":"word","length":10,"rate":10}`))
			whole := r.readUI(run, "")
			length := time.Since(began)
			if test.stop || test.after < 0 {
				run = r.startUI(uiAsks(`,"id":"c","tokenrelay":{"unit":"word","length":10,"rate":10}`))
			}
			switch {
			case test.stop:
				r.do("POST", "/api/chat/c/stop", "")
			case test.after < 0:
				time.Sleep(length + test.after)
			default:
				time.Sleep(test.after)
			}
			plain := r.readUI("c", "")
			first, tail := plain, plain
			if test.after >= 0 { // it has not ended in between
				first, tail = r.readUI("c", "?startIndex=0"), r.readUI("c", "?startIndex=-4")
			}
			if !test.shown {
				if plain.status != http.StatusNoContent || strings.Join(first.events, "") != loneFinish || strings.Join(tail.events, "") != loneFinish || tail.tail != "-1" {
					t.Errorf("%s: %+v, %+v, %+v, want 204 and a lone finish", name, plain, first, tail)
				}
			} else if n := len(whole.events); len(plain.events) != n || len(first.events) != n || len(tail.events) > n || plain.run != run || first.run != run {
				t.Errorf("%s: %d, %d and %d events of %s, want %d of %s", name, len(plain.events), len(first.events), len(tail.events), plain.run, n, run)
			}
			// Whoever names the run, or knows where it is, gets the rest of it.
			if got := r.readUI(run, ""); len(got.events) < 5 {
				t.Errorf("%s: the run by its id: %+v", name, got)
			}
			if got := r.readUI("c", "?startIndex=2"); len(got.events) < 3 || !strings.HasPrefix(got.events[0], "id: 2\n") {
				t.Errorf("%s: from 2: %+v", name, got)
			}
			if got := r.readUI("c", "", "Last-Event-ID: 1"); len(got.events) < 3 || !strings.HasPrefix(got.events[0], "id: 2\n") {
				t.Errorf("%s: behind 1: %+v", name, got)
			}
		})
	}
}

// A chat's name goes to its newest run.
func TestUIChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		settings := `,"tokenrelay":{"length":10}`
		first := r.startUI(uiAsks(`,"id":"a/b +é"` + settings))
		second := r.startUI(uiAsks(`,"id":"a/b +é"` + settings))
		const escaped = "a%2Fb%20%2B%C3%A9"
		if got := r.runOf(escaped); got != second || first == second {
			t.Errorf("the chat's run is %s, want the second of %s and %s", got, first, second)
		}
		third := r.startUI(uiAsks(`,"id":"a+b%41"` + settings))
		for _, other := range []string{"a+b%2541", "a%2Bb%2541"} { // with a raw path, and without
			if got := r.runOf(other); got != third {
				t.Errorf("the run of %s is %s, want %s", other, got, third)
			}
		}
		for range 2 {
			status, body := r.do("POST", "/api/chat/"+escaped+"/stop", `{"reason":"enough"}`)
			if want := fmt.Sprintf(`{"id":%q,"state":"stopped"}`, second); status != http.StatusOK || strings.TrimSpace(body) != want {
				t.Errorf("stop = %d %s, want %s", status, body, want)
			}
		}
		if got := r.state("/v1/sessions/" + third).State; got != "running" {
			t.Errorf("the other chat is %s", got)
		}
		r.do("DELETE", "/v1/sessions/"+second, "")
		if got := r.readUI(escaped, ""); got.status != http.StatusNoContent {
			t.Errorf("a chat whose run was deleted = %+v, want 204", got)
		}
		if got := r.readUI(escaped, "?startIndex=3"); got.status != http.StatusNotFound {
			t.Errorf("the rest of a chat whose run was deleted = %+v, want 404", got)
		}
		if got := r.readUI(second, "?startIndex=3"); got.status != http.StatusGone {
			t.Errorf("the rest of a deleted run = %+v, want 410", got)
		}
		if got := r.readUI("other", "?startIndex=0"); strings.Join(got.events, "") != loneFinish || got.tail != "-1" {
			t.Errorf("a new chat = %+v, want a lone finish", got)
		}
	})
}

// A create that is repeated with its key has made one run.
func TestUIIdempotency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		body := uiAsks(`,"id":"c","tokenrelay":{"length":10}`)
		a := r.ask("POST", "/api/chat", body, "Idempotency-Key: k")
		a.conn.Close()
		b := r.ask("POST", "/api/chat", body, "Idempotency-Key: k")
		if one, other := a.Header.Get("X-Workflow-Run-Id"), b.Header.Get("X-Workflow-Run-Id"); one != other || b.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("runs = %s and %s (replayed %q), want one", one, other, b.Header.Get("Idempotent-Replayed"))
		}
		if events := split(canonical(t, b.Body)); !strings.HasPrefix(events[0], "id: 0\n") {
			t.Errorf("the repeated create begins with %q", events[0])
		}
		if c := r.ask("POST", "/api/chat", uiAsks(`,"id":"d"`), "Idempotency-Key: k"); c.StatusCode != http.StatusConflict || c.Header.Get("X-Error-Code") != "idempotency_key_reused" {
			t.Errorf("another body with the key = %d %s, want 409", c.StatusCode, c.Header.Get("X-Error-Code"))
		}
	})
}

// The tail begins where each of its parts does, and the header tells the client
// which chunk that is, in the client's own way to reckon.
func TestUITail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deltas := []session.Delta{
			thinks("a"), thinks("b"), says("c"), says("d"), calls(0, "x", "f", "{"), calls(1, "y", "g", "{"), calls(0, "", "", "}"), calls(1, "", "", "}"), says("e"), says("f"),
		}
		r := start(t, options{session: session.Options{Upstreams: told{deltas: deltas, hangs: true}}, server: server.Options{Models: []string{"mock/m"}}})
		run := r.startUI(uiAsks(""))
		time.Sleep(time.Second)
		check := func(when string, tail int) {
			t.Helper()
			for n := 1; n < tail+4; n++ {
				a := r.ask("GET", fmt.Sprintf("/api/chat/%s/stream?startIndex=-%d", run, n), "")
				var got []string
				follow(a.Body, func(e upstream.Event) bool {
					got = append(got, e.ID+" "+e.Data)
					return strings.HasPrefix(got[len(got)-1], strconv.Itoa(tail)+" ")
				})
				a.conn.Close()
				header, _ := strconv.Atoi(a.Header.Get("X-Workflow-Stream-Tail-Index"))
				first := max(0, header+1-n) // as WorkflowChatTransport reckons
				if !strings.HasPrefix(got[0], strconv.Itoa(first)+" ") {
					t.Errorf("%s, the last %d: the first chunk is %q, and the client takes it for %d", when, n, got[0], first)
				}
				if first > max(0, tail+1-n) {
					t.Errorf("%s, the last %d: only from %d", when, n, first)
				}
				begun := make(map[string]bool)
				for _, event := range got {
					var c struct{ Type, ID, ToolCallID string }
					_, data, _ := strings.Cut(event, " ")
					json.Unmarshal([]byte(data), &c)
					switch name := c.ID + c.ToolCallID; {
					case strings.HasSuffix(c.Type, "-start"):
						begun[name] = true
					case name != "" && !begun[name]:
						t.Errorf("%s, the last %d: %s without a start in %q", when, n, event, got)
					}
				}
			}
		}
		check("live", 18)
		r.do("POST", "/api/chat/"+run+"/stop", "")
		check("ended", 21)
	})
}

// An answer to a message that goes on with an assistant's, such as one whose
// tools have returned, is part of it.
func TestUIGoesOnWithAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		run := r.startUI(`{"messages":[{"id":"m1","role":"user","parts":[{"type":"text","text":"Hi"}]},{"id":"m2","role":"assistant","parts":[{"type":"text","text":"Well"}]}]}`)
		if got, want := r.readUI(run, "").events[0], "id: 0\ndata: {\"type\":\"start\",\"messageId\":\"m2\"}\n\n"; got != want {
			t.Errorf("the first chunk is %q, want %q", got, want)
		}
	})
}

// Who answers a chat that names no model.
func TestUIModel(t *testing.T) {
	for name, test := range map[string]struct {
		options server.Options
		more    string
		want    string
	}{
		"the generator": {server.Options{}, "", "demo"},
		"the first":     {server.Options{Models: []string{"mock/one", "mock/two"}}, "", "mock/one"},
		"the option's":  {server.Options{Models: []string{"mock/one"}, ChatModel: "mock/two"}, "", "mock/two"},
		"the chat's":    {server.Options{Models: []string{"mock/one"}, ChatModel: "mock/two"}, `,"model":"demo"`, "demo"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{server: test.options, session: session.Options{Upstreams: told{deltas: []session.Delta{says("x"), ends("stop")}}}})
			run := r.startUI(uiAsks(test.more))
			_, body := r.do("GET", "/v1/sessions/"+run, "")
			var state struct{ Source struct{ Type, Model string } }
			json.Unmarshal([]byte(body), &state)
			if got := state.Source.Model; got != test.want && (test.want != "demo" || state.Source.Type != "generate") {
				t.Errorf("%s: asked %q (%s)", name, got, body)
			}
		})
	}
}
