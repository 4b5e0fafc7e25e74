package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Bad requests for chat completions meet with errors in OpenAI's shape.
func TestBadChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxBody: 100_000}, session: session.Options{Upstreams: told{deltas: []session.Delta{ends("stop")}}}})
		a := r.ask("POST", "/v1/chat/completions", completion("demo", streamed))
		canonical(t, a.Body)
		create, one := "/v1/chat/completions", "/v1/chat/completions/chatcmpl-"+sessionOf(a)
		for name, test := range map[string]struct {
			method, path, body string
			header             string
			status             int
			code, param        string
		}{
			"malformed JSON":        {"POST", create, `{"model"`, "", 400, "malformed_json", ""},
			"empty":                 {"POST", create, ``, "", 400, "invalid_field", "model"},
			"null":                  {"POST", create, `null`, "", 400, "malformed_json", ""},
			"an array":              {"POST", create, `[]`, "", 400, "invalid_field", ""},
			"a field twice":         {"POST", create, `{"model":"demo","model":"demo"}`, "", 400, "malformed_json", ""},
			"invalid UTF-8":         {"POST", create, completion("demo", ",\"user\":\"\xff\""), "", 400, "invalid_utf8", ""},
			"half a surrogate":      {"POST", create, completion("demo", `,"user":"\ud83d"`), "", 400, "invalid_utf8", ""},
			"too large":             {"POST", create, completion("demo", `,"user":"`+strings.Repeat("x", 100_000)+`"`), "", 413, "body_too_large", ""},
			"no model":              {"POST", create, `{"messages":[{"role":"user","content":"x"}]}`, "", 400, "invalid_field", "model"},
			"model that is no text": {"POST", create, `{"model":7}`, "", 400, "invalid_field", "model"},
			"no messages":           {"POST", create, `{"model":"demo"}`, "", 400, "invalid_field", "messages"},
			"empty messages":        {"POST", create, `{"model":"m","messages":[]}`, "", 400, "invalid_field", "messages"},
			"messages of text":      {"POST", create, `{"model":"m","messages":["x"]}`, "", 400, "invalid_field", "messages"},
			"a message of null":     {"POST", create, `{"model":"m","messages":[null]}`, "", 400, "invalid_field", "messages"},
			"messages in an object": {"POST", create, `{"model":"m","messages":{}}`, "", 400, "invalid_field", "messages"},
			"several answers":       {"POST", create, completion("demo", `,"n":2`), "", 400, "unsupported_parameter", "n"},
			"no answers":            {"POST", create, completion("demo", `,"n":0`), "", 400, "invalid_field", "n"},
			"n that is text":        {"POST", create, completion("demo", `,"n":"1"`), "", 400, "invalid_field", "n"},
			"stream that is text":   {"POST", create, completion("demo", `,"stream":"yes"`), "", 400, "invalid_field", "stream"},
			"options that are text": {"POST", create, completion("demo", `,"stream_options":"x"`), "", 400, "invalid_field", "stream_options"},
			"usage that is text":    {"POST", create, completion("demo", `,"stream_options":{"include_usage":1}`), "", 400, "invalid_field", "stream_options.include_usage"},
			"an unknown option":     {"POST", create, completion("demo", `,"stream_options":{"continuous_usage_stats":true}`), "", 400, "unsupported_parameter", "stream_options.continuous_usage_stats"},
			"seed that is text":     {"POST", create, completion("demo", `,"seed":"x"`), "", 400, "invalid_field", "seed"},
			"unknown setting":       {"POST", create, completion("demo", `,"tokenrelay":{"colour":1}`), "", 400, "unknown_field", ""},
			"wrong unit":            {"POST", create, completion("demo", `,"tokenrelay":{"unit":"x"}`), "", 400, "invalid_field", "tokenrelay.unit"},
			"wrong key":             {"POST", create, completion("demo", ""), "Idempotency-Key: a b", 400, "malformed_idempotency_key", ""},
			"wrong cursor":          {"POST", create, completion("demo", ""), "Last-Event-ID: x", 400, "malformed_cursor", ""},
			"PUT":                   {"PUT", create, "", "", 405, "method_not_allowed", ""},

			"unknown":                    {"GET", create + "/chatcmpl-" + session.NewID().String(), "", "", 404, "session_not_found", ""},
			"no id":                      {"GET", create + "/chatcmpl-42", "", "", 404, "session_not_found", ""},
			"another protocol's prefix":  {"GET", create + "/resp_" + sessionOf(a), "", "", 404, "session_not_found", ""},
			"unknown to delete":          {"DELETE", create + "/42", "", "", 404, "session_not_found", ""},
			"negative cursor":            {"GET", one + "?stream=true&starting_after=-1", "", "", 400, "malformed_cursor", ""},
			"huge cursor":                {"GET", one + "?stream=true&starting_after=9007199254740992", "", "", 400, "malformed_cursor", ""},
			"header that is no cursor":   {"GET", one + "?stream=true", "", "Last-Event-ID: x", 400, "malformed_cursor", ""},
			"cursor ahead":               {"GET", one + "?stream=true&starting_after=1000000", "", "", 416, "cursor_ahead", ""},
			"cursor without a stream":    {"GET", one + "?starting_after=1", "", "", 400, "invalid_parameter", ""},
			"stream that is 1":           {"GET", one + "?stream=1", "", "", 400, "invalid_parameter", ""},
			"unknown parameter":          {"GET", one + "?after=1", "", "", 400, "invalid_parameter", ""},
			"unknown model":              {"GET", "/v1/models/gpt-0", "", "", 404, "model_not_found", ""},
			"unknown model with a slash": {"GET", "/v1/models/a%2Fb", "", "", 404, "model_not_found", ""},
			"no name of a model":         {"GET", "/v1/models/", "", "", 404, "model_not_found", ""},
		} {
			headers := []string{}
			if test.header != "" {
				headers = append(headers, test.header)
			}
			status, body := r.do(test.method, test.path, test.body, headers...)
			var got struct {
				Error struct{ Message, Type, Param, Code string }
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Errorf("%s: %v in %s", name, err, body)
			}
			e := got.Error
			if status != test.status || e.Code != test.code || e.Param != test.param || e.Type != "invalid_request_error" || e.Message == "" {
				t.Errorf("%s: %d %s, want %d %s of %q", name, status, body, test.status, test.code, test.param)
			}
		}
		if status, _ := r.do("GET", one, ""); status != 200 {
			t.Errorf("the completion after all that = %d, want 200", status)
		}
	})
}

