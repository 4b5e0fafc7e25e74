package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// A backgroundProvider has one response, whose events can be attached to.
type backgroundProvider struct {
	events []string // numbered
	// write sends what follows an event of a connection, the first of which is
	// 0. Nil sends it all.
	write func(connection int, w http.ResponseWriter, r *http.Request, body string)
	// refuse is the status of what attaches; 0 for none.
	refuse int

	mu       sync.Mutex // guards the fields below
	requests []string   // method and path
}

func (p *backgroundProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	connection := len(p.requests)
	p.requests = append(p.requests, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/v1"))
	p.mu.Unlock()
	from := 0
	switch {
	case strings.HasSuffix(r.URL.Path, "/cancel"):
		io.WriteString(w, `{}`)
		return
	case r.Method == http.MethodGet && p.refuse != 0:
		w.WriteHeader(p.refuse)
		return
	case r.Method == http.MethodGet:
		fmt.Sscan(r.URL.Query().Get("starting_after"), &from)
		from++
	}
	w.Header().Set("Content-Type", "text/event-stream")
	body := stream(p.events[min(from, len(p.events)):]...)
	if p.write == nil {
		io.WriteString(w, body)
		return
	}
	p.write(connection, w, r, body)
}

// asked returns the requests since it was last called.
func (p *backgroundProvider) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := p.requests
	p.requests = nil
	return requests
}

func (p *backgroundProvider) open(t *testing.T, limits upstream.Limits) openedSource {
	t.Helper()
	return open(t, newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true, Limits: limits}, upstream.Options{}, p.ServeHTTP))
}

// cutAfter breaks the first connection after n bytes.
func cutAfter(n *int) func(int, http.ResponseWriter, *http.Request, string) {
	return func(connection int, w http.ResponseWriter, r *http.Request, body string) {
		answer(body[:min(*n, len(body))], true)(w, r)
	}
}

// A cursored delta is one line, and the cursor behind it.
type cursored struct{ line, cursor string }

func withCursors(deltas iter.Seq2[session.Delta, error]) (all []cursored) {
	for d, err := range deltas {
		line := show(d, err)
		if d.Kind == session.DeltaCursor {
			line = "cursor"
		}
		all = append(all, cursored{line, d.Cursor})
	}
	return all
}

func lines(deltas []cursored) (all []string) {
	for _, d := range deltas {
		if d.line != "cursor" {
			all = append(all, d.line)
		}
	}
	return all
}

// varied is a response that has all that an answer can have.
var varied = numbered(
	created, inProgress,
	`{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning"}}`,
	`{"type":"response.reasoning_summary_part.added","output_index":0,"summary_index":0}`,
	`{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"h\ud83d"}`,
	`{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"\ude00m"}`,
	`{"type":"response.reasoning_summary_part.added","output_index":0,"summary_index":1}`,
	`{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"so"}`,
	keepalive, messageAdd,
	said(`"Hel"`), said(`"\ud83d"`), keepalive, said(`"\udc69\u200d\ud83d"`), said(`"\udc67 \ud83d"`), said(`"x\ud83d"`),
	`{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"Hel"}`,
	`{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"x","name":"f"}}`,
	`{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a\":\"\ud83d"}`,
	`{"type":"response.function_call_arguments.delta","output_index":1,"delta":"\ude00\"}"}`,
	`{"type":"response.function_call_arguments.done","output_index":1,"arguments":"{}"}`,
	`{"type":"response.output_item.added","output_index":2,"item":{"type":"message"}}`,
	`{"type":"response.output_text.done","output_index":2,"content_index":0,"text":"whole"}`,
	`{"type":"response.completed","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":1,"output_tokens":0},"output":[{"type":"message","content":[{"type":"output_text","text":"Hel"}]},{"type":"function_call","call_id":"x","name":"f","arguments":"{}"},{"type":"message","content":[{"type":"output_text","text":"whole"}]}]}}`,
)

var variedLines = []string{
	"reasoning h😀m", "reasoning \n\n", "reasoning so",
	"text Hel", "text 👩\u200d👧 \ufffdx\ufffd",
	"tool 1 x f ", `tool 1 - - {"a":"😀"}`, "text whole", "usage 1 0 reported", "finish tool_calls",
}

