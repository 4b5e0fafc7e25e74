package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// An upstreamRelay is a relay with one upstream, and the provider behind it.
type upstreamRelay struct {
	*relay
	provider *upstreamtest.Provider
}

// startUpstreamRelay runs a relay before a provider until the test ends; all of it is
// in the bubble.
func startUpstreamRelay(t *testing.T, o options, c upstream.Config) upstreamRelay {
	t.Helper()
	p := upstreamtest.New(upstreamtest.Options{})
	c.Name, c.BaseURL = "mock", "http://provider.test/v1"
	set, err := upstream.New([]upstream.Config{c}, upstream.Options{Transport: &http.Transport{DialContext: p.Pipe(t)}})
	if err != nil {
		t.Fatal(err)
	}
	o.session.Upstreams = set
	return upstreamRelay{start(t, o), p}
}

// create makes a session of the provider, of characters unless more, which is
// of the create, names another unit.
func (b upstreamRelay) create(prompt, more string) (path string) {
	b.t.Helper()
	if !strings.Contains(more, `"unit"`) {
		more += `,"unit":"rune"`
	}
	return b.relay.create(fmt.Sprintf(`{"source":{"type":"upstream","model":"m","messages":[{"role":"user","content":%q}]}%s}`, prompt, more))
}

// next is the provider's next request.
func (b upstreamRelay) next() *upstreamtest.Request {
	b.t.Helper()
	r, err := b.provider.Next(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// left reports when the request's client left, or fails.
func (b upstreamRelay) left(r *upstreamtest.Request) time.Time {
	b.t.Helper()
	synctest.Wait()
	at, ok := r.LeftAt()
	if !ok {
		b.t.Errorf("the provider still writes for %s", r.Prompt)
	}
	return at
}

// kinds lists the events without text.
func kinds(events []upstream.Event) (names []string) {
	for _, e := range events {
		if e.Name != "" {
			names = append(names, e.Name)
		}
	}
	return names
}

// readSome reads until there are n events of text, or to the end.
func readSome(body io.Reader, n int) (events []upstream.Event, text string, err error) {
	err = follow(body, func(e upstream.Event) bool {
		events, text = append(events, e), text+textOf(e)
		if e.Name == "" {
			n--
		}
		return n == 0
	})
	return events, text, err
}

// readAll reads what follows an event, to the end.
func (b upstreamRelay) readAll(path, after string) (events []upstream.Event, text string) {
	b.t.Helper()
	events, text, err := readSome(b.ask("GET", path+"/events?after="+after, "").Body, -1)
	if err != io.EOF {
		b.t.Fatalf("stream of %s ended with %v", path, err)
	}
	return events, text
}

// slow is a token of eight characters every tenth of a second.
var slow = upstreamtest.Behavior{First: 200 * time.Millisecond, Between: 100 * time.Millisecond}

func TestRelease(t *testing.T) {
	for _, protocol := range upstream.Protocols() {
		t.Run(string(protocol), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startUpstreamRelay(t, options{}, upstream.Config{Protocol: protocol})
				b.provider.Script("tides", slow)
				path := b.create("tides", `,"on_pause":"release"`)
				stream := b.ask("GET", path+"/events", "")
				read, text, err := readSome(stream.Body, 100)
				if err != nil {
					t.Fatal(err)
				}
				stream.conn.Close()
				first := b.next()
				b.do("POST", path+"/pause", "")
				if at := b.left(first); !at.Equal(time.Now()) {
					t.Errorf("the provider was let go %v late", time.Since(at))
				}
				time.Sleep(time.Hour)
				b.do("POST", path+"/resume", "")
				rest, more := b.readAll(path, read[len(read)-1].ID)
				if want := upstreamtest.Text("tides"); text+more != want {
					t.Errorf("text = %q, want %q", text+more, want)
				}
				if got, want := kinds(append(read, rest...)), []string{"session", "paused", "resumed", "seam", "done"}; !slices.Equal(got, want) {
					t.Errorf("events = %v, want %v", got, want)
				}
				second := b.next()
				if !strings.HasPrefix(text+more, second.Prefix) || len(second.Prefix) < len(text) {
					t.Errorf("the provider was asked to go on from %q after %q", second.Prefix, text)
				}
				if _, ok := second.LeftAt(); ok {
					t.Error("the second answer was not read to its end")
				}
			})
		})
	}
}

