package upstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// ask opens a source of a question and returns the body that the provider is
// asked with, or why there is none.
func ask(t *testing.T, c upstream.Config, spec session.SourceSpec) (body string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, c, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			body = string(data)
			status(400, "")(w, r)
		})
		var source session.Source
		if source, err = set.Open(spec); err == nil {
			deltas(t, source, true)
		}
	})
	return body, err
}

// asked is a question for the model m in a dialect.
func asked(d session.Dialect, messages, parameters string) session.SourceSpec {
	spec := session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Dialect: d, Messages: json.RawMessage(messages)}
	if parameters != "" {
		spec.Parameters = json.RawMessage(parameters)
	}
	return spec
}

// compact is JSON without the white space between its tokens, in which fields
// are sorted.
func compact(t *testing.T, raw string) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// A question with all that has a place in every protocol, in both dialects.
const (
	chatTalk = `[
		{"role":"developer","content":"Be brief."},
		{"role":"user","name":"ann","content":[{"type":"text","text":"What <is> this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"low"}}]},
		{"role":"assistant","content":"","refusal":null,"annotations":[]},
		{"role":"assistant","content":"I look.","reasoning_content":"hm","tool_calls":[
			{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"at\":12345678901234567890}"}},
			{"id":"c2","type":"function","function":{"name":"wait","arguments":""}}]},
		{"role":"tool","tool_call_id":"c1","content":"A cat."},
		{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"Done."}]},
		{"role":"assistant","content":null,"refusal":"No."},
		{"role":"user","content":"Why?"}]`
	chatWishes = `{"max_completion_tokens":50,"max_tokens":60,"temperature":0.5,"top_p":0.9,"n":1,"logprobs":false,"top_logprobs":null,"presence_penalty":0.0,
		"stream":true,"stream_options":{"include_usage":false},"user":"ann","store":true,"metadata":{"chat":"42"},"service_tier":"flex","prompt_cache_key":"k","safety_identifier":"s",
		"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"integer"}}},"strict":true}},{"type":"function","function":{"name":"wait"}}],
		"tool_choice":{"type":"function","function":{"name":"look"}},"parallel_tool_calls":false,
		"response_format":{"type":"json_schema","json_schema":{"name":"reply","strict":true,"schema":{"type":"object"}}},"reasoning_effort":"low"}`

	responsesTalk = `[
		{"role":"developer","content":"Be kind."},
		{"type":"message","role":"user","content":[{"type":"input_text","text":"What <is> this?"},{"type":"input_image","image_url":"data:image/png;base64,aGk=","detail":"low"}]},
		{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"},
		{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"I ","annotations":[]},{"type":"output_text","text":"look.","annotations":[]}]},
		{"type":"function_call","id":"fc_1","call_id":"c1","name":"look","arguments":"{\"at\":12345678901234567890}","status":"completed"},
		{"type":"function_call","id":"fc_2","call_id":"c2","name":"wait","arguments":"{}"},
		{"type":"function_call_output","call_id":"c1","output":"A cat."},
		{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"Done."}]},
		{"role":"user","content":"Why?"}]`
	responsesWishes = `{"instructions":"Be brief.","max_output_tokens":50,"temperature":0.5,"top_p":0.9,"stream":true,"background":true,"store":false,"user":"ann","metadata":{"chat":"42"},
		"include":["reasoning.encrypted_content"],"truncation":"auto","previous_response_id":null,"service_tier":"auto","prompt_cache_key":"k","top_logprobs":0,
		"tools":[{"type":"function","name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"integer"}}},"strict":true},{"type":"function","name":"wait","parameters":null,"strict":null}],
		"tool_choice":"required","parallel_tool_calls":false,
		"text":{"format":{"type":"json_schema","name":"reply","strict":true,"schema":{"type":"object"}},"verbosity":"medium"},"reasoning":{"effort":"low","summary":"auto"}}`
)