func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied}
		source := p.open(t, upstream.Limits{})
		uncut := withCursors(source.Deltas(t.Context(), session.Position{}))
		if got := lines(uncut); !slices.Equal(got, variedLines) {
			t.Errorf("got  %q\nwant %q", got, variedLines)
		}
		if uncut[0].line != "cursor" || uncut[0].cursor == "" {
			t.Errorf("the first delta is %q: the response must be known before anything of it is shown", uncut[0])
		}
		if got, want := p.asked(), []string{"POST /responses"}; !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
		// What is behind a cursor is what was behind it.
		for i, d := range uncut {
			if d.cursor == "" {
				if !strings.HasPrefix(d.line, "usage") && !strings.HasPrefix(d.line, "finish") {
					t.Errorf("%q has no cursor", d.line)
				}
				continue
			}
			rest := withCursors(source.Deltas(t.Context(), session.Position{Bytes: 1, Cursor: d.cursor}))
			if !slices.Equal(rest, uncut[i+1:]) {
				t.Errorf("behind %q\ngot  %q\nwant %q", d, rest, uncut[i+1:])
			}
			if got := p.asked(); len(got) != 1 || !strings.HasPrefix(got[0], "GET /responses/resp_1?stream=true&starting_after=") {
				t.Errorf("requests %q, want one that attaches", got)
			}
		}
	})
}

// Wherever a connection breaks, once the response is known, the deltas are
// those of one that does not.
func TestBackgroundCut(t *testing.T) {
	known := len(stream(varied[0]))
	synctest.Test(t, func(t *testing.T) {
		var at int
		p := &backgroundProvider{events: varied}
		cut := cutAfter(&at)
		p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
			if connection == 0 {
				cut(connection, w, r, body)
				return
			}
			io.WriteString(w, body)
		}
		source := p.open(t, upstream.Limits{})
		at = 1 << 20
		uncut := withCursors(source.Deltas(t.Context(), session.Position{}))
		p.asked()
		for at = known; at < len(stream(varied...)); at++ {
			if got := withCursors(source.Deltas(t.Context(), session.Position{})); !slices.Equal(got, uncut) {
				t.Fatalf("cut after %d bytes:\ngot  %q\nwant %q", at, got, uncut)
			}
			if got := p.asked(); len(got) != 2 || got[0] != "POST /responses" || !strings.HasPrefix(got[1], "GET /responses/resp_1?") {
				t.Fatalf("cut after %d bytes: requests %q, want one generation and one that attaches", at, got)
			}
		}
	})
}

// However often it breaks, it goes on, as long as each connection brings something.
func TestBackgroundCutOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied}
		source := p.open(t, upstream.Limits{})
		uncut := withCursors(source.Deltas(t.Context(), session.Position{}))
		p.asked()
		p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
			events := strings.SplitAfter(body, "\n\n")
			// Those that bring no delta, or wait for another, come again.
			answer(strings.Join(events[:min(8, len(events))], ""), true)(w, r)
		}
		if got := withCursors(source.Deltas(t.Context(), session.Position{})); !slices.Equal(got, uncut) {
			t.Errorf("got  %q\nwant %q", got, uncut)
		}
		if got := p.asked(); len(got) < 4 || slices.Index(got[1:], "POST /responses") >= 0 {
			t.Errorf("requests %q, want one generation", got)
		}
	})
}

// A provider that sends more than was asked for does not repeat the text.
func TestBackgroundReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied}
		p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
			if connection == 0 {
				answer(stream(varied[:12]...), true)(w, r)
				return
			}
			io.WriteString(w, stream(varied...)) // all of it
		}
		if got := withCursors(p.open(t, upstream.Limits{}).Deltas(t.Context(), session.Position{})); !slices.Equal(lines(got), variedLines) {
			t.Errorf("got  %q\nwant %q", lines(got), variedLines)
		}
	})
}

