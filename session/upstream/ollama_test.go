package upstream_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
)

const ndjson = "application/x-ndjson"

const ollamaDone = `{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":1,"prompt_eval_count":7,"eval_count":2}`

// ollamaText is a line with the JSON value raw as its text.
func ollamaText(raw string) string { return ollamaMessage(`"content":` + raw) }

func ollamaMessage(fields string) string {
	return `{"model":"m","created_at":"2026-01-02T03:04:05.6Z","message":{"role":"assistant",` + fields + `},"done":false}`
}

func linesOf(chunks ...string) string { return strings.Join(append(chunks, ""), "\n") }

var wholeOllama = linesOf(ollamaText(`"Hel"`), ollamaText(`"lo 👋"`), ollamaDone)

func TestOllamaStream(t *testing.T) {
	ended := func(fields string) string { return linesOf(ollamaText(`"a"`), `{"done":true`+fields+`}`) }
	call := func(fields string) string {
		return ollamaMessage(`"content":"","tool_calls":[{"function":{"name":"f"` + fields + `}}]`)
	}
	testStreams(t, upstream.Ollama, ndjson, []streamTest{
		{name: "whole", body: wholeOllama, want: []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{name: "no line feed at the end", body: strings.TrimSuffix(wholeOllama, "\n"), want: []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{name: "carriage returns, empty lines", body: strings.ReplaceAll(wholeOllama, "\n", "\r\n\r\n"), want: []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{name: "nothing after the end counts", body: wholeOllama + "rubbish\n", want: []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{name: "text in the last line", body: linesOf(`{"message":{"content":"a"},"done":true,"done_reason":"stop"}`), want: []string{"text a", "finish stop"}},

		{name: "end without done", body: linesOf(ollamaText(`"a"`)), want: []string{"text a", truncated}},
		{name: "cut", body: linesOf(ollamaText(`"a"`)), cut: true, want: []string{"text a", truncated}},
		{name: "cut in a line", body: linesOf(ollamaText(`"a"`)) + `{"message":{"con`, cut: true, want: []string{"text a", truncated}},
		{name: "end in a line", body: linesOf(ollamaText(`"a"`)) + `{"message":{"con`, want: []string{"text a", truncated}},
		{name: "empty", want: []string{truncated}},

		{name: "length", body: ended(`,"done_reason":"length"`), want: []string{"text a", "finish length"}},
		{name: "load", body: ended(`,"done_reason":"load"`), want: []string{"text a", "finish load"}},
		{name: "no reason", body: ended(``), want: []string{"text a", "finish stop"}},

		{name: "thinking", body: linesOf(ollamaMessage(`"content":"","thinking":"h"`), ollamaMessage(`"content":"","thinking":"m"`), ollamaText(`"a"`), ollamaDone),
			want: []string{"reasoning h", "reasoning m", "text a", "usage 7 2 reported", "finish stop"}},
		{name: "reasoning_content", body: linesOf(ollamaMessage(`"content":"","reasoning_content":"h"`), ollamaMessage(`"thinking":"m","reasoning_content":"m"`), ollamaMessage(`"thinking":"","reasoning_content":"!"`), ollamaDone),
			want: []string{"reasoning h", "reasoning m", "reasoning !", "usage 7 2 reported", "finish stop"}},
		{name: "tool call", body: linesOf(call(`,"arguments":{"a": "<\u00e9>\ud83d\ude00", "b":[1,2]}`), `{"done":true,"done_reason":"stop"}`),
			want: []string{`tool 0 call_0 f {"a": "<\u00e9>\ud83d\ude00", "b":[1,2]}`, "finish tool_calls stop"}},
		{name: "tool calls", body: linesOf(ollamaText(`"a"`), ollamaMessage(`"tool_calls":[{"id":"x","function":{"index":0,"name":"f","arguments":{}}},{"function":{"index":1,"name":"g","arguments":null}}]`), call(``), `{"done":true,"done_reason":"length"}`),
			want: []string{"text a", "tool 0 x f {}", "tool 1 call_1 g {}", "tool 2 call_2 f {}", "finish length"}},
		{name: "arguments that are a string", body: linesOf(call(`,"arguments":"{\"a\":1}"`), ollamaDone),
			want: []string{`tool 0 call_0 f {"a":1}`, "usage 7 2 reported", "finish tool_calls stop"}},

		{name: "zeros of usage", body: ended(`,"prompt_eval_count":0,"eval_count":0`), want: []string{"text a", "usage 0 0 reported", "finish stop"}},
		{name: "usage with gaps", body: ended(`,"eval_count":3`), want: []string{"text a", "usage - 3 reported", "finish stop"}},

		{name: "error", body: linesOf(ollamaText(`"a"`), `{"error":"an error was encountered while running the model"}`),
			want: []string{"text a", "failure upstream_error: an error was encountered while running the model"}},
		{name: "error that is an object", body: linesOf(`{"error":{"message":"bad"}}`), want: []string{"failure upstream_error: bad"}},
		{name: "error that is null", body: linesOf(`{"error":null,"done":true}`), want: []string{"finish stop"}},
		{name: "no JSON", body: linesOf(ollamaText(`"a"`), `oops`, ollamaDone), want: []string{"text a", notJSON}},
		{name: "no JSON at the end", body: linesOf(ollamaText(`"a"`), `oops`), want: []string{"text a", notJSON}},
		{name: "another JSON", body: linesOf(`[]`), want: []string{notJSON}},
		{name: "text is no string", body: linesOf(ollamaText(`[]`)), want: []string{"failure upstream_malformed: the provider sent a text that is not a string"}},
		{name: "unknown fields", body: linesOf(`{"tomorrow":1}`, `{}`, `null`, ollamaText(`""`), ollamaText(`null`), ollamaText(`"a"`), ollamaDone),
			want: []string{"text a", "usage 7 2 reported", "finish stop"}},
		{name: "character in two halves", body: linesOf(ollamaText(`"\ud83d"`), ollamaText(`""`), ollamaText(`"\udc69"`), ollamaText(`"a\ud83d"`), ollamaDone),
			want: []string{"text 👩", "text a", "usage 7 2 reported", "text \ufffd", "finish stop"}},
		{name: "long line", body: linesOf(ollamaText(`"` + strings.Repeat("x", 5<<20) + `"`)), want: []string{"failure upstream_malformed: the provider sent an event of more than 4194304 bytes"}},
	})
	testStreams(t, upstream.Ollama, "application/json", []streamTest{
		{name: "no lines", body: wholeOllama, want: []string{`failure upstream_malformed: the provider answered with "application/json" where "application/x-ndjson" was expected: is its protocol ollama?`}},
	})
}

func TestOllamaCutAnywhere(t *testing.T) {
	testCuts(t, upstream.Ollama, ndjson, wholeOllama, wholeText, len(wholeOllama)-1)
}

func TestOllamaInPieces(t *testing.T) {
	testPieces(t, upstream.Ollama, ndjson, wholeOllama, []string{"text " + wholeText, "usage 7 2 reported", "finish stop"})
}

func TestOllamaSource(t *testing.T) {
	testSource(t, upstream.Ollama, answerAs(ndjson, wholeOllama, false), sessiontest.SourceWant{Text: wholeText, FromStart: true})
	testSource(t, upstream.Ollama, answerAs(ndjson, linesOf(ollamaText(`"a"`)), true), sessiontest.SourceWant{Text: "a", FromStart: true, Breaks: true})
}

func TestOllamaRequest(t *testing.T) {
	for _, test := range []struct {
		name, messages, parameters string
		want                       string // body
	}{
		{"plain", `[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi","images":["aGk="]}]`, ``,
			`{"messages":[{"content":"Be brief.","role":"system"},{"content":"Hi","images":["aGk="],"role":"user"}],"model":"m","stream":true}`},
		{"parts", `[{"role":"user","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]},{"role":"assistant","content":[]},{"role":"user","content":null}]`, ``,
			`{"messages":[{"content":"Hi","role":"user"},{"content":"","role":"assistant"},{"content":null,"role":"user"}],"model":"m","stream":true}`},
		{"parameters", `[{"role":"user","content":"Hi"}]`, `{"think":false,"options":{"temperature":0}}`,
			`{"messages":[{"content":"Hi","role":"user"}],"model":"m","options":{"temperature":0},"stream":true,"think":false}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Protocol: upstream.Ollama, BaseURL: "http://provider.test"}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					if body, _ := io.ReadAll(r.Body); string(body) != test.want {
						t.Errorf("body\n got %s\nwant %s", body, test.want)
					}
					if got, want := r.Method+" "+r.Host+r.URL.String(), "POST provider.test/api/chat"; got != want {
						t.Errorf("request %s, want %s", got, want)
					}
					for name, want := range map[string]string{"Authorization": "Bearer " + testKey, "Accept": ndjson} {
						if got := r.Header.Get(name); got != want {
							t.Errorf("%s: %q, want %q", name, got, want)
						}
					}
					answerAs(ndjson, wholeOllama, false)(w, r)
				})
				source, err := set.Open(session.SourceSpec{Model: "m", Messages: json.RawMessage(test.messages), Parameters: json.RawMessage(test.parameters)})
				if err != nil {
					t.Fatal(err)
				}
				if got := deltas(t, source, true); !slices.Contains(got, "text "+wholeText) {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}
