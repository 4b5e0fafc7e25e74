package upstream_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

const testKey = "sk-test-0123456789"

// once are the limits of who does not try again.
var once = upstream.Limits{Retries: -1}

// newSet returns a set with one provider named p, whose answers handle gives
// unless o has a transport. They are connected by net.Pipe, so that a synctest
// bubble holds them both. Of c the name, address and key are set.
func newSet(t *testing.T, c upstream.Config, o upstream.Options, handle http.HandlerFunc) *upstream.Set {
	t.Helper()
	t.Setenv("TEST_UPSTREAM_KEY", testKey)
	c.Name, c.KeyEnv = "p", "TEST_UPSTREAM_KEY"
	c.BaseURL = cmp.Or(c.BaseURL, "http://provider.test/v1/")
	if o.Transport == nil {
		o.Transport = piped(t, handle)
	}
	set, err := upstream.New([]upstream.Config{c}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.CloseIdle)
	return set
}

// piped is a transport whose requests handle answers.
func piped(t *testing.T, handle http.HandlerFunc) *http.Transport {
	t.Helper()
	return dialing(upstreamtest.Pipe(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only then does the server watch for the client's leaving.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("request body: %v", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handle(w, r)
	})))
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialing is a transport whose connections dial makes.
func dialing(dial dialFunc) *http.Transport { return &http.Transport{DialContext: dial} }

// An openedSource is all that a source of this package can do.
type openedSource interface {
	session.Continuer
	session.Suspender
}

