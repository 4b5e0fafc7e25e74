package upstream_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// What a provider's words are bounded by, in bytes.
const (
	mostReason  = 256
	mostMessage = 1<<10 + len("…")
)

// A finish reason is told as far as a frame has room for it, in whole
// characters.
func TestLongReason(t *testing.T) {
	reason := "x" + strings.Repeat("é", 1<<18)
	for _, test := range []struct {
		p    upstream.Protocol
		body string
	}{
		{upstream.Chat, stream(`{"choices":[{"delta":{},"finish_reason":"`+reason+`"}]}`, farewell)},
		{upstream.Responses, stream(created, event("response.incomplete", `"response":{"id":"resp_1","status":"incomplete","incomplete_details":{"reason":"`+reason+`"}}`))},
		{upstream.Anthropic, named(event("message_delta", `"delta":{"stop_reason":"`+reason+`"}`), messageStop)},
		{upstream.Ollama, linesOf(`{"done":true,"done_reason":"` + reason + `"}`)},
	} {
		t.Run(string(test.p), func(t *testing.T) {
			got := collectDeltas(decoding(t, test.p, func() io.Reader { return strings.NewReader(test.body) }).Deltas(t.Context(), session.Position{}), true)
			if want := "finish " + reason[:mostReason-1]; got[len(got)-1] != want {
				t.Errorf("got %d bytes, %.80q, want %d", len(got[len(got)-1]), got, len(want))
			}
		})
	}
}

// Whatever a failure repeats of the provider's, it is short.
func TestLongFailure(t *testing.T) {
	long := strings.Repeat("é", 100<<10)
	for name, handle := range map[string]http.HandlerFunc{
		"content type": typed("text/"+strings.Repeat("x", 200<<10), ""),
		"status":       status(500, `{"error":{"message":"`+long[:20<<10]+`"}}`),
		"in a stream":  answer(stream(`{"error":{"message":"`+long+`"}}`), false),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Limits: once}, upstream.Options{}, handle)
				for _, err := range open(t, set).Deltas(t.Context(), session.Position{}) {
					failure, ok := err.(*session.Failure)
					if !ok || len(failure.Message) > mostMessage || !strings.HasSuffix(failure.Message, "…") || strings.Contains(failure.Message, "\ufffd") {
						t.Errorf("got %d bytes: %.80v", len(fmt.Sprint(err)), err)
					}
				}
			})
		})
	}
}

// One event does not take many times its size in memory, whatever it holds.
func TestEventInMemory(t *testing.T) {
	const most = 16 << 20 // bytes, for an event of 1 MiB
	fill := func(head, element, tail string) string {
		n := (1<<20 - len(head) - len(tail) - 100) / (len(element) + 1)
		return head + strings.Repeat(element+",", n) + element + tail
	}
	item := fill(`{"type":"message","content":[`, `{}`, `]}`)
	for _, test := range []struct {
		name string
		p    upstream.Protocol
		body string
	}{
		{"choices", upstream.Chat, stream(fill(`{"choices":[`, `{}`, `]}`), stop, farewell)},
		{"calls", upstream.Chat, stream(fill(`{"choices":[{"delta":{"tool_calls":[`, `{}`, `]}}]}`), stop, farewell)},
		{"code", upstream.Chat, stream(fill(`{"error":{"code":[`, `[]`, `]}}`))},
		{"calls", upstream.Ollama, linesOf(fill(`{"message":{"tool_calls":[`, `{}`, `]}}`), ollamaDone)},
		{"items", upstream.Responses, stream(created, fill(`{"type":"response.completed","response":{"output":[`, `{}`, `]}}`))},
		{"parts", upstream.Responses, stream(created, completedWith(item))},
		{"nothing known", upstream.Anthropic, named(fill(`{"type":"ping","x":[`, `{}`, `]}`), messageStop)},
	} {
		t.Run(string(test.p)+" "+test.name, func(t *testing.T) {
			source := decoding(t, test.p, func() io.Reader { return strings.NewReader(test.body) })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range source.Deltas(t.Context(), session.Position{}) {
			}
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > most {
				t.Errorf("an event of %d KiB took %d KiB", len(test.body)>>10, took>>10)
			}
		})
	}
}

