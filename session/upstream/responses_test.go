package upstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
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

// Events of a response.
const (
	created    = `{"type":"response.created","response":{"id":"resp_1","status":"queued","error":null,"incomplete_details":null,"output":[],"usage":null}}`
	inProgress = `{"type":"response.in_progress","response":{"id":"resp_1","status":"in_progress","output":[]}}`
	keepalive  = `{"type":"keepalive"}`
	messageAdd = `{"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}`
	completed  = `{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"message","content":[]}],"usage":{"input_tokens":3,"output_tokens":5}}}`
)

// said is an event with a piece of the text, as the JSON value raw.
func said(raw string) string {
	return `{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":` + raw + `,"logprobs":[]}`
}

// event is one with further fields.
func event(kind, fields string) string { return `{"type":"` + kind + `",` + fields + `}` }

// completedWith is the end with output as its items.
func completedWith(output string) string {
	return event("response.completed", `"response":{"id":"resp_1","status":"completed","output":[`+output+`]}`)
}

// numbered gives events their sequence_number, from 0.
func numbered(events ...string) []string {
	var with []string
	for i, e := range events {
		if object, ok := strings.CutSuffix(e, "}"); ok {
			e = fmt.Sprintf(`%s,"sequence_number":%d}`, object, i)
		}
		with = append(with, e)
	}
	return with
}