// Who holds reads on: there is one request, and no seam.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		b.provider.Script("tides", slow)
		path := b.create("tides", "")
		request := b.next()
		time.Sleep(time.Second)
		b.do("POST", path+"/pause", "")
		<-request.Done
		synctest.Wait()
		if metrics, _ := b.scrape(); len(metrics["tokenrelay_held_bytes"]) < 5 || metrics["tokenrelay_held_limit_bytes"] != "2.68435456e+08" {
			t.Errorf("held bytes are %s of %s, want some 10000", metrics["tokenrelay_held_bytes"], metrics["tokenrelay_held_limit_bytes"])
		}
		b.do("POST", path+"/resume", "")
		events, text := b.readAll(path, "0")
		if got, want := kinds(events), []string{"session", "paused", "resumed", "done"}; text != upstreamtest.Text("tides") || !slices.Equal(got, want) {
			t.Errorf("events = %v, text = %q; want %v and the whole", got, text, want)
		}
		if n := len(b.provider.Requests()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestContinue(t *testing.T) {
	for _, protocol := range upstream.Protocols() {
		t.Run(string(protocol), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startUpstreamRelay(t, options{}, upstream.Config{Protocol: protocol})
				b.provider.Script("tides", slow)
				stopped := b.create("tides", `,"metadata":{"chat":"42"},"on_no_reader":{"policy":"stop","after":"1h"}`)
				request := b.next()
				time.Sleep(time.Second)
				if status, body := b.do("POST", stopped+"/continue", ""); status != 409 || !strings.Contains(body, `"session_not_ended"`) {
					t.Errorf("continue of a running session = %d %s", status, body)
				}
				b.do("POST", stopped+"/stop", "")
				b.left(request)
				_, text := b.readAll(stopped, "0")

				status, body := b.do("POST", stopped+"/continue", "")
				a := b.ask("POST", stopped+"/continue", "{}") // as often as one likes
				if status != 201 || a.StatusCode != 201 {
					t.Fatalf("continue = %d %s, then %d", status, body, a.StatusCode)
				}
				var state struct {
					ID, Continues, State string
					Metadata             map[string]string
					OnNoReader           struct{ After string } `json:"on_no_reader"`
				}
				if err := json.Unmarshal([]byte(body), &state); err != nil || "/v1/sessions/"+state.Continues != stopped || state.State != "running" ||
					state.Metadata["chat"] != "42" || state.OnNoReader.After != "1h0m0s" {
					t.Errorf("state of the new session = %s, %v", body, err)
				}
				path := "/v1/sessions/" + state.ID
				if at := a.Header.Get("Location"); !strings.HasPrefix(at, "/v1/sessions/") || at == path || at == stopped {
					t.Errorf("Location of the second = %q", at)
				}
				events, whole := b.readAll(path, "0")
				if whole != upstreamtest.Text("tides") {
					t.Errorf("text = %q, want the whole", whole)
				}
				if got, want := kinds(events), []string{"session", "seam", "done"}; !slices.Equal(got, want) {
					t.Errorf("events = %v, want %v", got, want)
				}
				var seam struct {
					By     session.Continuation
					Offset int
				}
				for _, e := range events {
					if e.Name == "session" && !strings.Contains(e.Data, `"continues":"`+state.Continues+`"`) {
						t.Errorf("first event = %s", e.Data)
					}
					if e.Name == "seam" {
						json.Unmarshal([]byte(e.Data), &seam)
					}
				}
				if seam.Offset != len(text) || seam.By != session.ByPrefill && seam.By != session.ByMessage {
					t.Errorf("seam = %+v, want it behind %d bytes", seam, len(text))
				}
				if status, body := b.do("POST", path+"/continue", ""); status != 409 || !strings.Contains(body, `"session_ended"`) {
					t.Errorf("continue of a done session = %d %s", status, body)
				}
			})
		})
	}
}

func TestContinueRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		calls := slow
		calls.ToolCall, calls.Tokens = &upstreamtest.ToolCall{ID: "call_1", Name: "weather", Arguments: `{"city":"Trondheim, where it rains"}`}, 1
		b.provider.Script("rain?", calls)
		path := b.create("rain?", "")
		time.Sleep(500 * time.Millisecond)
		b.do("POST", path+"/stop", "")
		if status, body := b.do("POST", path+"/continue", ""); status != 409 || !strings.Contains(body, `"tool_call_begun"`) {
			t.Errorf("continue of one that has called a tool = %d %s", status, body)
		}
		lines := b.relay.create(pushLines)
		b.do("POST", lines+"/stop", "")
		if status, body := b.do("POST", lines+"/continue", ""); status != 409 || !strings.Contains(body, `"not_an_upstream_session"`) {
			t.Errorf("continue of a push session = %d %s", status, body)
		}
		if status, body := b.do("POST", lines+"/continue", `{"unit":"rune"}`); status != 400 || !strings.Contains(body, `"unknown_field"`) {
			t.Errorf("continue with a body = %d %s", status, body)
		}
	})
}

// While streams are drained nothing new begins.
func TestContinueWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		b.provider.Script("tides", slow)
		path := b.create("tides", "")
		b.do("POST", path+"/stop", "")
		lines := b.relay.create(pushLines)
		stream := b.ask("GET", lines+"/events", "") // keeps the server for a while
		conn := b.dial()
		if a, err := b.askOn(conn, "GET", path, ""); err != nil || a.StatusCode != 200 {
			t.Fatalf("state = %v, %v", a.Response, err)
		} else {
			io.Copy(io.Discard, a.Body)
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			b.stop()
		}()
		synctest.Wait()
		a, err := b.askOn(conn, "POST", path+"/continue", "")
		if err == nil && (a.StatusCode != 503 || a.Header.Get("Retry-After") == "") {
			t.Errorf("continue while draining = %d %v, want 503", a.StatusCode, a.Header)
		}
		io.Copy(io.Discard, stream.Body)
		<-stopped
	})
}

func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		drowsy := slow
		drowsy.Between = time.Minute
		b.provider.Script("tides", drowsy, drowsy, slow)

		began := time.Now()
		path := b.create("tides", `,"on_no_reader":{"policy":"stop","after":"90s"}`)
		time.Sleep(80 * time.Second)
		stream := b.ask("GET", path+"/events", "") // puts it off
		time.Sleep(40 * time.Second)
		synctest.Wait()
		stream.conn.Close()
		time.Sleep(3 * time.Minute)
		if took := b.left(b.next()).Sub(began); took != 210*time.Second {
			t.Errorf("the provider was let go after %v, want 90s after the reader", took)
		}
		if s := b.state(path); s.State != "stopped" || s.Reason != "no_reader" {
			t.Errorf("state = %+v, want stopped for want of a reader", s)
		}

		path = b.create("tides", `,"on_no_reader":{"policy":"pause","after":"90s"},"on_pause":"release"`)
		time.Sleep(3 * time.Minute)
		b.left(b.next())
		if s := b.state(path); s.State != "paused" {
			t.Errorf("state = %+v, want paused", s)
		}
		events, text := b.readAll(path, "0")
		if text != upstreamtest.Text("tides") {
			t.Errorf("text = %q, want the whole", text)
		}
		var told []string
		for _, e := range events {
			if e.Name == "paused" || e.Name == "resumed" || e.Name == "seam" {
				told = append(told, e.Name+" "+e.Data)
			}
		}
		if want := []string{`paused {"reason":"no_reader"}`, `resumed {"reason":"reader"}`}; len(told) != 3 || !slices.Equal(told[:2], want) || !strings.HasPrefix(told[2], "seam ") {
			t.Errorf("events = %q, want %q and a seam", told, want)
		}
	})
}

// An upstream that nobody reads goes on within bounds.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{session: session.Options{MaxUnread: 1, MaxUnreadTime: 5 * time.Minute}}, upstream.Config{})
		drowsy := slow
		drowsy.Between = 10 * time.Second
		b.provider.Script("tides", drowsy)
		unread := func(want string) {
			t.Helper()
			synctest.Wait()
			if metrics, _ := b.scrape(); metrics["tokenrelay_unread_upstreams"] != want || metrics["tokenrelay_unread_upstreams_limit"] != "1" {
				t.Errorf("%s of %s upstreams are unread, want %s of 1", metrics["tokenrelay_unread_upstreams"], metrics["tokenrelay_unread_upstreams_limit"], want)
			}
		}
		const more = `,"on_no_reader":{"after":"1m"}`
		first := b.create("tides", more)
		time.Sleep(time.Second)
		second := b.create("tides", more)
		unread("0")
		time.Sleep(time.Minute)
		unread("1")
		if one, other := b.state(first), b.state(second); one.State != "running" || other.State != "stopped" || other.Reason != "unread_limit" {
			t.Errorf("states = %+v and %+v, want the second stopped: there is one place", one, other)
		}
		time.Sleep(5 * time.Minute)
		unread("0")
		if one := b.state(first); one.State != "stopped" || one.Reason != "unread_limit" {
			t.Errorf("state = %+v, want it stopped after its time", one)
		}
	})
}

