package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"tokenrelay/server"
	"tokenrelay/session"
)

// told is an upstream that yields the same for each question, and then err; if
// it hangs, not before it is let go.
type told struct {
	deltas []session.Delta
	err    error
	hangs  bool
}

func (u told) Open(session.SourceSpec) (session.Source, error) { return u, nil }

func (u told) Deltas(ctx context.Context, _ session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		for _, d := range u.deltas {
			if !yield(d, nil) {
				return
			}
		}
		if u.hangs {
			<-ctx.Done()
			yield(session.Delta{}, context.Cause(ctx))
		} else if u.err != nil {
			yield(session.Delta{}, u.err)
		}
	}
}

// What an upstream yields.
func says(text string) session.Delta { return session.Delta{Text: text} }

func thinks(text string) session.Delta {
	return session.Delta{Kind: session.DeltaReasoning, Text: text}
}

func calls(index int, id, name, arguments string) session.Delta {
	return session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: index, ID: id, Name: name, Arguments: arguments}}
}

func costs(input, output int64) session.Delta {
	return session.Delta{Kind: session.DeltaUsage, Usage: session.Usage{Input: &input, Output: &output, Source: session.UsageReported}}
}

func ends(reason string) session.Delta {
	return session.Delta{Kind: session.DeltaFinish, Reason: reason}
}

// sends is what a provider that speaks chat completions sends of its own.
func sends(members string) session.Delta {
	return session.Delta{Kind: session.DeltaProvider, Text: `{"protocol":"chat",` + members + `}`}
}

