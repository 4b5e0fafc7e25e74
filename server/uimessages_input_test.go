package server_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/server"
)

// What a model is asked of what a user interface shows.
func TestUIMessages(t *testing.T) {
	user := `{"role":"user","content":"Hi"}`
	for name, test := range map[string]struct{ messages, want string }{
		"text":    {`[{"id":"1","role":"user","parts":[{"type":"text","text":"Hi"}],"metadata":{"at":1}}]`, `[` + user + `]`},
		"texts":   {`[{"role":"user","parts":[{"type":"text","text":"<H>"},{"type":"text","text":"i"}]}]`, `[{"role":"user","content":[{"type":"text","text":"<H>"},{"type":"text","text":"i"}]}]`},
		"system":  {`[{"role":"system","parts":[{"type":"text","text":"Be "},{"type":"text","text":"brief."}]},{"role":"user","parts":[{"type":"text","text":"Hi"}]}]`, `[{"role":"system","content":"Be brief."},` + user + `]`},
		"image":   {`[{"role":"user","parts":[{"type":"file","mediaType":"image/png","filename":"a.png","url":"data:image/png;base64,AA=="},{"type":"text","text":"What is it?"}]}]`, `[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"What is it?"}]}]`},
		"ignored": {`[{"role":"user","parts":[{"type":"data-note","text":7,"data":{}},{"type":"text","text":"Hi"},{"type":"source-url","url":["x"],"sourceId":"s"},{"type":"later"}]},{"role":"assistant","parts":[{"type":"step-start"},{"type":"reasoning","text":"Hm."}]},{"role":"user","parts":[]}]`, `[` + user + `]`},
		"answer": {`[{"role":"user","parts":[{"type":"text","text":"Hi"}]},{"role":"assistant","parts":[{"type":"step-start"},{"type":"reasoning","text":"Hm."},{"type":"text","text":"Hel"},{"type":"text","text":"lo"},{"type":"file","mediaType":"application/pdf","url":"x"}]}]`,
			`[` + user + `,{"role":"assistant","content":"Hello"}]`},
		"tools": {`[{"role":"assistant","parts":[
			{"type":"step-start"},{"type":"text","text":"Let me see."},
			{"type":"tool-weather","toolCallId":"c1","state":"output-available","input":{"city": "Zürich"},"output":{"degrees": 21}},
			{"type":"dynamic-tool","toolName":"time","toolCallId":"c2","state":"output-error","rawInput":"{\"zone","errorText":"no zone"},
			{"type":"tool-open","toolCallId":"c3","state":"input-available","input":{}},
			{"type":"tool-web","toolCallId":"c4","state":"output-available","input":{},"output":1,"providerExecuted":true},
			{"type":"step-start"},
			{"type":"tool-rm","toolCallId":"c5","state":"output-denied","approval":{"id":"a","approved":false}},
			{"type":"tool-rm","toolCallId":"c6","state":"approval-responded","approval":{"id":"b","approved":false,"reason":"Never."}},
			{"type":"tool-say","toolCallId":"c7","state":"output-available","input":null,"output":"said\u2028"},
			{"type":"step-start"},{"type":"text","text":"It is 21°."}]}]`,
			`[{"role":"assistant","content":"Let me see.","tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Zürich\"}"}},{"id":"c2","type":"function","function":{"name":"time","arguments":"{\"zone"}}]},` +
				`{"role":"tool","content":"{\"degrees\":21}","tool_call_id":"c1"},{"role":"tool","content":"no zone","tool_call_id":"c2"},` +
				`{"role":"assistant","content":"","tool_calls":[{"id":"c5","type":"function","function":{"name":"rm","arguments":"{}"}},{"id":"c6","type":"function","function":{"name":"rm","arguments":"{}"}},{"id":"c7","type":"function","function":{"name":"say","arguments":"{}"}}]},` +
				`{"role":"tool","content":"Tool call execution denied.","tool_call_id":"c5"},{"role":"tool","content":"Never.","tool_call_id":"c6"},{"role":"tool","content":"said\u2028","tool_call_id":"c7"},` +
				`{"role":"assistant","content":"It is 21°."}]`},
	} {
		got, _, _, err := server.DecodeUI([]byte(`{"messages":` + test.messages + `}`))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, test.want)
		}
	}
}

// What goes on to the model of a request's other fields.
func TestUIParameters(t *testing.T) {
	_, parameters, prompt, err := server.DecodeUI([]byte(uiAsks(`,"trigger":"submit-message","messageId":null,"temperature":0.5,"top_p":null,"tools":[{"type":"function"}],"user":{"id":7},"seed":42,"n":3,"tenant":"a"`)))
	if want := `{"seed":42,"temperature":0.5,"tools":[{"type":"function"}]}`; err != nil || string(parameters) != want || prompt != "tides" {
		t.Errorf("parameters = %s, prompt = %q, %v; want %s and tides", parameters, prompt, err, want)
	}
}