// A zero that was reported stays one, and what is not known is not there.
func TestUsageAndTimings(t *testing.T) {
	for name, test := range map[string]struct {
		behavior upstreamtest.Behavior
		usage    string
		finish   string
	}{
		"reported":      {upstreamtest.Behavior{Usage: &upstreamtest.Usage{Input: 7, Output: 9}}, `{"input_tokens":7,"output_tokens":9,"source":"reported"}`, "stop"},
		"reported zero": {upstreamtest.Behavior{Usage: &upstreamtest.Usage{}}, `{"input_tokens":0,"output_tokens":0,"source":"reported"}`, "stop"},
		"estimated":     {upstreamtest.Behavior{NoUsage: true}, `{"output_tokens":8,"source":"estimated"}`, "stop"},
		"own reason":    {upstreamtest.Behavior{NoUsage: true, Finish: "eos"}, `{"output_tokens":8,"source":"estimated"}`, "stop"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startUpstreamRelay(t, options{}, upstream.Config{})
				test.behavior.Tokens, test.behavior.First, test.behavior.Between = 3, 250*time.Millisecond, 20*time.Millisecond
				b.provider.Script("tides", test.behavior)
				path := b.create("tides", "")
				events, _ := b.readAll(path, "0")
				_, body := b.do("GET", path, "")
				for where, raw := range map[string]string{"terminal event": events[len(events)-1].Data, "state": body} {
					var got struct {
						Reason         string
						ProviderReason string `json:"provider_reason"`
						Usage          json.RawMessage
						Timings        struct {
							First   float64 `json:"first_token_ms"`
							Between float64 `json:"between_tokens_ms"`
						}
					}
					if err := json.Unmarshal([]byte(raw), &got); err != nil || string(got.Usage) != test.usage || got.Reason != test.finish || got.ProviderReason != test.behavior.Finish {
						t.Errorf("%s = %s, want usage %s and reason %s (%s)", where, raw, test.usage, test.finish, test.behavior.Finish)
					}
					if got.Timings.First != 250 || got.Timings.Between <= 0 || got.Timings.Between > 40 {
						t.Errorf("%s: timings = %+v, want 250 ms and a part of 40", where, got.Timings)
					}
				}
			})
		})
	}
}

func TestParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{Parameters: map[string]any{"max_tokens": 9, "user": "relay"}})
		const source = `{"source":{"type":"upstream","model":"m","messages":[{"role":"user","content":"tides"}],"parameters":%s}}`
		path := b.relay.create(fmt.Sprintf(source, `{"max_tokens":12,"seed":12345678901234567890,"stop":["\n"]}`))
		request := b.next()
		for _, want := range []string{`"max_tokens":12,`, `"seed":12345678901234567890`, `"stop":["\n"]`, `"user":"relay"`} {
			if !strings.Contains(string(request.Body), want) {
				t.Errorf("the provider was asked %s, want %s in it", request.Body, want)
			}
		}
		if _, body := b.do("GET", path, ""); strings.Contains(body, "12345678901234567890") {
			t.Errorf("state = %s: it repeats what the source was given", body)
		}
		for parameters, field := range map[string]string{
			`[]`: "source.parameters", `"x"`: "source.parameters", `{"stream":false}`: "source.parameters.stream", `{"model":"other"}`: "source.parameters.model",
		} {
			status, body := b.do("POST", "/v1/sessions", fmt.Sprintf(source, parameters))
			if status != 400 || !strings.Contains(body, fmt.Sprintf(`"field":%q`, field)) {
				t.Errorf("create with parameters %s = %d %s, want 400 for %s", parameters, status, body, field)
			}
		}
	})
}