// What the provider is asked for a client of another protocol: all that has a
// counterpart, and nothing else.
func TestDialects(t *testing.T) {
	for _, test := range []struct {
		dialect              session.Dialect
		p                    upstream.Protocol
		messages, parameters string
		want                 string
	}{
		{session.DialectChat, upstream.Responses, chatTalk, chatWishes, `{"model":"m","stream":true,
			"input":[{"role":"developer","content":"Be brief."},
				{"role":"user","content":[{"type":"input_text","text":"What <is> this?"},{"type":"input_image","image_url":"data:image/png;base64,aGk=","detail":"low"}]},
				{"role":"assistant","content":"I look."},
				{"type":"function_call","call_id":"c1","name":"look","arguments":"{\"at\":12345678901234567890}"},
				{"type":"function_call","call_id":"c2","name":"wait","arguments":""},
				{"type":"function_call_output","call_id":"c1","output":"A cat."},
				{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"Done."}]},
				{"role":"assistant","content":"No."},{"role":"user","content":"Why?"}],
			"max_output_tokens":50,"temperature":0.5,"top_p":0.9,"user":"ann","store":true,"metadata":{"chat":"42"},"service_tier":"flex","prompt_cache_key":"k","safety_identifier":"s",
			"tools":[{"type":"function","name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"integer"}}},"strict":true},{"type":"function","name":"wait","parameters":{"type":"object","properties":{}},"strict":false}],
			"tool_choice":{"type":"function","name":"look"},"parallel_tool_calls":false,
			"text":{"format":{"type":"json_schema","name":"reply","strict":true,"schema":{"type":"object"}}},"reasoning":{"effort":"low"}}`},
		{session.DialectChat, upstream.Anthropic, chatTalk, chatWishes, `{"model":"m","stream":true,"system":[{"type":"text","text":"Be brief."}],
			"messages":[{"role":"user","content":[{"type":"text","text":"What <is> this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}]},
				{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"c1","name":"look","input":{"at":12345678901234567890}},{"type":"tool_use","id":"c2","name":"wait","input":{}}]},
				{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"A cat."},{"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"Done."}]}]},
				{"role":"assistant","content":"No."},{"role":"user","content":"Why?"}],
			"max_tokens":50,"temperature":0.5,"top_p":0.9,"metadata":{"user_id":"ann"},
			"tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object","properties":{"at":{"type":"integer"}}}},{"name":"wait","input_schema":{"type":"object","properties":{}}}],
			"tool_choice":{"type":"tool","name":"look","disable_parallel_tool_use":true},
			"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object"}}},"thinking":{"type":"adaptive"}}`},
		{session.DialectChat, upstream.Ollama, chatTalk, strings.NewReplacer(`"parallel_tool_calls":false`, `"seed":7`, `{"type":"function","function":{"name":"look"}}`, `"auto"`).Replace(chatWishes), `{"model":"m","stream":true,
			"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What <is> this?","images":["aGk="]},
				{"role":"assistant","content":"I look.","tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":{"at":12345678901234567890}}},{"id":"c2","type":"function","function":{"name":"wait","arguments":{}}}]},
				{"role":"tool","tool_call_id":"c1","tool_name":"look","content":"A cat."},{"role":"tool","tool_call_id":"c2","tool_name":"wait","content":"Done."},
				{"role":"assistant","content":"No."},{"role":"user","content":"Why?"}],
			"options":{"num_predict":50,"temperature":0.5,"top_p":0.9,"seed":7,"presence_penalty":0.0},
			"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"integer"}}}}},{"type":"function","function":{"name":"wait","parameters":{"type":"object","properties":{}}}}],
			"format":{"type":"object"},"think":"low"}`},

		{session.DialectResponses, upstream.Chat, responsesTalk, responsesWishes, `{"model":"m","stream":true,"stream_options":{"include_usage":true},
			"messages":[{"role":"system","content":"Be brief."},{"role":"system","content":"Be kind."},
				{"role":"user","content":[{"type":"text","text":"What <is> this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"low"}}]},
				{"role":"assistant","content":"I look.","tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"at\":12345678901234567890}"}},{"id":"c2","type":"function","function":{"name":"wait","arguments":"{}"}}]},
				{"role":"tool","tool_call_id":"c1","content":"A cat."},{"role":"tool","tool_call_id":"c2","content":"Done."},{"role":"user","content":"Why?"}],
			"max_tokens":50,"temperature":0.5,"top_p":0.9,"user":"ann",
			"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"integer"}}},"strict":true}},{"type":"function","function":{"name":"wait"}}],
			"tool_choice":"required","parallel_tool_calls":false,
			"response_format":{"type":"json_schema","json_schema":{"name":"reply","strict":true,"schema":{"type":"object"}}},"reasoning_effort":"low"}`},
		{session.DialectResponses, upstream.Anthropic, responsesTalk, responsesWishes, `{"model":"m","stream":true,"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"Be kind."}],
			"messages":[{"role":"user","content":[{"type":"text","text":"What <is> this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}]},
				{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"c1","name":"look","input":{"at":12345678901234567890}},{"type":"tool_use","id":"c2","name":"wait","input":{}}]},
				{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"A cat."},{"type":"tool_result","tool_use_id":"c2","content":"Done."}]},{"role":"user","content":"Why?"}],
			"max_tokens":50,"temperature":0.5,"top_p":0.9,"metadata":{"user_id":"ann"},
			"tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object","properties":{"at":{"type":"integer"}}}},{"name":"wait","input_schema":{"type":"object","properties":{}}}],
			"tool_choice":{"type":"any","disable_parallel_tool_use":true},
			"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object"}}},"thinking":{"type":"adaptive"}}`},
		{session.DialectResponses, upstream.Ollama, responsesTalk, strings.NewReplacer(`"parallel_tool_calls":false,`, "", `"required"`, `"none"`).Replace(responsesWishes), `{"model":"m","stream":true,
			"messages":[{"role":"system","content":"Be brief."},{"role":"system","content":"Be kind."},{"role":"user","content":"What <is> this?","images":["aGk="]},
				{"role":"assistant","content":"I look.","tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":{"at":12345678901234567890}}},{"id":"c2","type":"function","function":{"name":"wait","arguments":{}}}]},
				{"role":"tool","tool_call_id":"c1","tool_name":"look","content":"A cat."},{"role":"tool","tool_call_id":"c2","tool_name":"wait","content":"Done."},{"role":"user","content":"Why?"}],
			"options":{"num_predict":50,"temperature":0.5,"top_p":0.9},"format":{"type":"object"},"think":"low"}`},
	} {
		t.Run(string(test.dialect)+" to "+string(test.p), func(t *testing.T) {
			got, err := ask(t, upstream.Config{Protocol: test.p}, asked(test.dialect, test.messages, test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := compact(t, got), compact(t, test.want); got != want {
				t.Errorf("body\n got %s\nwant %s", got, want)
			}
		})
	}
}

// refused checks that an error is about a field.
func refused(t *testing.T, err error, field string) {
	t.Helper()
	if invalid, ok := errors.AsType[*session.InvalidError](err); !ok || invalid.Field != field || invalid.Reason == "" {
		t.Errorf("error %v, want one about %s", err, field)
	}
}

// Where both speak one protocol all passes as it is, but for what the relay
// says itself; and what is null is absent.
func TestDialectsPass(t *testing.T) {
	const items = `[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}],"phase":null},{"role":"assistant","content":"a","x":1.50},{"type":"item_reference","id":"msg_1"},{"type":"reasoning","encrypted_content":"x","summary":[]}]`
	for _, test := range []struct {
		name                 string
		config               upstream.Config
		dialect              session.Dialect
		messages, parameters string
		want                 string
	}{
		{"chat", upstream.Config{Parameters: map[string]any{"top_p": 0.5, "min_p": 0.1}}, session.DialectChat, `[{"role":"user","content":[{"type":"video_url","video_url":{"url":"x"}}],"x":[null]}]`,
			`{"model":"other","messages":[],"stream":false,"stream_options":{"include_usage":false},"min_p":null,"top_p":0.25,"x":{"y":[null,1.50]},"n":1,"store":true,"background":true,"seed":null}`,
			`{"messages":[{"role":"user","content":[{"type":"video_url","video_url":{"url":"x"}}],"x":[null]}],"model":"m","stream":true,"stream_options":{"include_usage":true},"min_p":0.1,"top_p":0.25,"x":{"y":[null,1.50]},"n":1,"store":true,"background":true}`},
		{"responses", upstream.Config{Protocol: upstream.Responses}, session.DialectResponses, items,
			`{"model":"other","input":"x","stream":false,"background":true,"store":false,"x":1.50,"include":["reasoning.encrypted_content"],"text":{"format":{"type":"grammar"}},"stream_options":{"include_obfuscation":false},"user":null}`,
			`{"model":"m","stream":true,"input":` + items + `,"store":false,"x":1.50,"include":["reasoning.encrypted_content"],"text":{"format":{"type":"grammar"}}}`},
		{"responses in the background", upstream.Config{Protocol: upstream.Responses, Background: true}, session.DialectResponses, items, `{"background":false,"store":false,"x":[]}`,
			`{"model":"m","stream":true,"input":` + items + `,"background":true,"store":true,"x":[]}`},
		{"chat, in the background", upstream.Config{Protocol: upstream.Responses, Background: true}, session.DialectChat, `[{"role":"user","content":"Hi"}]`, `{"store":false}`,
			`{"model":"m","stream":true,"input":[{"role":"user","content":"Hi"}],"background":true,"store":true}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ask(t, test.config, asked(test.dialect, test.messages, test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := compact(t, got), compact(t, test.want); got != want {
				t.Errorf("body\n got %s\nwant %s", got, want)
			}
		})
	}
}

// What the configuration has stands beside what the relay makes of a client's
// parameters.
func TestDialectsWithConfiguration(t *testing.T) {
	c := upstream.Config{Protocol: upstream.Ollama, Parameters: map[string]any{"options": map[string]any{"num_ctx": 8192, "seed": 1}, "keep_alive": "1h"}}
	got, err := ask(t, c, asked(session.DialectChat, `[{"role":"user","content":"Hi"}]`, `{"seed":2,"stop":"x"}`))
	want := `{"keep_alive":"1h","messages":[{"content":"Hi","role":"user"}],"model":"m","options":{"num_ctx":8192,"seed":2,"stop":["x"]},"stream":true}`
	if err != nil || compact(t, got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	got, err = ask(t, c, asked(session.DialectNative, `[{"role":"user","content":"Hi"}]`, `{"options":{"seed":2}}`))
	want = `{"keep_alive":"1h","messages":[{"content":"Hi","role":"user"}],"model":"m","options":{"seed":2},"stream":true}`
	if err != nil || compact(t, got) != want {
		t.Errorf("native: got %s, %v\nwant %s", got, err, want)
	}
}

// What a provider's protocol cannot say is refused when the session is made, in
// the words of the client.
func TestDialectsRefuse(t *testing.T) {
	const hi = `[{"role":"user","content":"Hi"}]`
	chat, responses := session.DialectChat, session.DialectResponses
	for _, test := range []struct {
		dialect              session.Dialect
		protocols            string
		messages, parameters string
		field                string
	}{
		{chat, "responses anthropic ollama", hi, `{"x":1}`, "parameters.x"},
		{chat, "responses anthropic ollama", hi, `{"n":2}`, "parameters.n"},
		{chat, "responses anthropic ollama", hi, `{"logprobs":true}`, "parameters.logprobs"},
		{chat, "responses anthropic ollama", hi, `{"logit_bias":{"1":2}}`, "parameters.logit_bias"},
		{chat, "responses anthropic", hi, `{"presence_penalty":0.5}`, "parameters.presence_penalty"},
		{chat, "responses anthropic", hi, `{"seed":1}`, "parameters.seed"},
		{chat, "responses", hi, `{"stop":["x"]}`, "parameters.stop"},
		{chat, "anthropic ollama", hi, `{"verbosity":"low"}`, "parameters.verbosity"},
		{chat, "anthropic", hi, `{"temperature":1.5}`, "parameters.temperature"},
		{chat, "anthropic", hi, `{"response_format":{"type":"json_object"}}`, "parameters.response_format"},
		{chat, "responses anthropic ollama", hi, `{"response_format":{"type":"json_schema"}}`, "parameters.response_format"},
		{chat, "anthropic ollama", hi, `{"reasoning_effort":"immense"}`, "parameters.reasoning_effort"},
		{chat, "responses anthropic ollama", hi, `{"tools":[{"type":"custom","custom":{}}]}`, "parameters.tools"},
		{chat, "responses anthropic ollama", hi, `{"tools":{"a":1}}`, "parameters.tools"},
		{chat, "responses anthropic ollama", hi, `{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"custom"}}`, "parameters.tool_choice"},
		{chat, "ollama", hi, `{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}`, "parameters.tool_choice"},
		{chat, "ollama", hi, `{"tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":false}`, "parameters.parallel_tool_calls"},
		{chat, "responses anthropic ollama", `[{"role":"function","name":"f","content":"x"}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[null]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"user"}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"user","content":[{"type":"video_url","video_url":{}}]}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"user","content":[]}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"user","content":{}}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"assistant","content":""}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"assistant","tool_calls":[{"id":"x","type":"custom","custom":{}}]}]`, "", "messages"},
		{chat, "responses anthropic ollama", `[{"role":"tool","content":"x"}]`, "", "messages"},
		{chat, "anthropic ollama", `[{"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"["}}]}]`, "", "messages"},
		{chat, "anthropic ollama", `[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]`, "", "messages"},
		{chat, "ollama", `[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a.test/x.png"}}]}]`, "", "messages"},
		{chat, "anthropic ollama", `[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]`, "", "messages"},

		{responses, "chat anthropic ollama", hi, `{"x":1}`, "parameters.x"},
		{responses, "chat anthropic ollama", hi, `{"seed":1}`, "parameters.seed"},
		{responses, "chat anthropic ollama", hi, `{"previous_response_id":"resp_1"}`, "parameters.previous_response_id"},
		{responses, "chat anthropic ollama", hi, `{"instructions":[]}`, "parameters.instructions"},
		{responses, "chat anthropic ollama", hi, `{"text":{"format":{"type":"grammar"}}}`, "parameters.text"},
		{responses, "chat anthropic ollama", hi, `{"text":{"x":1}}`, "parameters.text"},
		{responses, "chat anthropic ollama", hi, `{"reasoning":{"x":1}}`, "parameters.reasoning"},
		{responses, "chat anthropic ollama", hi, `{"reasoning":"low"}`, "parameters.reasoning"},
		{responses, "anthropic", hi, `{"text":{"format":{"type":"json_object"}}}`, "parameters.text"},
		{responses, "anthropic ollama", hi, `{"reasoning":{"effort":"immense"}}`, "parameters.reasoning"},
		{responses, "chat anthropic ollama", hi, `{"tools":[{"type":"web_search"}]}`, "parameters.tools"},
		{responses, "chat anthropic ollama", hi, `{"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"web_search"}}`, "parameters.tool_choice"},
		{responses, "chat anthropic ollama", `[{"type":"item_reference","id":"x"}]`, "", "messages"},
		{responses, "chat anthropic ollama", `[{"type":"reasoning"}]`, "", "messages"},
		{responses, "chat anthropic ollama", `[{"type":"web_search_call"}]`, "", "messages"},
		{responses, "chat anthropic ollama", `[{"type":"function_call_output","output":"x"}]`, "", "messages"},
		{responses, "chat anthropic ollama", `[{"role":"user","content":[{"type":"input_image","file_id":"x"}]}]`, "", "messages"},
		{responses, "chat anthropic ollama", `[{"role":"user","content":[{"type":"input_file","file_url":"x"}]}]`, "", "messages"},
		{responses, "chat anthropic ollama", `[{"role":"user","content":[1]}]`, "", "messages"},
		{"other", "chat responses anthropic ollama", hi, "", "dialect"},
	} {
		for p := range strings.FieldsSeq(test.protocols) {
			t.Run(string(test.dialect)+" to "+p+" "+test.field, func(t *testing.T) {
				body, err := ask(t, upstream.Config{Protocol: upstream.Protocol(p)}, asked(test.dialect, test.messages, test.parameters))
				if refused(t, err, "source."+test.field); t.Failed() {
					t.Logf("%s %s gave %s", test.messages, test.parameters, body)
				}
			})
		}
	}
}

// Details of translations that no other test shows.
func TestDialectsDetails(t *testing.T) {
	const user, call = `[{"role":"user","content":"Hi"}]`, `"tools":[{"type":"function","function":{"name":"f"}}]`
	chat, responses := session.DialectChat, session.DialectResponses
	for _, test := range []struct {
		dialect              session.Dialect
		model                string
		messages, parameters string
		want                 string // parts of the body, apart from each other
	}{
		{chat, "responses/m", `[{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,aGk="}},{"type":"image_url","image_url":"https://a.test/x.png"}]}]`, ``,
			`{"file_data":"data:application/pdf;base64,aGk=","filename":"a.pdf","type":"input_file"} {"image_url":"https://a.test/x.png","type":"input_image"}`},
		{chat, "responses/m", user, `{"tool_choice":"auto","parallel_tool_calls":false,"tools":[]}`, `{"input":[{"content":"Hi","role":"user"}],"model":"m","stream":true}`},
		{chat, "responses/m", user, `{"response_format":{"type":"text"},"verbosity":"low"}`, `"text":{"format":{"type":"text"},"verbosity":"low"}`},
		{chat, "responses/m", user, `{"reasoning_effort":"high","tool_choice":"none",` + call + `}`, `"reasoning":{"effort":"high"} "tool_choice":"none"`},
		{chat, "anthropic/m", `[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a.test/x.png"}},{"type":"text","text":""}]}]`, ``,
			`"content":[{"source":{"type":"url","url":"https://a.test/x.png"},"type":"image"}]`},
		{chat, "anthropic/m", user, `{"tool_choice":"none","parallel_tool_calls":false,` + call + `}`, `"tool_choice":{"type":"none"}`},
		{chat, "anthropic/m", user, `{"parallel_tool_calls":false,` + call + `}`, `"tool_choice":{"disable_parallel_tool_use":true,"type":"auto"}`},
		{chat, "anthropic/m", user, `{"parallel_tool_calls":true,"stop":"x","temperature":1,"top_k":3,"response_format":{"type":"text"},"reasoning_effort":"none",` + call + `}`,
			`{"max_tokens":8192,"messages":[{"content":"Hi","role":"user"}],"model":"m","stop_sequences":["x"],"stream":true,"temperature":1,"tools":[{"input_schema":{"properties":{},"type":"object"},"name":"f"}],"top_k":3}`},
		{chat, "anthropic/claude-opus-4-6", user, `{"reasoning_effort":"xhigh","stop":["x","y"]}`, `"output_config":{"effort":"max"} "stop_sequences":["x","y"] "thinking":{"type":"adaptive"}`},
		{chat, "ollama/m", user, `{"response_format":{"type":"json_object"},"reasoning_effort":"none","top_k":3}`, `"format":"json" "options":{"top_k":3} "think":false`},
		{chat, "ollama/m", user, `{"tool_choice":"none",` + call + `}`, `{"messages":[{"content":"Hi","role":"user"}],"model":"m","stream":true}`},
		{responses, "chat/gpt-5-mini", user, `{"max_output_tokens":5}`, `"max_completion_tokens":5`},
		{responses, "chat/openai/o3", user, `{"max_output_tokens":5}`, `"max_completion_tokens":5`},
		{responses, "chat/gpt-4.1", user, `{"max_output_tokens":5}`, `"max_tokens":5`},
		{responses, "anthropic/gpt-5", user, `{"max_output_tokens":5}`, `"max_tokens":5`},
		{responses, "chat/m", user, `{"tools":[{"type":"function","name":"f","parameters":{},"description":null}],"tool_choice":{"type":"function","name":"f"}}`,
			`"tool_choice":{"function":{"name":"f"},"type":"function"} "tools":[{"function":{"name":"f","parameters":{}},"type":"function"}]`},
		{responses, "chat/m", user, `{"text":{"format":{"type":"text"},"verbosity":"low"},"reasoning":{"effort":null,"summary":"auto"},"instructions":""}`,
			`"messages":[{"content":"Hi","role":"user"}] "response_format":{"type":"text"} "verbosity":"low"`},
		{responses, "chat/m", `[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"},{"type":"input_file","file_id":"f","filename":null}]},
			{"type":"message","role":"assistant","content":[{"type":"refusal","refusal":"No."}]},{"type":"message","role":"assistant","content":[]},
			{"type":"function_call","call_id":"x","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"x","output":""}]`, ``,
			`{"content":[{"text":"a","type":"text"},{"text":"b","type":"text"},{"file":{"file_id":"f"},"type":"file"}],"role":"user"} {"content":"No.","role":"assistant","tool_calls": "content":"","role":"tool"`},
		{responses, "anthropic/m", `[{"role":"user","content":"Hi"},{"type":"function_call","call_id":"x","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"x","output":[{"type":"input_image","image_url":"https://a.test/x.png"}]}]`, ``,
			`{"content":[{"id":"x","input":{},"name":"f","type":"tool_use"}],"role":"assistant"} {"content":[{"source":{"type":"url","url":"https://a.test/x.png"},"type":"image"}],"tool_use_id":"x","type":"tool_result"}`},
	} {
		t.Run(string(test.dialect)+" to "+test.model, func(t *testing.T) {
			p, _, _ := strings.Cut(test.model, "/")
			spec := asked(test.dialect, test.messages, test.parameters)
			spec.Model = "p" + strings.TrimPrefix(test.model, p)
			got, err := ask(t, upstream.Config{Protocol: upstream.Protocol(p)}, spec)
			if err != nil {
				t.Fatal(err)
			}
			got = compact(t, got)
			for part := range strings.FieldsSeq(test.want) {
				if !strings.Contains(got, part) {
					t.Errorf("body %s\nwithout %s", got, part)
				}
			}
		})
	}
}