// Each kind of bad input is answered with a sentence, which the SDK shows.
func TestBadInputOfUI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxBody: 100_000}})
		message := func(m string) string { return `{"messages":[` + m + `]}` }
		part := func(p string) string { return message(`{"role":"user","parts":[` + p + `]}`) }
		push := strings.TrimPrefix(r.create(`{"source":{"type":"push"}}`), "/v1/sessions/")
		for name, test := range map[string]struct {
			method, path, body, header string
			status                     int
			code, sentence             string
		}{
			"malformed JSON":         {"POST", "/api/chat", `{"messages"`, "", 400, "malformed_json", "the body is not JSON"},
			"not an object":          {"POST", "/api/chat", `[]`, "", 400, "invalid_field", "the body must be a JSON object, not an array"},
			"null":                   {"POST", "/api/chat", `null`, "", 400, "malformed_json", "the body must be a JSON object, not null"},
			"empty":                  {"POST", "/api/chat", ``, "", 400, "invalid_field", "messages: must be an array of the AI SDK's UI messages"},
			"invalid UTF-8":          {"POST", "/api/chat", part("{\"type\":\"text\",\"text\":\"\xff\"}"), "", 400, "invalid_utf8", "the body is not valid UTF-8"},
			"half a surrogate pair":  {"POST", "/api/chat", part(`{"type":"text","text":"\ud83d"}`), "", 400, "invalid_utf8", "half of a surrogate pair"},
			"a field given twice":    {"POST", "/api/chat", part(`{"type":"text","text":"a","text":"b"}`), "", 400, "malformed_json", "messages.0.parts.0.text is given twice"},
			"larger than it may be":  {"POST", "/api/chat", part(`{"type":"text","text":"` + strings.Repeat("x", 100_000) + `"}`), "", 413, "body_too_large", "larger than 100000 bytes"},
			"no messages":            {"POST", "/api/chat", `{"messages":[]}`, "", 400, "invalid_field", "messages: is empty: give one message or more"},
			"messages that are text": {"POST", "/api/chat", `{"messages":"Hi"}`, "", 400, "invalid_field", "messages: cannot be a string"},
			"a message of text":      {"POST", "/api/chat", message(`"Hi"`), "", 400, "invalid_field", "messages.0: must be an object"},
			"content for parts":      {"POST", "/api/chat", message(`{"role":"user","content":"Hi"}`), "", 400, "invalid_field", "messages.0: must be an object with a role and an array of parts"},
			"another role":           {"POST", "/api/chat", message(`{"role":"data","parts":[]}`), "", 400, "invalid_field", "messages.0.role: must be system, user or assistant"},
			"only ignored parts":     {"POST", "/api/chat", part(`{"type":"data-x","data":1}`), "", 400, "invalid_field", "messages: have nothing in them"},
			"a part of text":         {"POST", "/api/chat", part(`"Hi"`), "", 400, "invalid_field", "messages.0.parts.0: must be a part"},
			"a part without type":    {"POST", "/api/chat", part(`{"text":"Hi"}`), "", 400, "invalid_field", "messages.0.parts.0: must be a part"},
			"text without text":      {"POST", "/api/chat", part(`{"type":"text"}`), "", 400, "invalid_field", "messages.0.parts.0.text: is missing"},
			"text that is a number":  {"POST", "/api/chat", part(`{"type":"text","text":1}`), "", 400, "invalid_field", "messages.0.parts.0: must be a part"},
			"a file of another type": {"POST", "/api/chat", part(`{"type":"file","mediaType":"application/pdf","url":"data:,"}`), "", 400, "unsupported_parameter", `messages.0.parts.0 is a file of the type "application/pdf"`},
			"an image without URL":   {"POST", "/api/chat", part(`{"type":"file","mediaType":"image/png"}`), "", 400, "invalid_field", "messages.0.parts.0.url: is missing"},
			"a tool without call":    {"POST", "/api/chat", message(`{"role":"assistant","parts":[{"type":"tool-x","state":"output-available"}]}`), "", 400, "invalid_field", "messages.0.parts.0: must have a toolCallId"},
			"a tool without name":    {"POST", "/api/chat", message(`{"role":"assistant","parts":[{"type":"dynamic-tool","toolCallId":"c"}]}`), "", 400, "invalid_field", "messages.0.parts.0: must have a toolCallId"},
			"a long id":              {"POST", "/api/chat", uiAsks(`,"id":"` + strings.Repeat("x", 256) + `"`), "", 400, "invalid_field", "id: is longer than 255 bytes"},
			"a long message id":      {"POST", "/api/chat", message(`{"id":"` + strings.Repeat("x", 256) + `","role":"assistant","parts":[{"type":"text","text":"Hi"}]}`), "", 400, "invalid_field", "messages.0.id: is longer than 255 bytes"},
			"an id that is a number": {"POST", "/api/chat", uiAsks(`,"id":7`), "", 400, "invalid_field", "id: cannot be this number"},
			"a model without an end": {"POST", "/api/chat", uiAsks(`,"model":"mock/m"`), "", 400, "invalid_field", `model: there is no model "mock/m": this relay has no upstream, and only demo`},
			"settings":               {"POST", "/api/chat", uiAsks(`,"tokenrelay":{"colour":"red"}`), "", 400, "unknown_field", "unknown field tokenrelay.colour"},
			"a unit":                 {"POST", "/api/chat", uiAsks(`,"tokenrelay":{"unit":"char"}`), "", 400, "invalid_field", "tokenrelay.unit: "},
			"a malformed key":        {"POST", "/api/chat", uiAsks(""), "Idempotency-Key: k k", 400, "malformed_idempotency_key", "Idempotency-Key"},
			"another method":         {"GET", "/api/chat", "", "", 405, "method_not_allowed", "GET is not for /api/chat"},
			"no such route":          {"GET", "/api/chat/x", "", "", 404, "route_not_found", ""},

			"startIndex of letters":        {"GET", "/api/chat/" + push + "/stream?startIndex=x", "", "", 400, "malformed_cursor", `the startIndex "x"`},
			"startIndex beyond numbers":    {"GET", "/api/chat/" + push + "/stream?startIndex=9007199254740993", "", "", 400, "malformed_cursor", "the startIndex"},
			"startIndex given twice":       {"GET", "/api/chat/" + push + "/stream?startIndex=1&startIndex=2", "", "", 400, "malformed_cursor", `the startIndex "1, 2"`},
			"startIndex ahead":             {"GET", "/api/chat/" + push + "/stream?startIndex=3", "", "", 416, "cursor_ahead", "whose last event so far is 1"},
			"Last-Event-ID of letters":     {"GET", "/api/chat/" + push + "/stream", "", "Last-Event-ID: x", 400, "malformed_cursor", `the cursor "x"`},
			"Last-Event-ID ahead":          {"GET", "/api/chat/" + push + "/stream", "", "Last-Event-ID: 2", 416, "cursor_ahead", "whose last event so far is 1"},
			"startIndex of no run":         {"GET", "/api/chat/nobody/stream?startIndex=1", "", "", 404, "session_not_found", "no such run"},
			"Last-Event-ID of no run":      {"GET", "/api/chat/nobody/stream", "", "Last-Event-ID: 1", 404, "session_not_found", "no such run"},
			"a stop of no run":             {"POST", "/api/chat/nobody/stop", "", "", 404, "session_not_found", "no such run"},
			"a stop of too long a name":    {"POST", "/api/chat/" + strings.Repeat("x", 256) + "/stop", "", "", 404, "session_not_found", "no such run"},
			"a query that cannot be read":  {"GET", "/api/chat/" + push + "/stream?startIndex=%zz", "", "", 400, "invalid_parameter", "the query is malformed"},
			"an id that cannot be decoded": {"POST", "/api/chat/%ff/stop", "", "", 404, "session_not_found", "no such run"},
		} {
			var headers []string
			if test.header != "" {
				headers = append(headers, test.header)
			}
			a := r.ask(test.method, test.path, test.body, headers...)
			var body bytes.Buffer
			body.ReadFrom(a.Body)
			if code := a.Header.Get("X-Error-Code"); a.StatusCode != test.status || code != test.code || !strings.Contains(body.String(), test.sentence) {
				t.Errorf("%s: %d %s %q, want %d %s and %q", name, a.StatusCode, code, body.String(), test.status, test.code, test.sentence)
			}
			if kind := a.Header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
				t.Errorf("%s: Content-Type = %q", name, kind)
			}
			a.conn.Close()
		}
	})
}