// completion is the body of a create of a chat completion, with more fields.
func completion(model, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"tides"}]%s}`, model, more)
}

const (
	streamed  = `,"stream":true`
	withUsage = `,"stream_options":{"include_usage":true}`
)

// The wire form of chat completions, as a stream and then as a whole.
func TestGoldenChat(t *testing.T) {
	for name, test := range map[string]struct {
		upstream told
		more     string
	}{
		"chat-text":  {told{deltas: []session.Delta{says("Hello, 👩‍👩‍👧 \"world\"\n"), says("\u2028"), ends("stop")}}, ""},
		"chat-usage": {told{deltas: []session.Delta{says("Hello"), costs(7, 2), ends("length")}}, withUsage},
		"chat-reasoning-tools": {told{deltas: []session.Delta{
			thinks("The user wants "), thinks("tides."), says("Let me see."),
			calls(2, "call_a", "tides", ""), calls(2, "", "", `{"at":`), calls(5, "", "moon", `{"on":"`), calls(2, "", "", `"Bremen"}`), calls(5, "", "", `today"}`),
			ends("tool_calls"),
		}}, withUsage},
		"chat-provider-fields": {told{deltas: []session.Delta{
			sends(`"fields":{"system_fingerprint":"fp_1","service_tier":"auto","id":"theirs","error":null}`),
			sends(`"choice":{"logprobs":{"content":[{"token":"Hel","logprob":-0.1}]}}`), says("Hel"),
			sends(`"choice":{"logprobs":{"content":[{"token":"lo","logprob":-0.2}]},"delta":{"annotations":[{"type":"url_citation"}],"content":"theirs"}}`), says("lo"),
			sends(`"fields":{"service_tier":"default","citations":["https://a.example"]}`), says("!"),
			sends(`"choice":{"native_finish_reason":"STOP","delta":{"annotations":[{"type":"file"}]}}`),
			sends(`"usage":{"prompt_tokens":70,"completion_tokens_details":{"reasoning_tokens":0},"cost":0.0012}`), costs(7, 2),
			ends("stop"),
		}}, withUsage},
		"chat-function-call": {told{deltas: []session.Delta{
			sends(`"choice":{"delta":{"function_call":{"name":"tides","arguments":"{\"at\":"}}}`), sends(`"choice":{"delta":{"function_call":{"arguments":"\"Bremen\"}"}}}`),
			{Kind: session.DeltaFinish, Reason: "tool_calls", ProviderReason: "function_call"},
		}}, ""},
		"chat-failed": {told{
			deltas: []session.Delta{says("Hel"), sends(`"choice":{"logprobs":{"content":[]}}`)},
			err:    &session.Failure{Code: "upstream_truncated", Message: "the provider's answer broke off"},
		}, withUsage},
		"chat-stopped": {told{deltas: []session.Delta{says("Hel")}, hangs: true}, withUsage},
	} {
		goldenAnswer(t, name, test.upstream, completion("mock/m", streamed+test.more), answerPaths{
			create: "/v1/chat/completions", stop: "/v1/sessions/%s/stop", whole: "/v1/chat/completions/chatcmpl-%s",
		})
	}
}

// answerPaths are those of a protocol's answers; all but create have an id.
type answerPaths struct{ create, stop, whole string }

// goldenAnswer compares an answer, as a stream and then as a whole, with a
// transcript. An upstream that hangs is stopped.
func goldenAnswer(t *testing.T, name string, upstream told, body string, paths answerPaths) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: upstream}})
		a := r.ask("POST", paths.create, body)
		id := a.Header.Get("X-Tokenrelay-Session")
		if upstream.hangs {
			time.Sleep(time.Second)
			r.do("POST", fmt.Sprintf(paths.stop, id), "")
		}
		got := canonical(t, a.Body)
		status, whole := r.do("GET", fmt.Sprintf(paths.whole, id), "")
		golden(t, name, strings.ReplaceAll(fmt.Sprintf("%s\n%d\n%s", got, status, whole), id, "ID"))
	})
}

// golden compares what was written with a transcript.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s (%v): go test ./server -update, if it is meant; got:\n%s", path, err, got)
	}
}

// What a provider sends is merged into one value where it comes in several.
func TestProviderFields(t *testing.T) {
	for name, test := range map[string]struct {
		frames []string
		want   string // the members of a chunk's delta and what follows it
	}{
		"arrays":           {[]string{`"choice":{"delta":{"a":[1]}}`, `"choice":{"delta":{"a":[ ]}}`, `"choice":{"delta":{"a":[2,3]}}`}, `"a":[1,2,3]},"finish_reason":null}]}`},
		"objects":          {[]string{`"choice":{"x":{"b":{"d":1},"a":[1]}}`, `"choice":{"x":{"b":{"c":2},"a":[2]}}`}, `},"finish_reason":null,"x":{"a":[1,2],"b":{"c":2,"d":1}}}]}`},
		"others":           {[]string{`"choice":{"delta":{"a":1,"b":"x"}}`, `"choice":{"delta":{"a":2,"b":"y"}}`}, `"a":2,"b":"y"},"finish_reason":null}]}`},
		"null":             {[]string{`"choice":{"logprobs":{"content":[1]},"x":null}`, `"choice":{"logprobs":null}`}, `},"finish_reason":null,"logprobs":{"content":[1]},"x":null}]}`},
		"another type":     {[]string{`"choice":{"delta":{"a":[1]}}`, `"choice":{"delta":{"a":{"b":1}}}`, `"choice":{"delta":{"a":true}}`}, `"a":true},"finish_reason":null}]}`},
		"pieces":           {[]string{`"choice":{"delta":{"function_call":{"name":"f","arguments":"{\""}}}`, `"choice":{"delta":{"function_call":{"arguments":"a\":1}"}}}`}, `"function_call":{"arguments":"{\"a\":1}","name":"f"}},"finish_reason":null}]}`},
		"too deep":         {[]string{`"choice":{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}`, `"choice":{"a":{"b":{"c":{"d":{"e":{"g":2}}}}}}`}, `},"finish_reason":null,"a":{"b":{"c":{"d":{"e":{"g":2}}}}}}]}`},
		"ours":             {[]string{`"choice":{"index":7,"finish_reason":"x","message":{},"delta":{"role":"x","content":"x","reasoning_content":"x","tool_calls":[]}}`}, `},"finish_reason":null}]}`},
		"not an object":    {[]string{`"choice":[1]`, `"choice":{"delta":"x"}`, `"fields":7`, `"usage":"x"`}, `},"finish_reason":null}]}`},
		"another protocol": {[]string{`"protocol":"responses","choice":{"a":1}`}, `},"finish_reason":null}]}`},
		"not JSON":         {[]string{`"choice":{`}, `},"finish_reason":null}]}`},
	} {
		frames := []session.Frame{{ID: 1, Kind: session.KindSession, Data: []byte(`{"created":"2026-01-02T03:04:05Z"}`)}}
		for _, members := range test.frames {
			frames = append(frames, session.Frame{Kind: session.KindProvider, Data: []byte(`{"protocol":"chat",` + members + `}`)})
		}
		frames = append(frames, session.Frame{Kind: session.KindReasoning, Data: []byte(`{"text":"."}`)})
		got := server.RenderChat(session.Info{}, frames...)
		_, last, _ := strings.Cut(got, `"reasoning_content":".`)
		if last = strings.TrimPrefix(strings.TrimPrefix(last, `"`), ","); last != test.want+"\n\n" {
			t.Errorf("%s: chunk ends with %s, want %s", name, last, test.want)
		}
	}
}

