package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"tokenrelay/server"
	"tokenrelay/session"
)

// What no response can be made of, or retrieved with, is refused as OpenAI does,
// and not to be repeated.
func TestBadResponseInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxBody: 50_000}, session: session.Options{Upstreams: models{}}})
		id := r.ask("POST", "/v1/responses", response("demo", "")).Header.Get("X-Tokenrelay-Session")
		named := "/v1/responses/resp_" + id
		nobody := "/v1/responses/resp_" + session.NewID().String()
		for name, test := range map[string]struct {
			method, path, body, header string
			status                     int
			code, param                string
		}{
			"no JSON":                   {"POST", "/v1/responses", `{"model"`, "", 400, "malformed_json", ""},
			"nothing":                   {"POST", "/v1/responses", ``, "", 400, "invalid_field", "model"},
			"null":                      {"POST", "/v1/responses", `null`, "", 400, "malformed_json", ""},
			"an array":                  {"POST", "/v1/responses", `[]`, "", 400, "invalid_field", ""},
			"a field twice":             {"POST", "/v1/responses", `{"model":"demo","model":"demo","input":"Hi"}`, "", 400, "malformed_json", ""},
			"half of a character":       {"POST", "/v1/responses", `{"model":"demo","input":"\ud83d"}`, "", 400, "invalid_utf8", ""},
			"too large":                 {"POST", "/v1/responses", response("demo", `,"x":"`+strings.Repeat("x", 50_000)+`"`), "", 413, "body_too_large", ""},
			"no model":                  {"POST", "/v1/responses", `{"input":"Hi"}`, "", 400, "invalid_field", "model"},
			"a model that is a number":  {"POST", "/v1/responses", `{"model":1,"input":"Hi"}`, "", 400, "invalid_field", "model"},
			"no input":                  {"POST", "/v1/responses", `{"model":"demo"}`, "", 400, "invalid_field", "input"},
			"empty input":               {"POST", "/v1/responses", `{"model":"demo","input":[]}`, "", 400, "invalid_field", "input"},
			"an input that is a number": {"POST", "/v1/responses", `{"model":"demo","input":7}`, "", 400, "invalid_field", "input"},
			"items that are texts":      {"POST", "/v1/responses", `{"model":"demo","input":["Hi"]}`, "", 400, "invalid_field", "input"},
			"stream that is a text":     {"POST", "/v1/responses", response("demo", `,"stream":"yes"`), "", 400, "invalid_field", "stream"},
			"background, a number":      {"POST", "/v1/responses", response("demo", `,"background":1`), "", 400, "invalid_field", "background"},
			"a temperature in words":    {"POST", "/v1/responses", response("demo", `,"temperature":"hot"`), "", 400, "invalid_field", "temperature"},
			"tools that are none":       {"POST", "/v1/responses", response("demo", `,"tools":{}`), "", 400, "invalid_field", "tools"},
			"metadata that is a text":   {"POST", "/v1/responses", response("demo", `,"metadata":"x"`), "", 400, "invalid_field", "metadata"},
			"a conversation":            {"POST", "/v1/responses", response("demo", `,"conversation":"conv_1"`), "", 400, "unsupported_parameter", "conversation"},
			"a prompt's template":       {"POST", "/v1/responses", response("demo", `,"prompt":{"id":"pmpt_1"}`), "", 400, "unsupported_parameter", "prompt"},
			"a wrong unit":              {"POST", "/v1/responses", response("demo", `,"tokenrelay":{"unit":"char"}`), "", 400, "invalid_field", "tokenrelay.unit"},
			"an unknown setting":        {"POST", "/v1/responses", response("demo", `,"tokenrelay":{"colour":"red"}`), "", 400, "unknown_field", ""},
			"a cursor without a key":    {"POST", "/v1/responses", response("demo", streamed), "Last-Event-ID: 3", 400, "malformed_cursor", ""},
			"a key that is none":        {"POST", "/v1/responses", response("demo", ""), "Idempotency-Key: ä", 400, "malformed_idempotency_key", ""},

			"never there":               {"GET", nobody, "", "", 404, "session_not_found", ""},
			"never there, a stream":     {"GET", nobody + "?stream=true&starting_after=1", "", "", 404, "session_not_found", ""},
			"no id":                     {"GET", "/v1/responses/resp_42", "", "", 404, "session_not_found", ""},
			"cancel of none":            {"POST", nobody + "/cancel", "", "", 404, "session_not_found", ""},
			"delete of none":            {"DELETE", nobody, "", "", 404, "session_not_found", ""},
			"stream=yes":                {"GET", named + "?stream=yes", "", "", 400, "invalid_parameter", ""},
			"a body with stream=7":      {"GET", named, `{"stream":7}`, "", 400, "invalid_parameter", ""},
			"a body that is none":       {"GET", named, `{"stream"`, "", 400, "malformed_json", ""},
			"a parameter twice":         {"GET", named + "?stream=true&stream=true", "", "", 400, "invalid_parameter", ""},
			"a parameter that is wrong": {"GET", named + "?stream=true&startingAfter=1", "", "", 400, "invalid_parameter", ""},
			"a query that is none":      {"GET", named + "?stream=%zz", "", "", 400, "invalid_parameter", ""},
			"a cursor, no stream":       {"GET", named + "?starting_after=1", "", "", 400, "invalid_parameter", ""},
			"a header, no stream":       {"GET", named, "", "Last-Event-ID: 1", 400, "invalid_parameter", ""},
			"a cursor in words":         {"GET", named + "?stream=true&starting_after=x", "", "", 400, "malformed_cursor", ""},
			"a fraction":                {"GET", named, `{"stream":true,"starting_after":1.5}`, "", 400, "malformed_cursor", ""},
			"a negative one":            {"GET", named + "?stream=true&starting_after=-1", "", "", 400, "malformed_cursor", ""},
			"one too large":             {"GET", named + "?stream=true&starting_after=9007199254740993", "", "", 400, "malformed_cursor", ""},
			"one ahead":                 {"GET", named + "?stream=true&starting_after=100000", "", "", 416, "cursor_ahead", ""},
			"a header ahead":            {"GET", named + "?stream=true&starting_after=1", "", "Last-Event-ID: 100000", 416, "cursor_ahead", ""},
			"a method":                  {"PUT", named, "", "", 405, "method_not_allowed", ""},
			"no route":                  {"GET", named + "/input_items", "", "", 404, "route_not_found", ""},
		} {
			headers := []string{"X: y"}
			if test.header != "" {
				headers = append(headers, test.header)
			}
			a := r.ask(test.method, test.path, test.body, headers...)
			var got struct {
				Error struct{ Message, Type, Code, Param string }
			}
			err := json.NewDecoder(a.Body).Decode(&got)
			if err != nil || a.StatusCode != test.status || got.Error.Code != test.code || got.Error.Param != test.param ||
				got.Error.Message == "" || got.Error.Type != "invalid_request_error" || a.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("%s: %d %+v (%v), X-Should-Retry %q, want %d %s, param %q", name, a.StatusCode, got, err, a.Header.Get("X-Should-Retry"), test.status, test.code, test.param)
			}
		}
	})
}