// Whatever a body holds, it is refused or asks a model something it can read.
func FuzzDecodeUI(f *testing.F) {
	f.Add([]byte(uiAsks(`,"id":"c","temperature":1`)))
	f.Add([]byte(`{"messages":[{"role":"assistant","parts":[{"type":"step-start"},{"type":"tool-x","toolCallId":"c","state":"output-available","input":{},"output":[1]},{"type":"data-x"}]}]}`))
	f.Add([]byte(`{"messages":[{"role":"user","parts":[{"type":"file","mediaType":"image/png","url":"data:,"}]},{"role":"system","parts":[{"type":"text","text":"\u2028"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		messages, parameters, _, err := server.DecodeUI(body)
		if err != nil {
			if messages != nil || err.Error() == "" {
				t.Errorf("%q: refused with %q, and asks %s", body, err, messages)
			}
			return
		}
		var asked []struct{ Role string }
		if json.Unmarshal(messages, &asked) != nil || len(asked) == 0 || parameters != nil && !json.Valid(parameters) {
			t.Errorf("%q: asks %s with %s", body, messages, parameters)
		}
		for _, m := range asked {
			if m.Role == "" {
				t.Errorf("%q: a message has no role: %s", body, messages)
			}
		}
		if bytes.ContainsAny(append(messages, parameters...), "\n\r") {
			t.Errorf("%q: not one line: %s %s", body, messages, parameters)
		}
	})
}