// What of OpenAI's API is not here, or not under that base URL, is said in its
// own shape.
func TestNotHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		for _, test := range []struct {
			method, path string
			status       int
			code, words  string
		}{
			{"GET", "/v1/responses/resp_x", 404, "session_not_found", "no such response"},
			{"POST", "/v1/responses/resp_x/cancel", 404, "session_not_found", "no such response"},
			{"GET", "/v1/chat/completions/x", 404, "session_not_found", "no such completion"},
			{"GET", "/v1/nothing", 404, "route_not_found", "GET /v1/nothing is not here: of OpenAI's API"},
			{"POST", "/v1/embeddings", 404, "route_not_found", "is not here: of OpenAI's API"},
			{"POST", "/v1/completions", 404, "route_not_found", "is not here: of OpenAI's API"},
			{"POST", "/v1/responses/compact", 405, "method_not_allowed", "is not here: of OpenAI's API"},
			{"POST", "/v1/responses/input_tokens", 405, "method_not_allowed", "is not here: of OpenAI's API"},
			{"GET", "/v1/responses/resp_x/input_items", 404, "route_not_found", "is not here: of OpenAI's API"},
			{"GET", "/v1/chat/completions", 405, "method_not_allowed", "is not here: of OpenAI's API"},
			{"DELETE", "/v1/models", 405, "method_not_allowed", "is not here: of OpenAI's API"},
			{"POST", "/chat/completions", 404, "route_not_found", "base URL of this relay ends in /v1"},
			{"POST", "/responses", 404, "route_not_found", "base URL of this relay ends in /v1"},
			{"GET", "/responses/resp_x", 404, "route_not_found", "base URL of this relay ends in /v1"},
			{"GET", "/models", 404, "route_not_found", "base URL of this relay ends in /v1"},
		} {
			status, body := r.do(test.method, test.path, "")
			want := `","type":"invalid_request_error","param":null,"code":"` + test.code + `"}}`
			if status != test.status || !strings.HasPrefix(body, `{"error":{"message":"`) || !strings.Contains(body, want) || !strings.Contains(body, test.words) {
				t.Errorf("%s %s = %d %s, want %d %s: %s", test.method, test.path, status, body, test.status, test.code, test.words)
			}
		}
	})
}

