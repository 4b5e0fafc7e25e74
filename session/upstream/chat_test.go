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

// Chunks of a chat completion.
const (
	role     = `{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}`
	stop     = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	usage    = `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}`
	farewell = "[DONE]"
)

// content is a chunk with the JSON value raw as its text.
func content(raw string) string { return delta(`"content":` + raw) }

// delta is a chunk with fields as its delta.
func delta(fields string) string {
	return `{"choices":[{"index":0,"delta":{` + fields + `},"finish_reason":null}]}`
}

// whole is an answer that has all a good answer has.
var whole = stream(role, content(`"Hel"`), content(`"lo 👋"`), stop, usage, farewell)

const wholeText = "Hello 👋"

func TestStream(t *testing.T) {
	testStreams(t, upstream.Chat, eventStream, []streamTest{
		{name: "whole", body: whole,
			want: []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{name: "carriage returns", body: strings.ReplaceAll(whole, "\n", "\r\n"),
			want: []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{name: "no farewell", body: stream(content(`"a"`), stop),
			want: []string{"text a", "finish stop"}},
		{name: "no farewell, usage", body: stream(content(`"a"`), stop, usage),
			want: []string{"text a", "usage 7 2 reported", "finish stop"}},
		{name: "cut after the finish reason", body: stream(content(`"a"`), stop), cut: true,
			want: []string{"text a", "finish stop"}},
		{name: "other finish reason", body: stream(content(`"a"`), `{"choices":[{"delta":{},"finish_reason":"length"}]}`, farewell),
			want: []string{"text a", "finish length"}},
		{name: "finish reason with the last text", body: stream(`{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`, farewell),
			want: []string{"text a", "finish stop"}},
		{name: "farewell without finish reason", body: stream(content(`"a"`), farewell),
			want: []string{"text a", "finish stop"}},
		{name: "nothing after the farewell counts", body: stream(content(`"a"`), farewell, content(`"b"`), "rubbish"),
			want: []string{"text a", "finish stop"}},
		{name: "no text", body: stream(role, stop, farewell),
			want: []string{"finish stop"}},

		{name: "cut", body: stream(content(`"a"`)), cut: true,
			want: []string{"text a", truncated}},
		{name: "cut in an event", body: stream(content(`"a"`)) + `data: {"choices":[{"del`, cut: true,
			want: []string{"text a", truncated}},
		{name: "cut before the first event", cut: true,
			want: []string{truncated}},
		{name: "end before the finish reason", body: stream(content(`"a"`)),
			want: []string{"text a", truncated}},
		{name: "end in the event of the finish reason", body: strings.TrimSuffix(stream(content(`"a"`), stop), "\n"),
			want: []string{"text a", truncated}},
		{name: "end after usage", body: stream(content(`"a"`), usage),
			want: []string{"text a", "usage 7 2 reported", truncated}},
		{name: "empty",
			want: []string{truncated}},
		{name: "empty finish reason is none", body: stream(`{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}`),
			want: []string{"text a", truncated}},

		{name: "error", body: stream(content(`"a"`), `{"error":{"message":"overloaded","code":502},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}`, farewell),
			want: []string{"text a", "failure upstream_error: overloaded"}},
		{name: "error that is a string", body: stream(`{"error":"out of memory"}`, farewell),
			want: []string{"failure upstream_error: out of memory"}},
		{name: "error without words", body: stream(`{"error":{"code":7}}`, farewell),
			want: []string{"failure upstream_error: the provider reported an error"}},
		{name: "error that is null", body: stream(`{"error":null,"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`),
			want: []string{"text a", "finish stop"}},
		{name: "error that repeats the key", body: stream(`{"error":{"message":"no such key: ` + testKey + `"}}`),
			want: []string{"failure upstream_error: no such key: …"}},
		{name: "long error", body: stream(`{"error":{"message":"` + strings.Repeat("€", 400) + `"}}`),
			want: []string{"failure upstream_error: " + strings.Repeat("€", 341) + "…"}},
		{name: "event named error", body: stream(content(`"a"`)) + "event: error\n" + stream(`{"error":{"message":"bad"}}`, farewell),
			want: []string{"text a", "failure upstream_error: bad"}},
		{name: "event named error, bare", body: "event: error\n" + stream(`{"message":"bad"}`, farewell),
			want: []string{"failure upstream_error: bad"}},
		{name: "event named error, plain text", body: "event: error\n" + stream(`oops`, farewell),
			want: []string{"failure upstream_error: the provider reported an error"}},
		{name: "finish reason error", body: stream(content(`"a"`), `{"choices":[{"delta":{},"finish_reason":"error"}]}`, farewell),
			want: []string{"text a", "failure upstream_error: the provider reported an error"}},

		{name: "chunk is no JSON", body: stream(content(`"a"`), `{"choices":`, farewell), want: []string{"text a", notJSON}},
		{name: "chunk is another JSON", body: stream(`{"choices":{"a":1}}`), want: []string{notJSON}},
		{name: "chunk is empty", body: "data:\n\n", want: []string{notJSON}},
		{name: "content is no string", body: stream(content(`{"text":"a"}`)),
			want: []string{"failure upstream_malformed: the provider sent a text that is not a string"}},
		{name: "arguments are no string", body: stream(delta(`"tool_calls":[{"index":0,"function":{"arguments":{}}}]`)),
			want: []string{"failure upstream_malformed: the provider sent a tool call whose arguments are not a string"}},

		{name: "zeros of usage", body: stream(stop, `{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}`, farewell),
			want: []string{"usage 0 0 reported", "finish stop"}},
		{name: "usage with gaps", body: stream(stop, `{"choices":[],"usage":{"completion_tokens":3}}`, farewell),
			want: []string{"usage - 3 reported", "finish stop"}},
		{name: "usage in every chunk", body: stream(`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, `{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`),
			want: []string{"text a", "usage 1 1 reported", "text b", "usage 1 2 reported", "finish stop"}},

		{name: "reasoning", body: stream(delta(`"reasoning":"hm"`), content(`"a"`), stop),
			want: []string{"reasoning hm", "text a", "finish stop"}},
		{name: "reasoning_content", body: stream(delta(`"reasoning_content":"hm","content":null`), delta(`"reasoning_content":null,"content":"a"`), stop),
			want: []string{"reasoning hm", "text a", "finish stop"}},
		{name: "both, one of them null", body: stream(delta(`"reasoning_content":null,"reasoning":"h"`), delta(`"reasoning_content":"","reasoning":"m"`), delta(`"reasoning_content":"!","reasoning":null`), stop),
			want: []string{"reasoning h", "reasoning m", "reasoning !", "finish stop"}},
		{name: "both are one", body: stream(delta(`"reasoning_content":"hm","reasoning":"hm"`), stop),
			want: []string{"reasoning hm", "finish stop"}},

		{name: "tool calls", body: stream(
			delta(`"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":""}}]`),
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]`),
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"1}"}},{"index":1,"id":"y","function":{"name":"g","arguments":"{}"}}]`),
			`{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}`, farewell),
			want: []string{
				"tool 0 x f ",
				`tool 0 - - {"a":`,
				"tool 0 - - 1}",
				"tool 1 y g {}",
				"finish tool_calls"}},
		{name: "tool calls keep their halves apart", body: stream(
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"\ud83d"}}]`),
			delta(`"tool_calls":[{"index":1,"function":{"arguments":"b\ud83d"}}]`),
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"\ude00"}}]`), stop),
			want: []string{
				"tool 1 - - b", "tool 0 - - 😀", "tool 1 - - \ufffd",
				"finish stop"}},

		{name: "keep-alives", body: ": ka\n\n" + stream(content(`"a"`)) + ": OPENROUTER PROCESSING\n\n: ka\n" + stream(content(`"b"`)) + ":\n\n" + stream(stop, farewell),
			want: []string{"text a", "text b", "finish stop"}},
		{name: "other fields", body: "id: 1\nevent: message\nretry: 5\n" + stream(content(`"a"`), stop),
			want: []string{"text a", "finish stop"}},
		{name: "byte order mark", body: "\ufeff" + stream(content(`"a"`), stop),
			want: []string{"text a", "finish stop"}},

		{name: "character in two halves", body: stream(content(`"\ud83d"`), content(`"\udc69\u200d"`), content(`"\uD83D"`), content(`""`), content(`null`), content(`"\uDC67"`), stop),
			want: []string{"text 👩\u200d", "text 👧", "finish stop"}},
		{name: "first half alone", body: stream(content(`"a\ud83d"`), content(`"b"`), stop),
			want: []string{"text a", "text \ufffdb", "finish stop"}},
		{name: "first half at the end", body: stream(content(`"a\ud83d"`), stop, farewell),
			want: []string{"text a", "text \ufffd", "finish stop"}},
		{name: "first half at the end of reasoning", body: stream(delta(`"reasoning":"a\ud83d"`), content(`""`), content(`"b"`), stop),
			want: []string{"reasoning a", "reasoning \ufffd", "text b", "finish stop"}},
		{name: "first half at the end of all reasoning", body: stream(delta(`"reasoning":"a\ud83d"`), stop),
			want: []string{"reasoning a", "reasoning \ufffd", "finish stop"}},
		{name: "second half alone", body: stream(content(`"\ude00a"`), stop),
			want: []string{"text \ufffda", "finish stop"}},
		{name: "backslash, then what looks like a half", body: stream(content(`"\\ud83d"`), content(`"\ude00"`), stop),
			want: []string{`text \ud83d`, "text \ufffd", "finish stop"}},
		{name: "invalid bytes", body: stream(content("\"a\xff\""), stop),
			want: []string{"text a\ufffd", "finish stop"}},

		{name: "null content", body: stream(content(`null`), content(`"a"`), delta(``), `{"choices":[{"index":0}]}`, `{"choices":null}`, `{}`, `null`, stop),
			want: []string{"text a", "finish stop"}},
		{name: "several choices", body: stream(
			`{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"a"}}]}`,
			`{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}`,
			`{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}`, farewell),
			want: []string{"text a", "text b", "finish stop"}},
		{name: "only another choice finishes", body: stream(content(`"a"`), `{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}`),
			want: []string{"text a", truncated}},
	})
}

func TestStreamCutAnywhere(t *testing.T) {
	testCuts(t, upstream.Chat, eventStream, whole, wholeText, strings.Index(whole, stop)+len(stop)+len("\n\n"))
}

func TestStreamInPieces(t *testing.T) {
	testPieces(t, upstream.Chat, eventStream, strings.ReplaceAll(whole, "\n", "\r\n"), []string{"text " + wholeText, "usage 7 2 reported", "finish stop"})
}

func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, upstream.Config{}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			want := `{"messages":[{"content":"Hi","role":"user","x":1.50}],"model":"org/m:free","stream":true,"stream_options":{"include_usage":true}}`
			if string(body) != want {
				t.Errorf("body\n got %s\nwant %s", body, want)
			}
			if got, want := r.Method+" "+r.Host+r.URL.String(), "POST provider.test/v1/chat/completions"; got != want {
				t.Errorf("request %s, want %s", got, want)
			}
			for name, want := range map[string]string{
				"Authorization": "Bearer " + testKey, "Content-Type": "application/json", "Accept": "text/event-stream", "User-Agent": "tokenrelay",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			answer(whole, false)(w, r)
		})
		source, err := set.Open(session.SourceSpec{Model: "p/org/m:free", Messages: json.RawMessage(` [ {"role":"user", "content":"Hi", "x":1.50} ] `)})
		if err != nil {
			t.Fatal(err)
		}
		deltas(t, source, false)
	})
}

func TestChatSource(t *testing.T) {
	const sentence = "Ebbe und Flut 👋. "
	many := slices.Repeat([]string{content(`"` + sentence + `"`)}, 400)
	for _, test := range []struct {
		name string
		body string
		cut  bool
		want sessiontest.SourceWant
	}{
		{"whole", whole, false, sessiontest.SourceWant{Text: wholeText, FromStart: true}},
		{"empty", stream(stop), false, sessiontest.SourceWant{FromStart: true}},
		{"long", stream(append(many, stop)...), false, sessiontest.SourceWant{Text: strings.Repeat(sentence, 400), FromStart: true}},
		{"all in one chunk", stream(`{"choices":[{"delta":{"reasoning":"r\ud83d","content":"a\ud83d","tool_calls":[{"function":{"arguments":"x\ud83d"}}]},"finish_reason":"stop"}],"usage":{}}`), false,
			sessiontest.SourceWant{Text: "a\ufffd", FromStart: true}},
		{"cut", stream(content(`"a"`), content(`"b"`)), true, sessiontest.SourceWant{Text: "ab", FromStart: true, Breaks: true}},
		{"error", stream(content(`"a"`), `{"error":{}}`), false, sessiontest.SourceWant{Text: "a", FromStart: true, Breaks: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			testSource(t, upstream.Chat, answer(test.body, test.cut), test.want)
		})
	}
}