const tooManyCalls = "failure upstream_malformed: the provider sent more than 1024 tool calls"

// The calls of an answer are counted, whether they come in one event or in
// many; an index is no negative number.
func TestManyCalls(t *testing.T) {
	calls := func(n int, call func(i int) string) []string {
		var all []string
		for i := range n {
			all = append(all, call(i))
		}
		return all
	}
	chatCall := func(i int) string { return fmt.Sprintf(`{"index":%d,"id":"x"}`, i) }
	ollamaCall := func(int) string { return `{"function":{"name":"f"}}` }
	for _, test := range []struct {
		name string
		p    upstream.Protocol
		body func(n int) string
	}{
		{"in one event", upstream.Chat, func(n int) string {
			return stream(delta(`"tool_calls":[`+strings.Join(calls(n, chatCall), ",")+`]`), stop, farewell)
		}},
		{"in many", upstream.Chat, func(n int) string {
			return stream(append(calls(n, func(i int) string { return delta(`"tool_calls":[` + chatCall(i) + `]`) }), stop, farewell)...)
		}},
		{"in one event", upstream.Ollama, func(n int) string {
			return linesOf(ollamaMessage(`"tool_calls":[`+strings.Join(calls(n, ollamaCall), ",")+`]`), ollamaDone)
		}},
		{"in many", upstream.Ollama, func(n int) string {
			return linesOf(append(calls(n, func(i int) string { return ollamaMessage(`"tool_calls":[` + ollamaCall(i) + `]`) }), ollamaDone)...)
		}},
		{"in many", upstream.Anthropic, func(n int) string {
			return named(append(calls(n, func(i int) string {
				return fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":"x","name":"f"}}`, i)
			}), messageStop)...)
		}},
		{"in many", upstream.Responses, func(n int) string {
			return stream(append(calls(n, func(i int) string {
				return event("response.output_item.added", fmt.Sprintf(`"output_index":%d,"item":{"type":"function_call","call_id":"x","name":"f"}`, i))
			}), completed)...)
		}},
	} {
		t.Run(string(test.p)+" "+test.name, func(t *testing.T) {
			for _, n := range []int{1024, 1025} {
				got := collectDeltas(decoding(t, test.p, func() io.Reader { return strings.NewReader(test.body(n)) }).Deltas(t.Context(), session.Position{}), false)
				if last := got[len(got)-1]; n > 1024 && last != tooManyCalls || n <= 1024 && !strings.HasPrefix(last, "finish") {
					t.Errorf("%d calls: the end is %q", n, last)
				}
			}
		})
	}
	const negative = "failure upstream_malformed: the provider sent an index that is negative"
	for p, body := range map[upstream.Protocol]string{
		upstream.Chat:      stream(delta(`"tool_calls":[{"index":-1,"id":"x"}]`), stop, farewell),
		upstream.Anthropic: named(`{"type":"content_block_start","index":-1,"content_block":{"type":"tool_use","id":"x","name":"f"}}`, messageStop),
		upstream.Responses: stream(created, event("response.function_call_arguments.delta", `"output_index":-1,"delta":"x"`), completed),
	} {
		got := collectDeltas(decoding(t, p, func() io.Reader { return strings.NewReader(body) }).Deltas(t.Context(), session.Position{}), false)
		if want := []string{negative}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", p, got, want)
		}
	}
}