// Without an upstream no model but the generator's is there.
func TestChatUnknownModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		status, body := r.do("POST", "/v1/chat/completions", completion("gpt-0", ""))
		if status != 404 || !strings.Contains(body, `"param":"model","code":"model_not_found"`) ||
			!strings.Contains(body, `"message":"model: there is no model \"gpt-0\": this relay has no upstream, and only demo, its built-in generator, answers (GET /v1/models `) {
			t.Errorf("answer = %d %s, want 404 model_not_found", status, body)
		}
	})
}

// Only a model that is not there is 404: one that is not said well is a bad
// request, and both are of the model.
func TestModelRefused(t *testing.T) {
	set, err := upstream.New([]upstream.Config{
		{Name: "a", BaseURL: "http://127.0.0.1:1", Models: []string{"m"}}, {Name: "b", BaseURL: "http://127.0.0.1:1", Models: []string{"m"}},
	}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: set}})
		for model, want := range map[string]struct {
			status      int
			code, words string
		}{
			"nope":                   {404, "model_not_found", `model: no upstream has \"nope\": name it as one of a, b`},
			"m":                      {400, "invalid_field", `model: two upstreams list \"m\": name it as a/m or b/m`},
			strings.Repeat("x", 257): {400, "invalid_field", "model: is longer than 256 bytes"},
		} {
			for path, body := range map[string]string{"/v1/chat/completions": completion(model, ""), "/v1/responses": response(model, "")} {
				status, got := r.do("POST", path, body)
				if status != want.status || !strings.Contains(got, `"message":"`+want.words) || !strings.Contains(got, `"param":"model","code":"`+want.code+`"`) {
					t.Errorf("%s of %.9s = %d %s, want %d %s: %s", path, model, status, got, want.status, want.code, want.words)
				}
			}
			if status, got := r.do("POST", "/v1/sessions", `{"source":{"type":"upstream","model":"`+model+`","messages":[{}]}}`); status != 400 || !strings.Contains(got, `"detail":"source.`+want.words) || !strings.Contains(got, `"code":"invalid_field"`) {
				t.Errorf("natively %.9s = %d %s, want 400 invalid_field: source.%s", model, status, got, want.words)
			}
		}
	})
}

// A model is found by its name, whether its slash is escaped or not, and what
// clients add to the query is no matter.
func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{Models: []string{"mock/a/b:1"}}})
		want := `{"id":"mock/a/b:1","object":"model","created":946684800,"owned_by":"tokenrelay"}`
		for _, path := range []string{"/v1/models/mock/a/b:1", "/v1/models/mock%2Fa%2Fb%3A1", "/v1/models/mock%2Fa%2Fb:1?api-version=2026-01-01"} {
			if status, body := r.do("GET", path, ""); status != 200 || body != want+"\n" {
				t.Errorf("GET %s = %d %s, want 200 %s", path, status, body, want)
			}
		}
		for _, path := range []string{"/v1/models", "/v1/models?limit=1000&api-version=1"} {
			if status, body := r.do("GET", path, ""); status != 200 || !strings.HasPrefix(body, `{"object":"list","data":[{"id":"demo"`) || !strings.Contains(body, want) {
				t.Errorf("GET %s = %d %s, want the list", path, status, body)
			}
		}
	})
}

// Whatever a request holds, it is refused or understood: then what goes on to
// the provider is JSON of the right kinds.
func FuzzChatRequest(f *testing.F) {
	for _, body := range []string{
		completion("demo", ""), completion("m", streamed+withUsage+`,"seed":-1,"n":1`), completion("demo", `,"seed":-1,"tokenrelay":{"seed":2,"length":3}`),
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},7]}],"temperature":1}`,
		`{"model":"m","messages":[{"role":"user","content":null},{"role":"assistant"}],"stream_options":null}`, `{}`, `null`, `[]`, ``, `{"messages":{}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		messages, parameters, prompt, err := server.DecodeChat(body)
		if err != nil {
			return
		}
		var list []json.RawMessage
		if json.Unmarshal(messages, &list) != nil || len(list) == 0 {
			t.Errorf("messages = %s", messages)
		}
		var object map[string]json.RawMessage
		if parameters != nil && (json.Unmarshal(parameters, &object) != nil || len(object) == 0) {
			t.Errorf("parameters = %s", parameters)
		}
		for _, own := range []string{"model", "messages", "stream", "stream_options", "n", "tokenrelay"} {
			if object[own] != nil {
				t.Errorf("parameters = %s, want none of the relay's own", parameters)
			}
		}
		if !utf8.ValidString(prompt) {
			t.Errorf("prompt = %q", prompt)
		}
	})
}