// Of several things that are wrong with a retrieval it is always the same that is
// told.
func TestRetrievalRefusedAlike(t *testing.T) {
	for _, test := range []struct{ query, body, want string }{
		{"d=1&c=1&b=1&a=1", "", `"a" is not known here`},
		{"starting_after=x&stream=y&zone=1&a=1&a=1", "", `"a" is given more than once`},
		{"stream=y&starting_after=x", `{"zone":1}`, `the cursor "x"`},
	} {
		for range 20 {
			_, err := server.ParseRetrieval(httptest.NewRequest("GET", "/v1/responses/x?"+test.query, nil), []byte(test.body))
			if got := fmt.Sprint(err); !strings.Contains(got, test.want) {
				t.Errorf("%s %s: %s, want %s", test.query, test.body, got, test.want)
				break
			}
		}
	}
}

// What clients add to a retrieval is no matter, and the end is the end.
func TestRetrieveResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		id := r.ask("POST", "/v1/responses", response("demo", `,"tokenrelay":{"length":5}`)).Header.Get("X-Tokenrelay-Session")
		whole := canonical(t, r.ask("GET", responseStream(id), "").Body)
		for _, test := range [][2]string{
			{"?stream=true&include[]=a&include[]=b&include_obfuscation=false", ""},
			{"?include=a&api-version=1", `{"stream":true}`},
			{"?stream=true", `{"stream":false,"starting_after":null}`},
			{"", `{"stream":"true","include":["x"],"include_obfuscation":true}`},
		} {
			if got := canonical(t, r.ask("GET", "/v1/responses/"+id+test[0], test[1]).Body); got != whole {
				t.Errorf("GET %s with %s = %q, want the whole", test[0], test[1], got)
			}
		}
		last := len(split(whole)) - 1
		for _, test := range []struct {
			number string
			status int
		}{{"query", http.StatusOK}, {"body", http.StatusOK}, {"header", http.StatusNoContent}} {
			a := dialects[0].resume(r, test.number, id, last+1)
			if got := canonical(t, a.Body); a.StatusCode != test.status || got != "" {
				t.Errorf("behind the last event, by %s: %d %q, want %d and nothing", test.number, a.StatusCode, got, test.status)
			}
		}
	})
}