// The parts of a response are counted too.
func TestManyParts(t *testing.T) {
	var events []string
	for i := range 10_000 {
		events = append(events, event("response.output_text.delta", fmt.Sprintf(`"output_index":%d,"delta":"a"`, i)))
	}
	got := collectDeltas(decoding(t, upstream.Responses, func() io.Reader { return strings.NewReader(stream(events...)) }).Deltas(t.Context(), session.Position{}), true)
	if want := "failure upstream_malformed: the provider sent more than 4096 parts"; got[len(got)-1] != want {
		t.Errorf("got %.80q, want %q", got[len(got)-1], want)
	}
}

// A tool call's id and name must have room in a frame.
func TestLongCall(t *testing.T) {
	const malformed = "failure upstream_malformed: the provider sent a tool call whose id or name has more than 1024 bytes"
	word := strings.Repeat("x", 1<<10)
	for _, test := range []struct{ id, name, want string }{
		{word, word, "finish stop"},
		{word + "x", "f", malformed},
		{"x", word + "x", malformed},
	} {
		body := stream(delta(`"tool_calls":[{"index":0,"id":"`+test.id+`","function":{"name":"`+test.name+`"}}]`), stop, farewell)
		got := collectDeltas(decoding(t, upstream.Chat, func() io.Reader { return strings.NewReader(body) }).Deltas(t.Context(), session.Position{}), false)
		if last := got[len(got)-1]; last != test.want {
			t.Errorf("id of %d and name of %d bytes: %.80q, want %q", len(test.id), len(test.name), last, test.want)
		}
	}
}

// Behind the finish reason there is usage, and nothing else of the answer.
func TestAfterFinish(t *testing.T) {
	more := []string{content(`"b"`), delta(`"reasoning":"r"`), delta(`"tool_calls":[{"index":0,"id":"x"}]`), content(`7`)}
	testStreams(t, upstream.Chat, eventStream, []streamTest{
		{name: "chat", body: stream(append([]string{content(`"a"`), stop}, append(more, usage, farewell)...)...),
			want: []string{"text a", "usage 7 2 reported", "finish stop"}},
	})
	testStreams(t, upstream.Anthropic, eventStream, []streamTest{
		{name: "anthropic", body: named(textDelta(`"a"`), event("message_delta", `"delta":{"stop_reason":"end_turn"}`), textDelta(`"b"`), blockDelta(0, `"thinking":"r"`),
			`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"x","name":"f"}}`,
			event("message_delta", `"usage":{"output_tokens":2}`), messageStop),
			want: []string{"text a", "usage - 2 reported", "finish stop end_turn"}},
	})
}

// An error whose body does not end is judged by its status, in time for
// another try.
func TestErrorBodyStalls(t *testing.T) {
	for _, test := range []struct {
		code int
		body string
		want string
	}{
		{429, "", "failure upstream_rate_limited: Too Many Requests"},
		{429, `{"error":{"message":"slow`, "failure upstream_rate_limited: Too Many Requests"},
		{503, `{"error":{"message":"slow down"}}`, "failure upstream_overloaded: 503: slow down"},
		{401, "", "failure upstream_unauthorized: the provider refused the relay's key"},
	} {
		t.Run(fmt.Sprint(test.code, test.body), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				l := limits
				l.FirstToken, l.Retries = 3*time.Second, -1
				stalls := func(w http.ResponseWriter, r *http.Request) {
					requests++
					status(test.code, test.body)(w, r)
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				}
				set := newSet(t, upstream.Config{Limits: l}, upstream.Options{}, stalls)
				began := time.Now()
				got := deltas(t, open(t, set), false)
				if want := []string{test.want}; !slices.Equal(got, want) || time.Since(began) != 5*time.Second {
					t.Errorf("got %q after %v, want %q after 5s", got, time.Since(began), want)
				}
				l.Retries = 1
				requests = 0
				deltas(t, open(t, newSet(t, upstream.Config{Limits: l}, upstream.Options{}, stalls)), false)
				if passes := test.code != 401; passes != (requests == 2) {
					t.Errorf("%d requests", requests)
				}
			})
		})
	}
}