func TestResponses(t *testing.T) {
	const malformed = "failure upstream_malformed: the provider sent "
	ended := []string{"usage 3 5 reported", "finish stop"}
	call := func(index int, id, name string) string {
		return event("response.output_item.added", fmt.Sprintf(`"output_index":%d,"item":{"type":"function_call","id":"fc_%s","call_id":"%s","name":"%s","arguments":""}`, index, id, id, name))
	}
	arguments := func(index int, raw string) string {
		return event("response.function_call_arguments.delta", fmt.Sprintf(`"output_index":%d,"delta":%s`, index, raw))
	}
	summary := func(index int, raw string) string {
		return event("response.reasoning_summary_text.delta", fmt.Sprintf(`"output_index":0,"summary_index":%d,"delta":%s`, index, raw))
	}
	summaryPart := func(index int) string {
		return event("response.reasoning_summary_part.added", fmt.Sprintf(`"output_index":0,"summary_index":%d,"part":{"type":"summary_text","text":""}`, index))
	}
	for _, test := range []struct {
		name   string
		events []string
		want   []string
	}{
		{"whole", []string{created, inProgress, messageAdd, event("response.content_part.added", `"part":{}`), said(`"Hel"`), said(`"lo"`),
			event("response.output_text.done", `"output_index":0,"content_index":0,"text":"Hello"`), completed},
			append([]string{"text Hel", "text lo"}, ended...)},
		{"nothing but the end", []string{completed}, ended},
		{"no text", []string{created, messageAdd, completed}, ended},
		{"pieces of UTF-16", []string{created, said(`"\ud83d"`), said(`"\udc69\u200d\ud83d"`), keepalive, said(`"\udc67"`), completed},
			append([]string{"text 👩\u200d", "text 👧"}, ended...)},
		{"half at the end", []string{created, said(`"a\ud83d"`), completed}, append([]string{"text a", "text \ufffd"}, ended...)},
		{"half before a failure", []string{created, said(`"a\ud83d"`), event("response.failed", `"response":{"error":{"message":"bad"}}`)},
			[]string{"text a", "text \ufffd", "failure upstream_error: bad"}},
		{"half before another kind", []string{created, said(`"a\ud83d"`), summary(0, `"hm\ud83d"`), said(`"\ude00"`), completed},
			append([]string{"text a", "text \ufffd", "reasoning hm", "reasoning \ufffd", "text \ufffd"}, ended...)},
		{"half before a call", []string{created, said(`"a\ud83d"`), call(1, "x", "f"), completed},
			append([]string{"text a", "text \ufffd", "tool 1 x f "}, ended...)},

		{"summary", []string{created, summaryPart(0), summary(0, `"one"`), summaryPart(1), summary(1, `"two"`), said(`"a"`), completed},
			append([]string{"reasoning one", "reasoning \n\n", "reasoning two", "text a"}, ended...)},
		{"reasoning", []string{created, event("response.reasoning_text.delta", `"delta":"hm"`), event("response.reasoning_text.done", `"text":"hm"`), completed},
			append([]string{"reasoning hm"}, ended...)},
		{"refusal", []string{created, event("response.refusal.delta", `"delta":"No"`), event("response.refusal.delta", `"delta":"."`), event("response.refusal.done", `"refusal":"No."`), completed},
			append([]string{"text No", "text ."}, ended...)},

		{"call", []string{created, call(0, "x", "f"), arguments(0, `"{\"a\":"`), arguments(0, `"1}"`), event("response.function_call_arguments.done", `"output_index":0,"arguments":"{\"a\":1}"`),
			completedWith(`{"type":"function_call","call_id":"x","name":"f","arguments":"{\"a\":1}"}`)},
			[]string{"tool 0 x f ", `tool 0 - - {"a":`, "tool 0 - - 1}", "finish tool_calls"}},
		{"two calls", []string{created, said(`"a"`), call(1, "x", "f"), call(2, "y", "g"), arguments(1, `"1"`), arguments(2, `"2"`), arguments(1, `"3"`),
			completedWith(`{"type":"message","content":null},{"type":"function_call"},{"type":"function_call"}`)},
			[]string{"text a", "tool 1 x f ", "tool 2 y g ", "tool 1 - - 1", "tool 2 - - 2", "tool 1 - - 3", "finish tool_calls"}},
		{"call, lean end", []string{created, call(0, "x", "f"), event("response.completed", `"response":{"id":"resp_1"}`)},
			[]string{"tool 0 x f ", "finish tool_calls"}},
		{"call without call_id", []string{event("response.output_item.added", `"item":{"type":"function_call","id":"fc_1","name":"f"}`), completedWith(``)},
			[]string{"tool 0 fc_1 f ", "finish stop"}},

		{"text whole", []string{created, messageAdd, event("response.output_text.done", `"output_index":0,"content_index":0,"text":"Hel\ud83d\ude00"`), event("response.output_text.done", `"output_index":0,"content_index":1,"text":"lo"`),
			completedWith(`{"type":"message","content":[{"type":"output_text","text":"Hel😀"},{"type":"output_text","text":"lo"}]}`)},
			[]string{"text Hel😀", "text lo", "finish stop"}},
		{"refusal whole", []string{created, event("response.refusal.done", `"refusal":"No"`), completed}, append([]string{"text No"}, ended...)},
		{"text at the end", []string{created, said(`"a"`), completedWith(`{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"b"}]},{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"c"}]}`)},
			[]string{"text a", "text b", "text c", "finish stop"}},
		{"empty pieces, text whole", []string{created, said(`""`), said(`null`), event("response.output_text.done", `"text":"a"`), completed},
			append([]string{"text a"}, ended...)},
		{"arguments whole", []string{created, call(0, "x", "f"), event("response.function_call_arguments.done", `"output_index":0,"arguments":"{}"`), completedWith(`{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}`)},
			[]string{"tool 0 x f ", "tool 0 - - {}", "finish tool_calls"}},
		{"call whole", []string{created, event("response.output_item.done", `"output_index":0,"item":{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}`), completedWith(`{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}`)},
			[]string{"tool 0 x f {}", "finish tool_calls"}},
		{"call at the end", []string{created, completedWith(`{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}`)},
			[]string{"tool 0 x f {}", "finish tool_calls"}},

		{"usage of zeros", []string{created, event("response.completed", `"response":{"usage":{"input_tokens":0,"output_tokens":0}}`)}, []string{"usage 0 0 reported", "finish stop"}},
		{"usage with a gap", []string{created, event("response.completed", `"response":{"usage":{"output_tokens":1}}`)}, []string{"usage - 1 reported", "finish stop"}},
		{"usage missing", []string{created, event("response.completed", `"response":{"usage":null}`)}, []string{"finish stop"}},

		{"too long", []string{created, said(`"a"`), event("response.incomplete", `"response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":1,"output_tokens":2}}`)},
			[]string{"text a", "usage 1 2 reported", "finish length max_output_tokens"}},
		{"filtered", []string{event("response.incomplete", `"response":{"incomplete_details":{"reason":"content_filter"}}`)}, []string{"finish content_filter"}},
		{"other reason", []string{event("response.incomplete", `"response":{"incomplete_details":{"reason":"tired"}}`)}, []string{"finish tired"}},
		{"no reason", []string{event("response.incomplete", `"response":{"incomplete_details":null}`)}, []string{"finish incomplete"}},
		{"cancelled", []string{created, said(`"a"`), event("response.incomplete", `"response":{"status":"cancelled","usage":{"input_tokens":1,"output_tokens":2}}`)},
			[]string{"text a", "usage 1 2 reported", "failure upstream_error: the provider cancelled the response"}},
		{"cancelled in its own event", []string{created, event("response.cancelled", `"response":{"status":"cancelled"}`)},
			[]string{"failure upstream_error: the provider cancelled the response"}},
		{"failed", []string{created, said(`"a"`), event("response.failed", `"response":{"status":"failed","error":{"code":"server_error","message":"bad"},"usage":{"input_tokens":1,"output_tokens":0}}`)},
			[]string{"text a", "usage 1 0 reported", "failure upstream_error: bad"}},
		{"failed by its rate", []string{created, said(`"a"`), event("response.failed", `"response":{"error":{"code":"rate_limit_exceeded","message":"slow"}}`)},
			[]string{"text a", "failure upstream_rate_limited: slow"}},
		{"failed without words", []string{created, event("response.failed", `"response":{"error":null}`)},
			[]string{"failure upstream_error: the provider reported an error"}},
		{"error", []string{created, said(`"a"`), event("error", `"code":"server_error","message":"bad","param":null`)},
			[]string{"text a", "failure upstream_error: bad"}},
		{"error in an object", []string{event("error", `"error":{"code":"rate_limit_exceeded","message":"slow"}`)},
			[]string{"failure upstream_rate_limited: slow"}},
		{"error without a type", []string{`{"error":{"message":"bad"}}`}, []string{"failure upstream_error: bad"}},
		{"error that repeats the key", []string{event("error", `"message":"no such key: `+testKey+`"`)},
			[]string{"failure upstream_error: no such key: …"}},

		{"keepalives", []string{keepalive, keepalive, created, keepalive, said(`"a"`), keepalive, completed}, append([]string{"text a"}, ended...)},
		{"unknown events", []string{created, event("response.new", `"delta":"x","output_index":"y","item":5,"response":[]`), event("response.output_text.annotation.added", `"annotation":{}`), said(`"a"`), completed},
			append([]string{"text a"}, ended...)},
		{"nothing after the end counts", []string{completed, said(`"a"`), "rubbish"}, ended},
		{"[DONE] is no end", []string{created, said(`"a"`), "[DONE]"}, []string{"text a", truncated}},
		{"truncated", []string{created, said(`"a"`)}, []string{"text a", truncated}},
		{"empty", nil, []string{truncated}},
		{"no JSON", []string{created, `{"type":`}, []string{malformed + "a chunk that is not JSON of its protocol"}},
		{"no object", []string{`7`}, []string{malformed + "a chunk that is not JSON of its protocol"}},
		{"other JSON", []string{event("response.output_text.delta", `"output_index":"x"`)}, []string{malformed + "a chunk that is not JSON of its protocol"}},
		{"text that is no string", []string{said(`{}`)}, []string{malformed + "a text that is not a string"}},
		{"reasoning that is no string", []string{event("response.reasoning_text.delta", `"delta":1`)}, []string{malformed + "a reasoning that is not a string"}},
		{"arguments that are no string", []string{arguments(0, `{}`)}, []string{malformed + "a tool call whose arguments are not a string"}},
		{"content that is no list", []string{completedWith(`{"type":"message","content":"a"}`)}, []string{malformed + "a message whose content is not a list"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Numbers change nothing where cursors are not asked for.
				for _, events := range [][]string{test.events, numbered(test.events...)} {
					set := newSet(t, upstream.Config{Protocol: upstream.Responses, Limits: once}, upstream.Options{}, answer(stream(events...), false))
					var got []string
					for d, err := range open(t, set).Deltas(t.Context(), session.Position{}) {
						if d.Cursor != "" || d.Kind == session.DeltaCursor {
							t.Errorf("%s has the cursor %q: there is nothing to attach to", show(d, err), d.Cursor)
						}
						got = append(got, show(d, err))
					}
					if !slices.Equal(got, test.want) {
						t.Errorf("got  %q\nwant %q", got, test.want)
					}
				}
			})
		})
	}
}

