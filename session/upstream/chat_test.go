package upstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
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

// stream is the events of chunks.
func stream(chunks ...string) string {
	var s strings.Builder
	for _, c := range chunks {
		s.WriteString("data: " + c + "\n\n")
	}
	return s.String()
}

// whole is an answer that has all a good answer has.
var whole = stream(role, content(`"Hel"`), content(`"lo 👋"`), stop, usage, farewell)

const wholeText = "Hello 👋"

// answer gives body as a stream; cut says that the connection breaks after it.
func answer(body string, cut bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		io.WriteString(w, body)
		if cut {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func open(t *testing.T, set *upstream.Set) session.Source {
	t.Helper()
	source, err := set.Open(session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{"role":"user","content":"Hi"}]`)})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// deltas returns what the source yields, one line each. Text that follows
// text joins it, if join is set.
func deltas(t *testing.T, source session.Source, join bool) (got []string) {
	t.Helper()
	for d, err := range source.Deltas(t.Context(), session.Position{}) {
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
		return "tool " + string(d.Data)
	case session.DeltaUsage:
		return fmt.Sprintf("usage %s %s %s", number(d.Usage.Input), number(d.Usage.Output), d.Usage.Source)
	case session.DeltaFinish:
		return "finish " + d.Reason
	}
	return fmt.Sprintf("unknown %+v", d)
}

const (
	truncated = "failure upstream_truncated: the provider's stream ended before its end marker"
	brokenOff = "failure upstream_truncated: the provider's stream broke off"
	notJSON   = "failure upstream_malformed: the provider sent a chunk that is not JSON of its protocol"
)

func TestStream(t *testing.T) {
	for _, test := range []struct {
		name string
		body string
		cut  bool
		want []string
	}{
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
			want: []string{"text a", brokenOff}},
		{name: "cut in an event", body: stream(content(`"a"`)) + `data: {"choices":[{"del`, cut: true,
			want: []string{"text a", brokenOff}},
		{name: "cut before the first event", cut: true,
			want: []string{brokenOff}},
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
			want: []string{"failure upstream_malformed: the provider sent a chunk whose text is not a string"}},
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
				`tool {"index":0,"id":"x","name":"f","arguments":""}`,
				`tool {"index":0,"arguments":"{\"a\":"}`,
				`tool {"index":0,"arguments":"1}"}`,
				`tool {"index":1,"id":"y","name":"g","arguments":"{}"}`,
				"finish tool_calls"}},
		{name: "tool calls keep their halves apart", body: stream(
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"\ud83d"}}]`),
			delta(`"tool_calls":[{"index":1,"function":{"arguments":"b\ud83d"}}]`),
			delta(`"tool_calls":[{"index":0,"function":{"arguments":"\ude00"}}]`), stop),
			want: []string{
				`tool {"index":0,"arguments":""}`, `tool {"index":1,"arguments":"b"}`,
				`tool {"index":0,"arguments":"😀"}`, `tool {"index":1,"arguments":"` + "\ufffd" + `"}`,
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
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := deltas(t, open(t, newSet(t, upstream.Options{}, answer(test.body, test.cut))), false)
				if !slices.Equal(got, test.want) {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
			})
		})
	}
}

// Wherever a stream ends, what has come is a beginning of the text, and it is
// whole exactly from the finish reason on.
func TestStreamCutAnywhere(t *testing.T) {
	marker := strings.Index(whole, stop) + len(stop) + len("\n\n")
	synctest.Test(t, func(t *testing.T) {
		var at int
		var cut bool
		set := newSet(t, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) { answer(whole[:at], cut)(w, r) })
		source := open(t, set)
		for at = range len(whole) + 1 {
			for _, cut = range []bool{false, true} {
				got := deltas(t, source, true)
				end := got[len(got)-1]
				if at >= marker != (end == "finish stop") || at < marker && !strings.HasPrefix(end, "failure upstream_truncated:") {
					t.Fatalf("%d of %d bytes, cut %v: the end is %q", at, len(whole), cut, end)
				}
				if first := got[0]; strings.HasPrefix(first, "text ") && !strings.HasPrefix("text "+wholeText, first) {
					t.Fatalf("%d of %d bytes, cut %v: %q", at, len(whole), cut, got)
				}
			}
		}
	})
}

// However a stream arrives, it gives the same.
func TestStreamInPieces(t *testing.T) {
	body := strings.ReplaceAll(whole, "\n", "\r\n")
	synctest.Test(t, func(t *testing.T) {
		var at int
		set := newSet(t, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, piece := range []string{body[:at], body[at:]} {
				io.WriteString(w, piece)
				w.(http.Flusher).Flush()
			}
		})
		source := open(t, set)
		want := []string{"text " + wholeText, "usage 7 2 reported", "finish stop"}
		for at = range len(body) + 1 {
			if got := deltas(t, source, true); !slices.Equal(got, want) {
				t.Fatalf("in two at %d: got %q, want %q", at, got, want)
			}
		}
	})
}

func TestLargeToolCall(t *testing.T) {
	// Each byte of a control character takes six on the wire.
	arguments := strings.Repeat("\x01", 30<<10) + strings.Repeat("😀", 10<<10) + strings.Repeat("\u2028", 10<<10)
	raw, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	body := stream(delta(`"tool_calls":[{"index":3,"id":"x","function":{"name":"f","arguments":`+string(raw)+`}}]`), stop)
	synctest.Test(t, func(t *testing.T) {
		var got strings.Builder
		n := 0
		for d, err := range open(t, newSet(t, upstream.Options{}, answer(body, false))).Deltas(t.Context(), session.Position{}) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Kind != session.DeltaToolCall {
				continue
			}
			if size := len(session.Frame{ID: session.MaxFrameID, Kind: session.KindToolCall, Data: d.Data}.AppendWire(nil)); size > session.MaxFrame {
				t.Errorf("delta %d is %d bytes on the wire, more than %d", n, size, session.MaxFrame)
			}
			var call struct {
				Index               int
				ID, Name, Arguments string
			}
			if err := json.Unmarshal(d.Data, &call); err != nil {
				t.Fatal(err)
			}
			if first := n == 0; call.Index != 3 || (call.ID == "x") != first || (call.Name == "f") != first {
				t.Errorf("delta %d is of call %d, %q, %q", n, call.Index, call.ID, call.Name)
			}
			got.WriteString(call.Arguments)
			n++
		}
		if got.String() != arguments {
			t.Errorf("%d deltas give %d bytes of arguments, want %d, or other ones", n, got.Len(), len(arguments))
		}
	})
}

func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			want := `{"model":"org/m:free","messages":[{"role":"user","content":"Hi","x":1.50}],"stream":true,"stream_options":{"include_usage":true}}`
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

// Stopping a session closes the provider's connection, so that the model stops.
func TestStopReachesProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		gone := make(chan time.Time, 1)
		set := newSet(t, upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, stream(content(`"a"`)))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			gone <- time.Now()
		})
		manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: set})
		if err != nil {
			t.Fatal(err)
		}
		go manager.Run(t.Context())
		s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
			Unit:   "rune",
			Source: session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if text := sessiontest.Text(t, s); text != "a" {
			t.Fatalf("text before the stop is %q, want %q", text, "a")
		}
		start := time.Now()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := (<-gone).Sub(start); took != 0 {
			t.Errorf("the provider saw it after %v, want at once", took)
		}
		if state := s.Status().State; state != session.Stopped {
			t.Errorf("state %s, want %s", state, session.Stopped)
		}
		if log.Len() > 0 {
			t.Errorf("a stop is nothing that went wrong, but was logged:\n%s", &log)
		}
	})
}

// A broken stream is a failed session with the provider's reason.
func TestFailureReachesSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: newSet(t, upstream.Options{}, answer(stream(content(`"a\ud83d"`)), true))})
		if err != nil {
			t.Fatal(err)
		}
		go manager.Run(t.Context())
		s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
			Source: session.SourceSpec{Type: session.SourceUpstream, Model: "m", Messages: json.RawMessage(`[{}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		status := s.Status()
		if status.State != session.Failed || status.End.Error == nil || status.End.Error.Code != upstream.CodeTruncated {
			t.Errorf("status %+v, want failed with %s", status, upstream.CodeTruncated)
		}
		if text := sessiontest.Text(t, s); text != "a" {
			t.Errorf("text %q, want %q", text, "a")
		}
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
			provider := httptest.NewServer(answer(test.body, test.cut))
			defer provider.Close()
			set, err := upstream.New([]upstream.Config{{Name: "p", BaseURL: provider.URL}}, upstream.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer set.CloseIdle()
			sessiontest.TestSource(t, test.want, func(t *testing.T) session.Source { return open(t, set) })
		})
	}
}