// Providers that do not number their events, or whose ids no path can carry,
// answer as they do without background.
func TestBackgroundWithoutCursors(t *testing.T) {
	for _, events := range [][]string{
		{created, said(`"a"`), completed},
		numbered(strings.Replace(created, "resp_1", "a b", 1), said(`"a"`), completed),
		numbered(strings.Replace(created, "resp_1", "..", 1), said(`"a"`), completed),
		numbered(strings.Replace(created, "resp_1", strings.Repeat("x", 1025), 1), said(`"a"`), completed),
		numbered(said(`"a"`), completed),
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &backgroundProvider{events: events}
			want := []cursored{{"text a", ""}, {"usage 3 5 reported", ""}, {"finish stop", ""}}
			if got := withCursors(p.open(t, upstream.Limits{}).Deltas(t.Context(), session.Position{})); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			size := len(stream(events[:len(events)-1]...))
			p.write = cutAfter(&size)
			want = []cursored{{"text a", ""}, {truncated, ""}}
			if got := withCursors(p.open(t, upstream.Limits{}).Deltas(t.Context(), session.Position{})); !slices.Equal(got, want) {
				t.Errorf("cut: got  %q\nwant %q", got, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: append(numbered(created), said(`"a"`), completed)}
		got := lines(withCursors(p.open(t, upstream.Limits{}).Deltas(t.Context(), session.Position{})))
		if want := []string{"failure upstream_malformed: the provider sent an event without a number among those that have one"}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// An id is part of a path, whatever it holds.
func TestBackgroundPaths(t *testing.T) {
	const id = "a/../b?c#d%2Fé"
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: numbered(strings.Replace(created, "resp_1", strings.TrimSuffix(id, "é"), 1), said(`"a"`), completed)}
		size := len(stream(p.events[:2]...))
		first := true
		p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
			if first {
				first = false
				answer(body[:size], true)(w, r)
			}
			answer(body, false)(w, r)
		}
		deltas(t, p.open(t, upstream.Limits{}), false)
		escaped := url.PathEscape(strings.TrimSuffix(id, "é"))
		if got, want := p.asked(), []string{"POST /responses", "GET /responses/" + escaped + "?stream=true&starting_after=1"}; !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
	})
}

func TestBackgroundCursors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied}
		source := p.open(t, upstream.Limits{})
		for _, cursor := range []string{
			" ", "x", "resp_1", "resp_1 ", "resp_1 x", "resp_1 -1", "resp_1 01", "resp_1 +1", "resp_1 1 ", "resp_1  1", " resp_1 1", " 1",
			"resp_1 99999999999999999999", "resp_1\n 1", "résp 1", ". 1", ".. 1", strings.Repeat("x", 1025) + " 1", "{}", "\x00 1",
		} {
			for d, err := range source.Deltas(t.Context(), session.Position{Bytes: 1, Cursor: cursor}) {
				if !errors.Is(err, session.ErrNotContinuable) {
					t.Errorf("cursor %q: %+v, %v, want %v", cursor, d, err, session.ErrNotContinuable)
				}
			}
		}
		if got := p.asked(); len(got) > 0 {
			t.Errorf("requests %q, want none", got)
		}
	})
}

// A response that cannot be attached to after a restart is not to be had any
// more; one that is lost while it is read is broken off.
func TestBackgroundRefused(t *testing.T) {
	cancel := "POST /responses/resp_1/cancel"
	for _, test := range []struct {
		status    int
		restarted string
		inFlight  string
	}{
		{400, "error " + session.ErrNotContinuable.Error(), truncated},
		{404, "error " + session.ErrNotContinuable.Error(), truncated},
		{401, "failure upstream_unauthorized: the provider refused the relay's key", ""},
		{429, outOfReach, ""},
		{503, outOfReach, ""},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				size := len(stream(varied[:11]...))
				p := &backgroundProvider{events: varied, refuse: test.status, write: cutAfter(&size)}
				source := p.open(t, upstream.Limits{})
				got := lines(withCursors(source.Deltas(t.Context(), session.Position{Bytes: 1, Cursor: "resp_1 5"})))
				if want := []string{test.restarted}; !slices.Equal(got, want) {
					t.Errorf("restarted: %q, want %q", got, want)
				}
				if asked := p.asked(); strings.HasPrefix(test.restarted, "error") != !slices.Contains(asked, cancel) {
					t.Errorf("restarted: requests %q", asked)
				}
				got = lines(withCursors(source.Deltas(t.Context(), session.Position{})))
				want := append(slices.Clone(variedLines[:4]), test.inFlight)
				if test.inFlight == "" {
					want[4] = test.restarted
				}
				if !slices.Equal(got, want) {
					t.Errorf("in flight: %q, want %q", got, want)
				}
				if asked := p.asked(); asked[len(asked)-1] != cancel {
					t.Errorf("in flight: requests %q, want the last to cancel", asked)
				}
			})
		})
	}
}