// open asks for an answer to "Hi", with the parameters if there are any.
func open(t *testing.T, set *upstream.Set, parameters ...string) openedSource {
	t.Helper()
	spec := session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{"role":"user","content":"Hi"}]`)}
	if len(parameters) > 0 {
		spec.Parameters = json.RawMessage(parameters[0])
	}
	source, err := set.Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	return source.(openedSource)
}

// deltas returns what the source yields from its start, as collect does.
func deltas(t *testing.T, source session.Source, join bool) []string {
	t.Helper()
	return collectDeltas(source.Deltas(t.Context(), session.Position{}), join)
}

// collectDeltas returns what is yielded, one line each. Text that follows text
// joins it, if join is set.
func collectDeltas(deltas iter.Seq2[session.Delta, error], join bool) (got []string) {
	for d, err := range deltas {
		got = append(got, show(d, err))
		if n := len(got); join && n > 1 && strings.HasPrefix(got[n-2], "text ") {
			if more, ok := strings.CutPrefix(got[n-1], "text "); ok {
				got = append(got[:n-2], got[n-2]+more)
			}
		}
	}
	return got
}

func show(d session.Delta, err error) string {
	if failure, ok := errors.AsType[*session.Failure](err); ok {
		return "failure " + failure.Code + ": " + failure.Message
	}
	if err != nil {
		return "error " + err.Error()
	}
	number := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	switch d.Kind {
	case session.DeltaText:
		return "text " + d.Text
	case session.DeltaReasoning:
		return "reasoning " + d.Text
	case session.DeltaToolCall:
		return fmt.Sprintf("tool %d %s %s %s", d.Call.Index, cmp.Or(d.Call.ID, "-"), cmp.Or(d.Call.Name, "-"), d.Call.Arguments)
	case session.DeltaUsage:
		return fmt.Sprintf("usage %s %s %s", number(d.Usage.Input), number(d.Usage.Output), d.Usage.Source)
	case session.DeltaProvider:
		return "provider " + d.Text
	case session.DeltaSeam:
		return "seam " + string(d.By)
	case session.DeltaFinish:
		return strings.TrimSpace("finish " + d.Reason + " " + d.ProviderReason)
	}
	return fmt.Sprintf("unknown %+v", d)
}

const truncated = "failure upstream_truncated: the provider's stream ended before its end marker"

// notJSON is how an event ends that is no JSON of the protocol.
const notJSON = "failure upstream_malformed: the provider sent a chunk that is not JSON of its protocol"

// answer gives body as a stream of chat completions; cut says that the
// connection breaks after it.
func answer(body string, cut bool) http.HandlerFunc {
	return answerAs("text/event-stream; charset=utf-8", body, cut)
}

// answerAs is answer with another type.
func answerAs(kind, body string, cut bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, body)
		if cut {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

// logged returns a logger and what it logs.
func logged() (*bytes.Buffer, *slog.Logger) {
	log := new(bytes.Buffer)
	return log, slog.New(slog.NewTextHandler(log, nil))
}

// noDialTime is how long noDial takes. A request that ends does not end it.
const noDialTime = 24 * time.Hour

// noDial gets no connection, for longer than anybody waits for one.
func noDial(context.Context, string, string) (net.Conn, error) {
	time.Sleep(noDialTime)
	return nil, errors.New("no connection")
}

// play answers by steps: a duration is waited for, and a text is sent. Then
// it is silent until the client leaves.
func play(kind string, steps ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		for _, step := range steps {
			switch step := step.(type) {
			case time.Duration:
				select {
				case <-time.After(step):
				case <-r.Context().Done():
					return
				}
			case string:
				io.WriteString(w, step)
				w.(http.Flusher).Flush()
			}
		}
		<-r.Context().Done()
	}
}

// A streamTest is an answer and what it gives.
type streamTest struct {
	name string
	body string
	cut  bool // the connection breaks after it
	want []string
}

// testStreams runs tests of a protocol whose answers are of the type kind.
func testStreams(t *testing.T, p upstream.Protocol, kind string, tests []streamTest) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Protocol: p, Limits: once}, upstream.Options{}, answerAs(kind, test.body, test.cut))
				if got := deltas(t, open(t, set), false); !slices.Equal(got, test.want) {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
			})
		})
	}
}

// testCuts cuts an answer of a protocol at every byte. What has come is a
// beginning of its text, and it is whole exactly from the byte marker on.
func testCuts(t *testing.T, p upstream.Protocol, kind, whole, text string, marker int) {
	synctest.Test(t, func(t *testing.T) {
		var at int
		var cut bool
		set := newSet(t, upstream.Config{Protocol: p, Limits: once}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) { answerAs(kind, whole[:at], cut)(w, r) })
		source := open(t, set)
		for at = range len(whole) + 1 {
			for _, cut = range []bool{false, true} {
				got := deltas(t, source, true)
				end := got[len(got)-1]
				if at >= marker != strings.HasPrefix(end, "finish stop") || at < marker && end != truncated {
					t.Fatalf("%d of %d bytes, cut %v: the end is %q", at, len(whole), cut, end)
				}
				for _, d := range got {
					if begun, ok := strings.CutPrefix(d, "text "); ok && !strings.HasPrefix(text, begun) {
						t.Fatalf("%d of %d bytes, cut %v: %q", at, len(whole), cut, got)
					}
				}
			}
		}
	})
}

// testPieces lets an answer of a protocol arrive in two pieces, cut at every
// byte: it gives the same.
func testPieces(t *testing.T, p upstream.Protocol, kind, whole string, want []string) {
	synctest.Test(t, func(t *testing.T) {
		var at int
		set := newSet(t, upstream.Config{Protocol: p}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			for _, piece := range []string{whole[:at], whole[at:]} {
				io.WriteString(w, piece)
				w.(http.Flusher).Flush()
			}
		})
		source := open(t, set)
		for at = range len(whole) + 1 {
			if got := deltas(t, source, true); !slices.Equal(got, want) {
				t.Fatalf("in two at %d: got %q, want %q", at, got, want)
			}
		}
	})
}

// testSource holds the source of an answer to the contract.
func testSource(t *testing.T, p upstream.Protocol, handle http.HandlerFunc, want sessiontest.SourceWant) {
	provider := httptest.NewServer(handle)
	defer provider.Close()
	set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: p, BaseURL: provider.URL, Limits: once}}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.CloseIdle()
	sessiontest.TestSource(t, want, func(t *testing.T) session.Source { return open(t, set) })
}

// stream is the server-sent events of chunks.
func stream(chunks ...string) string {
	var s strings.Builder
	for _, c := range chunks {
		s.WriteString("data: " + c + "\n\n")
	}
	return s.String()
}
