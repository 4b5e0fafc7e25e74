package server_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// A life is what happens to a session: how it is made, and what is done with it
// then, one after the other.
type life struct {
	name   string
	create func(w *world) (id string)
	then   []func(w *world, id string)
}

var lives = append([]life{
	{"text", native(`{"source":{"type":"text","text":"Hello, world: it is text only."},"unit":"token","rate":20}`), nil},
	{"nothing but an end", native(`{"source":{"type":"push"}}`), []func(*world, string){wait, do("finish", "")}},
	{"all kinds", asked("all kinds", ""), nil},
	{"fails", asked("fails", ""), nil},
	{"length", asked("length", ""), nil},
	{"filtered", asked("filtered", ""), nil},
	{"cut calls", asked("cut calls", ""), nil},
	{"stopped", native(`{"source":{"type":"push"},"unit":"grapheme"}`), []func(*world, string){do("append", `{"text":"e\u0301xyz"}`), wait, do("append", `{"text":"…"}`), wait, do("stop", "")}},
	{"paused", native(`{"source":{"type":"text","text":"Some words, and some more of them, until they are enough."},"unit":"word","rate":20}`),
		[]func(*world, string){wait, do("pause", ""), wait, do("resume", "")}},
	{"pushed", native(`{"source":{"type":"push"},"unit":"line"}`), []func(*world, string){
		do("append", `{"text":"one\r\ntwo"}`), do("append", `{"event":"message","data":{"sender":"ann","body":"<hi>"}}`), wait,
		do("pause", ""), do("resume", ""), do("append", `{"text":"three\nfour\n"}`), do("append", `{"event":"note","data":["\u2028"]}`), wait, do("finish", ""),
	}},
	{"released", asked("tides", `,"on_pause":"release"`), []func(*world, string){wait, do("pause", ""), wait, do("resume", "")}},
	{"continued", func(w *world) string {
		id := asked("tides", "")(w)
		wait(w, id)
		do("stop", "")(w, id)
		location := w.ask("POST", "/v1/sessions/"+id+"/continue", "").Header.Get("Location")
		return strings.TrimPrefix(location, "/v1/sessions/")
	}, nil},
	{"asked by responses", func(w *world) string {
		return w.ask("POST", "/v1/responses", `{"model":"all kinds","input":"Hi","background":true,"metadata":{"a":"<\u2028\u0085>"},"instructions":"Be brief."}`).Header.Get("X-Tokenrelay-Session")
	}, nil},
	{"asked by chat", func(w *world) string {
		a := w.ask("POST", "/v1/chat/completions", `{"model":"own fields","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}`)
		a.conn.Close()
		return a.Header.Get("X-Tokenrelay-Session")
	}, nil},
	{"own fields, broken off", asked("own fields, broken off", ""), nil},
	{"asked by ui", func(w *world) string {
		a := w.ask("POST", "/api/chat", `{"model":"all kinds","id":"c","messages":[{"role":"user","parts":[{"type":"text","text":"Hi"}]},{"id":"a\"1","role":"assistant","parts":[]}]}`)
		a.conn.Close()
		return a.Header.Get("X-Tokenrelay-Session")
	}, nil},
}, hardLives()...)