// Who has let go of a response stops it; who only leaves it does not.
func TestBackgroundEnds(t *testing.T) {
	cancel := "POST /responses/resp_1/cancel"
	for _, test := range []struct {
		name    string
		cause   error // of the context's end, once all has come; nil for none
		limits  upstream.Limits
		events  []string
		cancels bool
		want    string // the end
	}{
		{"released", session.ErrReleased, upstream.Limits{}, varied[:12], true, "error " + session.ErrReleased.Error()},
		{"released, wrapped", fmt.Errorf("paused: %w", session.ErrReleased), upstream.Limits{}, varied[:12], true, "error paused: " + session.ErrReleased.Error()},
		{"released with its first event", session.ErrReleased, upstream.Limits{}, varied[:1], true, "error " + session.ErrReleased.Error()},
		{"released, its id is never known", session.ErrReleased, upstream.Limits{}, nil, false, "error " + session.ErrReleased.Error()},
		{"shut down before its id is known", session.ErrShutdown, upstream.Limits{}, nil, false, "error " + session.ErrShutdown.Error()},
		{"shut down", session.ErrShutdown, upstream.Limits{}, varied[:12], false, "error " + session.ErrShutdown.Error()},
		{"other cause", errors.New("lease lost"), upstream.Limits{}, varied[:12], false, "error lease lost"},
		{"no cause", context.Canceled, upstream.Limits{}, varied[:12], false, "error context canceled"},
		{"idle", nil, upstream.Limits{Idle: time.Minute}, varied[:12], true, "failure idle_timeout: the provider sent no token for 1m0s"},
		{"total", nil, upstream.Limits{Total: time.Minute}, varied[:12], true, "failure total_timeout: the provider's answer took longer than 1m0s"},
		{"malformed", nil, upstream.Limits{}, append(slices.Clone(varied[:12]), "{"), true, "failure upstream_malformed: the provider sent a chunk that is not JSON of its protocol"},
		{"error event", nil, upstream.Limits{}, append(slices.Clone(varied[:12]), `{"type":"error","message":"bad"}`), true, "failure upstream_error: bad"},
		{"failed", nil, upstream.Limits{}, append(slices.Clone(varied[:12]), `{"type":"response.failed","sequence_number":12,"response":{"error":{"code":"server_error","message":"bad"}}}`), false, "failure upstream_error: bad"},
		{"cancelled", nil, upstream.Limits{}, append(slices.Clone(varied[:12]), `{"type":"response.incomplete","sequence_number":12,"response":{"status":"cancelled"}}`), false, "failure upstream_error: the provider cancelled the response"},
		{"whole", nil, upstream.Limits{}, varied, false, "finish tool_calls"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var gone time.Time
				p := &backgroundProvider{events: test.events}
				p.write = func(_ int, w http.ResponseWriter, r *http.Request, body string) {
					io.WriteString(w, body)
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					gone = time.Now()
				}
				ctx, end := context.WithCancelCause(t.Context())
				defer end(nil)
				var ended time.Time
				if test.cause != nil {
					time.AfterFunc(time.Second, func() { ended = time.Now(); end(test.cause) })
				}
				all := withCursors(p.open(t, test.limits).Deltas(ctx, session.Position{}))
				if got := all[len(all)-1].line; got != test.want {
					t.Errorf("the end is %q, want %q", got, test.want)
				}
				synctest.Wait()
				want := []string{"POST /responses"}
				if test.cancels {
					want = append(want, cancel)
				}
				if got := p.asked(); !slices.Equal(got, want) {
					t.Errorf("requests %q, want %q", got, want)
				}
				var wait time.Duration // for the id
				if test.cause == session.ErrReleased && test.events == nil {
					wait = 5 * time.Second
				}
				if test.cause != nil && gone.Sub(ended) != wait {
					t.Errorf("the connection closed %v after the end, want %v", gone.Sub(ended), wait)
				}
			})
		})
	}
}