// Whatever a request holds, it is refused or understood: then what goes on to
// the provider is JSON of the right kinds, without what is the relay's own.
func FuzzResponseRequest(f *testing.F) {
	for _, body := range []string{
		response("demo", ""), response("m", streamed+inBackground+`,"store":false,"temperature":1,"tools":[{}],"include":["x"]`),
		`{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"},7]},{"type":"item_reference","id":"msg_x_1"}],"previous_response_id":"resp_1"}`,
		`{"model":"m","input":"Hi","metadata":{"a":"\u0085"},"instructions":"\u2028","text":{"format":{}},"tokenrelay":{"seed":1}}`,
		`{"model":"m","input":null}`, `{"conversation":{}}`, `{}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		input, parameters, recorded, prompt, err := server.ParseResponse(body)
		if err != nil {
			return
		}
		var list []map[string]json.RawMessage
		if json.Unmarshal(input, &list) != nil {
			t.Errorf("input = %s", input)
		}
		var object map[string]json.RawMessage
		if parameters != nil && (json.Unmarshal(parameters, &object) != nil || len(object) == 0) {
			t.Errorf("parameters = %s", parameters)
		}
		for _, own := range []string{"model", "input", "stream", "stream_options", "background", "previous_response_id", "conversation", "prompt", "tokenrelay"} {
			if object[own] != nil {
				t.Errorf("parameters = %s, want none of the relay's own", parameters)
			}
		}
		if !json.Valid(recorded) || strings.ContainsAny(string(recorded), "\n\r\u0085\u2028\u2029") || len(recorded) > 33<<10 {
			t.Errorf("recorded = %s", recorded)
		}
		if !utf8.ValidString(prompt) {
			t.Errorf("prompt = %q", prompt)
		}
	})
}

// Whatever a response is retrieved with, it is refused or names an event.
func FuzzRetrieval(f *testing.F) {
	f.Add("stream=true&starting_after=4", "", "")
	f.Add("", `{"stream":true,"starting_after":"4"}`, "")
	f.Add("include[]=a&include[]=b", `{"starting_after":null}`, "7")
	f.Add("a=%zz&stream=1;b", `[]`, "-1")
	f.Fuzz(func(t *testing.T, query, body, header string) {
		request := httptest.NewRequest("GET", "/", nil)
		request.URL = &url.URL{Path: "/", RawQuery: query}
		if header != "" {
			request.Header["Last-Event-Id"] = []string{header}
		}
		from, err := server.ParseRetrieval(request, []byte(body))
		if err == nil && (from < 0 || from > 1<<53) {
			t.Errorf("from = %d", from)
		}
	})
}
