package upstream_test

import (
	"encoding/json"
	"errors"
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

// Events of Anthropic's Messages.
const (
	messageStart = `{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}}`
	textStart    = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	blockStop    = `{"type":"content_block_stop","index":0}`
	ping         = `{"type":"ping"}`
	endTurn      = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}`
	messageStop  = `{"type":"message_stop"}`
)

// textDelta is an event with the JSON value raw as its text.
func textDelta(raw string) string { return blockDelta(0, `"type":"text_delta","text":`+raw) }

func blockDelta(index int, fields string) string {
	return `{"type":"content_block_delta","index":` + string(rune('0'+index)) + `,"delta":{` + fields + `}}`
}

// named is the server-sent events of chunks, each with its type as its name.
func named(chunks ...string) string {
	var s strings.Builder
	for _, c := range chunks {
		var event struct{ Type string }
		json.Unmarshal([]byte(c), &event)
		s.WriteString("event: " + event.Type + "\n" + stream(c))
	}
	return s.String()
}

var wholeMessage = named(messageStart, textStart, ping, textDelta(`"Hel"`), textDelta(`"lo 👋"`), blockStop, endTurn, messageStop)

func TestAnthropicStream(t *testing.T) {
	started := func(chunks ...string) string { return named(append([]string{messageStart}, chunks...)...) }
	ended := func(reason string) string {
		return started(textDelta(`"a"`), `{"type":"message_delta","delta":{"stop_reason":"`+reason+`"}}`, messageStop)
	}
	const in = "usage 7 - reported"
	testStreams(t, upstream.Anthropic, eventStream, []streamTest{
		{name: "whole", body: wholeMessage,
			want: []string{in, "text Hel", "text lo 👋", "usage 7 2 reported", "finish stop end_turn"}},
		{name: "no names of events", body: stream(messageStart, textStart, textDelta(`"a"`), endTurn, messageStop),
			want: []string{in, "text a", "usage 7 2 reported", "finish stop end_turn"}},
		{name: "no farewell", body: started(textDelta(`"a"`), endTurn),
			want: []string{in, "text a", "usage 7 2 reported", "finish stop end_turn"}},
		{name: "cut before the farewell", body: started(textDelta(`"a"`), endTurn), cut: true,
			want: []string{in, "text a", "usage 7 2 reported", "finish stop end_turn"}},
		{name: "farewell without a reason", body: started(textDelta(`"a"`), messageStop),
			want: []string{in, "text a", "finish stop"}},
		{name: "nothing after the farewell counts", body: started(textDelta(`"a"`), messageStop, textDelta(`"b"`), "rubbish"),
			want: []string{in, "text a", "finish stop"}},
		{name: "text where the block begins", body: started(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}`, textDelta(`"b"`), messageStop),
			want: []string{in, "text a", "text b", "finish stop"}},
		{name: "two texts", body: started(textStart, textDelta(`"a"`), blockStop, `{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`, blockDelta(1, `"type":"text_delta","text":"b"`), messageStop),
			want: []string{in, "text a", "text b", "finish stop"}},

		{name: "cut", body: started(textDelta(`"a"`)), cut: true, want: []string{in, "text a", truncated}},
		{name: "end before the reason", body: started(textDelta(`"a"`), blockStop), want: []string{in, "text a", truncated}},
		{name: "reason that is null", body: started(`{"type":"message_delta","delta":{"stop_reason":null}}`), want: []string{in, truncated}},
		{name: "empty", want: []string{truncated}},

		{name: "end_turn", body: ended("end_turn"), want: []string{in, "text a", "finish stop end_turn"}},
		{name: "stop_sequence", body: ended("stop_sequence"), want: []string{in, "text a", "finish stop stop_sequence"}},
		{name: "max_tokens", body: ended("max_tokens"), want: []string{in, "text a", "finish length max_tokens"}},
		{name: "model_context_window_exceeded", body: ended("model_context_window_exceeded"), want: []string{in, "text a", "finish length model_context_window_exceeded"}},
		{name: "tool_use", body: ended("tool_use"), want: []string{in, "text a", "finish tool_calls tool_use"}},
		{name: "refusal", body: ended("refusal"), want: []string{in, "text a", "finish content_filter refusal"}},
		{name: "pause_turn", body: ended("pause_turn"), want: []string{in, "text a", "finish pause_turn"}},
		{name: "a reason of tomorrow", body: ended("bored"), want: []string{in, "text a", "finish bored"}},

		{name: "thinking", body: started(
			`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
			blockDelta(0, `"type":"thinking_delta","thinking":"h"`), blockDelta(0, `"type":"thinking_delta","thinking":"m"`),
			blockDelta(0, `"type":"signature_delta","signature":"c2ln"`), blockStop,
			`{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"x"}}`,
			textDelta(`"a"`), messageStop),
			want: []string{in, "reasoning h", "reasoning m", "text a", "finish stop"}},
		{name: "tool calls", body: started(
			textStart, textDelta(`"a"`), blockStop,
			`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`,
			blockDelta(1, `"type":"input_json_delta","partial_json":""`),
			blockDelta(1, `"type":"input_json_delta","partial_json":"{\"a\":"`), blockDelta(1, `"type":"input_json_delta","partial_json":"1}"`),
			`{"type":"content_block_stop","index":1}`,
			`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}`,
			`{"type":"content_block_stop","index":2}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}`, messageStop),
			want: []string{in, "text a", "tool 1 toolu_1 f ", `tool 1 - - {"a":`, "tool 1 - - 1}", "tool 2 toolu_2 g ", "tool 2 - - {}", "usage 7 9 reported", "finish tool_calls tool_use"}},
		{name: "tools that the provider calls", body: started(
			`{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}`,
			blockDelta(0, `"type":"input_json_delta","partial_json":"{\"query\":1}"`), blockStop,
			`{"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"x"}]}}`,
			`{"type":"content_block_stop","index":1}`,
			blockDelta(2, `"type":"text_delta","text":"a"`), blockDelta(2, `"type":"citations_delta","citation":{"cited_text":"no"}`), messageStop),
			want: []string{in, "text a", "finish stop"}},

		{name: "all parts of the prompt", body: named(`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"output_tokens":4}}}`, endTurn, messageStop),
			want: []string{"usage 123 - reported", "usage 123 2 reported", "finish stop end_turn"}},
		{name: "parts that are null", body: named(`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":null,"cache_read_input_tokens":0}}}`, messageStop),
			want: []string{"usage 3 - reported", "finish stop"}},
		{name: "zeros of usage", body: named(`{"type":"message_start","message":{"usage":{"input_tokens":0,"output_tokens":0}}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":0}}`, messageStop),
			want: []string{"usage 0 - reported", "usage 0 0 reported", "finish stop end_turn"}},
		{name: "no usage", body: named(`{"type":"message_start","message":{}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`, messageStop),
			want: []string{"finish stop end_turn"}},
		{name: "output alone", body: named(`{"type":"message_start","message":{"usage":{"output_tokens":1}}}`, endTurn, messageStop),
			want: []string{"usage - 2 reported", "finish stop end_turn"}},
		{name: "usage grows", body: started(textDelta(`"a"`), `{"type":"message_delta","delta":{},"usage":{"output_tokens":5}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":70,"cache_read_input_tokens":1,"output_tokens":8}}`, messageStop),
			want: []string{in, "text a", "usage 7 5 reported", "usage 71 8 reported", "finish stop end_turn"}},

		{name: "overloaded", body: started(textDelta(`"a"`), `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
			want: []string{in, "text a", "failure upstream_overloaded: Overloaded"}},
		{name: "rate limit", body: started(`{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`),
			want: []string{in, "failure upstream_rate_limited: slow down"}},
		{name: "other error", body: started(`{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`),
			want: []string{in, "failure upstream_error: Internal server error"}},
		{name: "error without a name", body: stream(messageStart, `{"type":"error","error":{"type":"api_error","message":"bad"}}`),
			want: []string{in, "failure upstream_error: bad"}},
		{name: "error without words", body: started(`{"type":"error"}`),
			want: []string{in, "failure upstream_error: the provider reported an error"}},
		{name: "error that repeats the key", body: started(`{"type":"error","error":{"type":"api_error","message":"no ` + testKey + `"}}`),
			want: []string{in, "failure upstream_error: no …"}},

		{name: "no JSON", body: started(textDelta(`"a"`), `{"type":`), want: []string{in, "text a", notJSON}},
		{name: "another JSON", body: stream(`[]`), want: []string{notJSON}},
		{name: "text is no string", body: started(textDelta(`{}`)),
			want: []string{in, "failure upstream_malformed: the provider sent a text that is not a string"}},
		{name: "thinking is no string", body: started(blockDelta(0, `"thinking":1`)),
			want: []string{in, "failure upstream_malformed: the provider sent a reasoning that is not a string"}},
		{name: "unknown events", body: ": ka\n\n" + started(`{"type":"tomorrow","delta":{"text":"no"},"index":3}`, ping, `{}`, `null`, textDelta(`"a"`), blockDelta(0, `"type":"tomorrow_delta","x":"no"`), ping, messageStop),
			want: []string{in, "text a", "finish stop"}},
		{name: "character in two halves", body: started(textDelta(`"\ud83d"`), ping, textDelta(`"\udc69"`), textDelta(`"a\ud83d"`), messageStop),
			want: []string{in, "text 👩", "text a", "text \ufffd", "finish stop"}},
	})
}

func TestAnthropicCutAnywhere(t *testing.T) {
	testCuts(t, upstream.Anthropic, eventStream, wholeMessage, wholeText, strings.Index(wholeMessage, endTurn)+len(endTurn)+len("\n\n"))
}

func TestAnthropicInPieces(t *testing.T) {
	testPieces(t, upstream.Anthropic, eventStream, wholeMessage, []string{"usage 7 - reported", "text " + wholeText, "usage 7 2 reported", "finish stop end_turn"})
}

func TestAnthropicSource(t *testing.T) {
	testSource(t, upstream.Anthropic, answer(wholeMessage, false), sessiontest.SourceWant{Text: wholeText, FromStart: true})
	testSource(t, upstream.Anthropic, answer(named(messageStart, textDelta(`"a"`)), true), sessiontest.SourceWant{Text: "a", FromStart: true, Breaks: true})
}

func TestAnthropicRequest(t *testing.T) {
	for _, test := range []struct {
		name, messages, parameters string
		want                       string // body
	}{
		{"plain", `[{"role":"user","content":"Hi"}]`, ``,
			`{"max_tokens":8192,"messages":[{"content":"Hi","role":"user"}],"model":"m","stream":true}`},
		{"system messages", `[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"developer","content":[{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral"}}]}]`, ``,
			`{"max_tokens":8192,"messages":[{"content":"Hi","role":"user"}],"model":"m","stream":true,"system":[{"text":"Be brief.","type":"text"},{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral"}}]}`},
		{"empty system message", `[{"role":"system","content":""},{"role":"user","content":"Hi"}]`, ``,
			`{"max_tokens":8192,"messages":[{"content":"Hi","role":"user"}],"model":"m","stream":true}`},
		{"parts", `[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image","source":{"type":"url","url":"x"}}]}]`, ``,
			`{"max_tokens":8192,"messages":[{"content":[{"type":"text","text":"Hi"},{"type":"image","source":{"type":"url","url":"x"}}],"role":"user"}],"model":"m","stream":true}`},
		{"tool calls and results", `[{"role":"user","content":"Hi"},
			{"role":"assistant","content":"Let me see.","refusal":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{\"a\":12345678901234567890}"}},{"id":"y","type":"function","function":{"name":"g","arguments":""}}]},
			{"role":"tool","tool_call_id":"x","content":"17"},{"role":"tool","tool_call_id":"y","content":[{"type":"text","text":"18"}]},
			{"role":"user","content":"And?"},
			{"role":"assistant","content":null,"tool_calls":[{"id":"z","type":"function","function":{"name":"f","arguments":"{}"}}]},
			{"role":"tool","tool_call_id":"z","content":""}]`, ``,
			`{"max_tokens":8192,"messages":[{"content":"Hi","role":"user"},` +
				`{"content":[{"text":"Let me see.","type":"text"},{"id":"x","input":{"a":12345678901234567890},"name":"f","type":"tool_use"},{"id":"y","input":{},"name":"g","type":"tool_use"}],"role":"assistant"},` +
				`{"content":[{"content":"17","tool_use_id":"x","type":"tool_result"},{"content":[{"type":"text","text":"18"}],"tool_use_id":"y","type":"tool_result"}],"role":"user"},` +
				`{"content":"And?","role":"user"},` +
				`{"content":[{"id":"z","input":{},"name":"f","type":"tool_use"}],"role":"assistant"},` +
				`{"content":[{"tool_use_id":"z","type":"tool_result"}],"role":"user"}],"model":"m","stream":true}`},
		{"its own parts of tools", `[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"x","name":"f","input":{}}],"tool_calls":null},{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"17"}]}]`, `{"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}}`,
			`{"max_tokens":8192,"messages":[{"content":"Hi","role":"user"},{"content":[{"type":"tool_use","id":"x","name":"f","input":{}}],"role":"assistant","tool_calls":null},{"content":[{"type":"tool_result","tool_use_id":"x","content":"17"}],"role":"user"}],"model":"m","stream":true,"tool_choice":{"type":"any"},"tools":[{"name":"f","input_schema":{"type":"object"}}]}`},
		{"parameters", `[{"role":"user","content":"Hi"}]`, `{"max_tokens":5,"temperature":0,"system":"Be brief."}`,
			`{"max_tokens":5,"messages":[{"content":"Hi","role":"user"}],"model":"m","stream":true,"system":"Be brief.","temperature":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Protocol: upstream.Anthropic}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					if body, _ := io.ReadAll(r.Body); string(body) != test.want {
						t.Errorf("body\n got %s\nwant %s", body, test.want)
					}
					if got, want := r.Method+" "+r.Host+r.URL.String(), "POST provider.test/v1/messages"; got != want {
						t.Errorf("request %s, want %s", got, want)
					}
					for name, want := range map[string]string{"X-Api-Key": testKey, "Authorization": "", "Anthropic-Version": "2023-06-01", "Accept": "text/event-stream"} {
						if got := r.Header.Get(name); got != want {
							t.Errorf("%s: %q, want %q", name, got, want)
						}
					}
					answer(wholeMessage, false)(w, r)
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

// Tool calls that Anthropic's messages cannot have are refused when the session
// is made.
func TestAnthropicToolCallThatIsNone(t *testing.T) {
	set := newSet(t, upstream.Config{Protocol: upstream.Anthropic}, upstream.Options{}, nil)
	for _, call := range []string{
		`{"id":"x"}`, `{"id":"x","type":"custom","custom":{}}`, `{"id":"x","function":{"name":"f","arguments":{}}}`,
		`{"id":"x","function":{"name":"f","arguments":"[]"}}`, `{"id":"x","function":{"name":"f","arguments":"null"}}`, `{"id":"x","function":{"name":"f","arguments":"{"}}`,
	} {
		_, err := set.Open(session.SourceSpec{Model: "m", Messages: json.RawMessage(`[{"role":"assistant","tool_calls":[` + call + `]}]`)})
		if invalid, ok := errors.AsType[*session.InvalidError](err); !ok || invalid.Field != "source.messages" {
			t.Errorf("call %s: error %v", call, err)
		}
	}
}

// The bound that Anthropic requires is one that the model can do, unless
// somebody has set another.
func TestAnthropicMaxTokens(t *testing.T) {
	for _, test := range []struct {
		model      string
		configured map[string]any
		want       int
	}{
		{"claude-2.1", nil, 4096},
		{"claude-instant-1.2", nil, 4096},
		{"claude-3-opus-20240229", nil, 4096},
		{"claude-3-haiku-20240307", nil, 4096},
		{"claude-3-5-haiku-20241022", nil, 8192},
		{"claude-3-7-sonnet-latest", nil, 8192},
		{"claude-opus-4-6", nil, 8192},
		{"m", nil, 8192},
		{"claude-3-opus-20240229", map[string]any{"max_tokens": 7}, 7},
	} {
		t.Run(test.model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var body struct {
					MaxTokens int `json:"max_tokens"`
				}
				set := newSet(t, upstream.Config{Protocol: upstream.Anthropic, Parameters: test.configured}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
						t.Error(err)
					}
					answer(wholeMessage, false)(w, r)
				})
				source, err := set.Open(session.SourceSpec{Model: test.model, Messages: json.RawMessage(`[{}]`)})
				if err != nil {
					t.Fatal(err)
				}
				deltas(t, source, true)
				if body.MaxTokens != test.want {
					t.Errorf("max_tokens is %d, want %d", body.MaxTokens, test.want)
				}
			})
		})
	}
}