// hardLives are of a text that is easy to cut wrongly, in each unit.
func hardLives() (lives []life) {
	for _, unit := range chunker.Units() {
		lives = append(lives, life{"hard " + string(unit), native(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":%q,"rate":100}`, quote(hard), unit)), nil})
	}
	return lives
}

func native(body string) func(*world) string {
	return func(w *world) string { return strings.TrimPrefix(w.create(body), "/v1/sessions/") }
}

// asked asks a scripted model, or the provider.
func asked(model, more string) func(*world) string {
	return native(fmt.Sprintf(`{"source":{"type":"upstream","model":%q,"messages":[{"role":"user","content":%q}]},"unit":"delta"%s}`, model, model, more))
}

func do(command, body string) func(*world, string) {
	return func(w *world, id string) {
		w.turn <- struct{}{}
		defer func() { <-w.turn }()
		w.do("POST", "/v1/sessions/"+id+"/"+command, body)
	}
}

func wait(*world, string) { time.Sleep(350 * time.Millisecond) }

// lead does what happens to a session, and returns when it has ended.
func (w *world) lead(l life, id string) {
	for _, step := range l.then {
		step(w, id)
	}
	for {
		w.turn <- struct{}{}
		state := session.State(w.state("/v1/sessions/" + id).State)
		<-w.turn
		if state.Terminal() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// scripts are answers of models, a delta every 50 ms. An answer without a
// finish breaks.
var scripts = map[string][]session.Delta{
	"all kinds": {
		{Kind: session.DeltaReasoning, Text: "Let me \"think\". "}, {Kind: session.DeltaReasoning, Text: "Twice.\n"},
		{Text: "I will "}, {Text: "look: <👩‍👩‍👧>"},
		calls(0, "call_a", "weather", `{"city":"`), calls(1, "", "time", ""), calls(0, "", "", `Trondheim\n"}`), calls(1, "", "", `{"zone":"\u00e9"}`),
		{Text: "That"}, {Text: " is\u2028all."},
		{Kind: session.DeltaUsage, Usage: session.Usage{Input: new(int64(12)), Output: new(int64(34)), Source: session.UsageReported}},
		{Kind: session.DeltaFinish, Reason: "tool_calls"},
	},
	"own fields": {
		sends(`"fields":{"system_fingerprint":"fp_1","tier":"<\u2028>"}`), {Text: "One "},
		sends(`"choice":{"logprobs":{"content":[1]},"delta":{"annotations":["a"]}}`), sends(`"choice":{"delta":{"annotations":["b"]}}`), {Text: "and two"},
		sends(`"fields":{"tier":null,"citations":[]}`), calls(0, "c", "f", "{}"), sends(`"choice":{"delta":{"annotations":["c"]}}`),
		sends(`"usage":{"cost":1,"prompt_tokens":9}`), {Kind: session.DeltaFinish, Reason: "tool_calls"},
	},
	"own fields, broken off": {{Text: "One "}, sends(`"choice":{"logprobs":{"content":[1]}}`)},
	"fails":                  {{Kind: session.DeltaReasoning, Text: "Hm."}, {Text: "Half of "}, {Text: "an ans"}},
	"length":                 {{Text: "As long as "}, {Text: "it may"}, {Kind: session.DeltaFinish, Reason: "length"}},
	"filtered":               {{Text: "Not"}, {Kind: session.DeltaFinish, Reason: "content_filter"}},
	"cut calls":              {calls(3, "c1", "f", `{"a":`), calls(7, "c2", "g", `{"b"`), {Kind: session.DeltaFinish, Reason: "length"}},
}

// models are those of scripts, and those of a provider.
type models struct{ provider session.Opener }

func (m models) Open(spec session.SourceSpec) (session.Source, error) {
	if answer, ok := scripts[spec.Model]; ok {
		return script(answer), nil
	}
	return m.provider.Open(spec)
}

type script []session.Delta

func (s script) Deltas(ctx context.Context, from session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		if from != (session.Position{}) {
			yield(session.Delta{}, session.ErrNotContinuable)
			return
		}
		for _, d := range s {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				yield(session.Delta{}, context.Cause(ctx))
				return
			}
			if !yield(d, nil) || d.Kind == session.DeltaFinish {
				return
			}
		}
		yield(session.Delta{}, &session.Failure{Code: "upstream_rate_limited", Message: "the provider has \"had\" enough"})
	}
}

// A world is a relay with its models and its store, which outlives it.
type world struct {
	*relay
	open  func() session.Store // the store again, once it is closed
	store session.Store
	to    options
	turn  chan struct{} // holds one while somebody talks to the relay
}

func newWorld(t *testing.T, open func() session.Store, o options) *world {
	t.Helper()
	p := upstreamtest.New(upstreamtest.Options{})
	p.Script("tides", tokens(10), tokens(4))
	set, err := upstream.New([]upstream.Config{{Name: "mock", BaseURL: "http://provider.test/v1"}}, upstream.Options{Transport: &http.Transport{DialContext: p.Pipe(t)}})
	if err != nil {
		t.Fatal(err)
	}
	o.session.Upstreams = models{set}
	o.server.Drain = time.Millisecond
	w := &world{open: open, store: open(), to: o, turn: make(chan struct{}, 1)}
	w.to.store = w.store
	w.relay = start(t, w.to)
	return w
}

func inMemory() session.Store { return memstore.New() }

// restart ends the relay and starts it again.
func (w *world) restart() {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	w.relay.stop()
	w.close()
	w.store = w.open()
	w.to.store = w.store
	w.relay = start(w.relay.t, w.to)
}

func (w *world) close() {
	if st, ok := w.store.(io.Closer); ok {
		st.Close()
	}
}