// A chunk of text costs no memory of its own.
func TestChatAllocations(t *testing.T) {
	if got := server.ChatAllocations(); got > 0 {
		t.Errorf("allocations for a chunk of text = %v, want 0", got)
	}
}

// Whatever a provider sends, what it is shown in stays a chunk.
func FuzzProviderFields(f *testing.F) {
	for _, members := range []string{
		`"fields":{"a":1,"error":null,"id":"x"},"usage":{"cost":1,"source":"x"}`, `"choice":{"delta":{"a":[1],"content":"x"},"logprobs":{"content":[]}}`,
		`"choice":{"delta":{"function_call":{"arguments":"a"}}}`, `"choice":{"delta":null,"":{"":{"":[[]]}}}`, `"fields":{"":"\u2028"}`,
	} {
		f.Add([]byte(`{"protocol":"chat",`+members+`}`), []byte(`{"protocol":"chat",`+members+`}`))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		frames := []session.Frame{{ID: 1, Kind: session.KindSession, Data: []byte(`{"created":"2026-01-02T03:04:05Z"}`)}}
		for _, data := range [][]byte{first, second} {
			var line bytes.Buffer
			if json.Compact(&line, data) != nil || !utf8.Valid(data) || bytes.Contains(line.Bytes(), []byte("\u0085")) {
				return // of which there is no frame
			}
			frames = append(frames, session.Frame{Kind: session.KindProvider, Data: line.Bytes()})
		}
		frames = append(frames, session.Frame{Kind: session.KindText, Data: []byte(`{"text":"Hel"}`)}, session.Frame{Kind: session.KindDone, Data: []byte(`{"reason":"stop"}`)})
		chunks := split(server.RenderChat(session.Info{}, frames...))
		for _, event := range chunks[:len(chunks)-1] {
			_, data, _ := strings.Cut(event, "\ndata: ")
			var chunk map[string]json.RawMessage
			if err := json.Unmarshal([]byte(data), &chunk); err != nil || strings.Count(event, "\n") != 3 {
				t.Errorf("chunk %q: %v", event, err)
			}
			if chunk["error"] != nil || string(chunk["object"]) != `"chat.completion.chunk"` {
				t.Errorf("chunk %s has what is not the provider's to say", data)
			}
		}
		if got := contents(strings.Join(chunks, "")); len(chunks) != 4 || got != "Hel" {
			t.Errorf("%d chunks with %q, want 4 with Hel", len(chunks), got)
		}
	})
}