// An SSE name stands for a type that is missing.
func TestResponsesNamedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\nevent: error\ndata: oops\n\n"
		set := newSet(t, upstream.Config{Protocol: upstream.Responses, Limits: once}, upstream.Options{}, answer(body, false))
		want := []string{"text a", "failure upstream_error: the provider reported an error"}
		if got := deltas(t, open(t, set), false); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestResponsesSource(t *testing.T) {
	whole := stream(created, messageAdd, said(`"Hello \ud83d"`), said(`"\ude00 wor"`), said(`"ld"`), completed)
	sessiontest.TestSource(t, sessiontest.SourceWant{Text: "Hello 😀 world", FromStart: true}, func(t *testing.T) session.Source {
		return open(t, newSet(t, upstream.Config{Protocol: upstream.Responses}, upstream.Options{}, answer(whole, false)))
	})
	sessiontest.TestSource(t, sessiontest.SourceWant{Text: "Hello", FromStart: true, Breaks: true}, func(t *testing.T) session.Source {
		return open(t, newSet(t, upstream.Config{Protocol: upstream.Responses}, upstream.Options{}, answer(stream(created, said(`"Hello"`)), true)))
	})
}

func TestResponsesRequest(t *testing.T) {
	for _, test := range []struct {
		name       string
		background bool
		messages   string
		want       string // the input
	}{
		{"plain", false, `[{"role":"system","content":"Be"},{"role":"developer","content":"brief"},{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes"}]`,
			`[{"role":"system","content":"Be"},{"role":"developer","content":"brief"},{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes"}]`},
		{"background", true, `[{"role":"user","content":"Hi"}]`, `[{"role":"user","content":"Hi"}]`},
		{"parts", false, `[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a.test/","detail":"low"}},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"input_file","file_id":"f"},"x"]},{"role":"assistant","content":[{"type":"text","text":"b"},{"type":"refusal","refusal":"c"}]},{"role":"system","content":[{"type":"text","text":"d"}]}]`,
			`[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"https://a.test/","detail":"low"},{"type":"input_image","image_url":"data:,"},{"type":"input_file","file_id":"f"},"x"]},{"role":"assistant","content":[{"type":"output_text","text":"b"},{"type":"refusal","refusal":"c"}]},{"role":"system","content":[{"type":"input_text","text":"d"}]}]`},
		{"calls", false, `[{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"y","type":"function","function":{"name":"g","arguments":"1"}}]},{"role":"tool","tool_call_id":"x","content":"17"},{"role":"tool","tool_call_id":"y","content":[{"type":"text","text":"18"}]}]`,
			`[{"type":"function_call","call_id":"x","name":"f","arguments":"{}"},{"type":"function_call","call_id":"y","name":"g","arguments":"1"},{"type":"function_call_output","call_id":"x","output":"17"},{"type":"function_call_output","call_id":"y","output":[{"type":"input_text","text":"18"}]}]`},
		{"text and a call", false, `[{"role":"assistant","content":"a","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]}]`,
			`[{"role":"assistant","content":"a"},{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}]`},
		{"no calls", false, `[{"role":"assistant","content":"a","tool_calls":null}]`, `[{"role":"assistant","content":"a"}]`},
		{"other calls", false, `[{"role":"assistant","tool_calls":[{"id":"x","type":"custom","custom":{}}]}]`, `[{"id":"x","type":"custom","custom":{}}]`},
		{"items of Responses", false, `[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"item_reference","id":"msg_1"},{"type":"function_call_output","call_id":"x","output":"1"}]`,
			`[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"item_reference","id":"msg_1"},{"type":"function_call_output","call_id":"x","output":"1"}]`},
		{"neither", false, `[{},{"role":7,"content":{"a":1}}]`, `[{},{"role":7,"content":{"a":1}}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var path, key string
				var body map[string]any
				set := newSet(t, upstream.Config{Protocol: upstream.Responses, Background: test.background}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					path, key = r.Method+" "+r.URL.Path, r.Header.Get("Authorization")
					data, _ := io.ReadAll(r.Body)
					json.Unmarshal(data, &body)
					answer(stream(completed), false)(w, r)
				})
				source, err := set.Open(session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(test.messages), Parameters: json.RawMessage(`{"temperature":1}`)})
				if err != nil {
					t.Fatal(err)
				}
				deltas(t, source, false)
				want := map[string]any{"model": "m", "stream": true, "temperature": 1.0}
				if test.background {
					want["background"], want["store"] = true, true
				}
				var input any
				json.Unmarshal([]byte(test.want), &input)
				want["input"] = input
				got, _ := json.Marshal(body)
				if want, _ := json.Marshal(want); string(got) != string(want) {
					t.Errorf("body %s\nwant %s", got, want)
				}
				if path != "POST /v1/responses" || key != "Bearer "+testKey {
					t.Errorf("%s with %q", path, key)
				}
			})
		})
	}
}

func TestResponsesParameters(t *testing.T) {
	for _, test := range []struct {
		background bool
		parameters string
		want       string // the field of the error
	}{
		{false, `{"background":true}`, "source.parameters.background"},
		{false, `{"background":false,"store":false}`, ""},
		{false, `{"input":"x"}`, "source.parameters.input"},
		{true, `{"background":true}`, "source.parameters.background"},
		{true, `{"store":false}`, "source.parameters.store"},
		{true, `{"instructions":"x"}`, ""},
	} {
		set := newSet(t, upstream.Config{Protocol: upstream.Responses, Background: test.background}, upstream.Options{}, answer("", false))
		_, err := set.Open(session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{}]`), Parameters: json.RawMessage(test.parameters)})
		got := ""
		if invalid, ok := errors.AsType[*session.InvalidError](err); ok {
			got = invalid.Field
		}
		if got != test.want || (err != nil) != (test.want != "") {
			t.Errorf("background %v, parameters %s: error %v, want one of %q", test.background, test.parameters, err, test.want)
		}
	}
}

func TestResponsesContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var roles []string
		set := newSet(t, upstream.Config{Protocol: upstream.Responses}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			var body struct {
				Input []struct{ Role, Content string }
			}
			data, _ := io.ReadAll(r.Body)
			json.Unmarshal(data, &body)
			for _, item := range body.Input {
				roles = append(roles, item.Role)
			}
			answer(stream(created, said(`" there"`), completed), false)(w, r)
		})
		got := collectDeltas(open(t, set).Continue(t.Context(), "Hello "), false)
		if want := []string{"seam message", "text  there", "usage 3 5 reported", "finish stop"}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if want := []string{"user", "assistant", "user"}; !slices.Equal(roles, want) {
			t.Errorf("roles %q, want %q", roles, want)
		}
	})
}