// A response that failed before anything came of it is asked for anew, so many
// times and not for ever, cut or not.
func TestBackgroundFailsEarly(t *testing.T) {
	failed := event("response.failed", `"response":{"error":{"code":"server_error","message":"bad"}}`)
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := &backgroundProvider{events: numbered(created, failed)}
			p.write = func(_ int, w http.ResponseWriter, r *http.Request, body string) {
				if size := len(stream(p.events[0])); cut && r.Method == http.MethodPost {
					answer(body[:size], true)(w, r)
				}
				io.WriteString(w, body)
			}
			got := lines(withCursors(p.open(t, upstream.Limits{Retries: 2}).Deltas(t.Context(), session.Position{})))
			if want := []string{"failure upstream_error: bad"}; !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			posts := 0
			for _, request := range p.asked() {
				if request == "POST /responses" {
					posts++
				}
				if strings.HasSuffix(request, "/cancel") {
					t.Errorf("%s: it has ended already", request)
				}
			}
			if posts != 3 {
				t.Errorf("cut %v: %d generations, want 3", cut, posts)
			}
		})
	}
}

// An error in the stream does not say that the response has ended: it is
// stopped before another is asked for.
func TestBackgroundErrorEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: numbered(created, said(`"a"`), completed)}
		p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
			if connection == 0 {
				body = stream(numbered(created, `{"type":"error","code":"server_error","message":"bad"}`)...)
			}
			io.WriteString(w, body)
		}
		got := lines(withCursors(p.open(t, upstream.Limits{}).Deltas(t.Context(), session.Position{})))
		if want := []string{"text a", "usage 3 5 reported", "finish stop"}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if got, want := p.asked(), []string{"POST /responses", "POST /responses/resp_1/cancel", "POST /responses"}; !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
	})
}

// The provider that all tests share, which cuts characters into halves.
func TestBackgroundProvider(t *testing.T) {
	behavior := upstreamtest.Behavior{Size: 1, Unit: upstreamtest.UTF16, Tokens: 60, Reasoning: "hm 🤔", ToolCall: &upstreamtest.ToolCall{ID: "x", Name: "f", Arguments: `{"a":"🤔"}`}, KeepAliveEvents: true, KeepAlive: time.Second, Between: 3 * time.Second}
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{Default: behavior})
		t.Setenv("TEST_UPSTREAM_KEY", testKey)
		set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: upstream.Responses, Background: true, BaseURL: "http://provider.test/v1", KeyEnv: "TEST_UPSTREAM_KEY"}}, upstream.Options{Transport: dialing(p.Pipe(t))})
		if err != nil {
			t.Fatal(err)
		}
		defer set.CloseIdle()
		source := open(t, set)
		uncut := lines(withCursors(source.Deltas(t.Context(), session.Position{})))
		if end := uncut[len(uncut)-1]; end != "finish tool_calls" {
			t.Fatalf("the end is %q", end)
		}
		for after := 1; after < 70; after += 3 {
			for _, fault := range []upstreamtest.Fault{upstreamtest.Cut, upstreamtest.CleanEnd} {
				cut := behavior
				cut.Fault, cut.After = fault, after
				p.Script("Hi", cut, cut, behavior)
				before := p.Background().Started
				if got := lines(withCursors(source.Deltas(t.Context(), session.Position{}))); !slices.Equal(got, uncut) {
					t.Fatalf("fault %d after %d tokens:\ngot  %q\nwant %q", fault, after, got, uncut)
				}
				if started := p.Background().Started - before; started != 1 {
					t.Fatalf("fault %d after %d tokens: %d generations, want 1", fault, after, started)
				}
			}
		}
		if cancelled := p.Background().Cancelled; cancelled != 0 {
			t.Errorf("%d were cancelled, want none", cancelled)
		}
		p.Script("Hi", behavior)
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(30*time.Second, func() { end(session.ErrReleased) })
		withCursors(source.Deltas(ctx, session.Position{}))
		if cancelled := p.Background().Cancelled; cancelled != 1 {
			t.Errorf("%d were cancelled once it was let go, want 1", cancelled)
		}
	})
}
