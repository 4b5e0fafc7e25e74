package server_test

import (
	"encoding/json"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
)

// An attentive opener keeps what it was asked last.
type attentive struct {
	session.Opener
	mu   sync.Mutex // guards the field below
	last session.SourceSpec
}

func (o *attentive) Open(spec session.SourceSpec) (session.Source, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = spec
	return o.Opener.Open(spec)
}

// input is that of the last question.
func (o *attentive) input() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.last.Messages)
}

// A response continues another: what that was given and what it answered come
// before its own input, whoever asked for it.
func TestPreviousResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &attentive{Opener: models{}}
		r := start(t, options{session: session.Options{Upstreams: up}})
		const (
			hi       = `{"type":"message","role":"user","content":"Hi"}`
			answered = `{"type":"message","role":"assistant","content":"I will look: <👩‍👩‍👧>"},` +
				`{"type":"function_call","call_id":"call_a","name":"weather","arguments":"{\"city\":\"Trondheim\\n\"}"},` +
				`{"type":"function_call","call_id":"call_ID_1","name":"time","arguments":"{\"zone\":\"\\u00e9\"}"},` +
				`{"type":"message","role":"assistant","content":"That is\u2028all."}`
			and = `{"type":"message","role":"user","content":"And?"}`
		)
		ask := func(path, body string) (id string) {
			t.Helper()
			a := r.ask("POST", path, body)
			if a.StatusCode != 200 && a.StatusCode != 201 {
				t.Fatalf("POST %s %s = %d %s", path, body, a.StatusCode, errorCode(a))
			}
			id = a.Header.Get("X-Tokenrelay-Session")
			if id == "" {
				id = strings.TrimPrefix(a.Header.Get("Location"), "/v1/sessions/")
			}
			time.Sleep(time.Minute)
			return id
		}
		check := func(name, previous, want string) (id string) {
			t.Helper()
			id = ask("/v1/responses", `{"model":"length","input":"And?","previous_response_id":"resp_`+previous+`"}`)
			if got := strings.ReplaceAll(up.input(), previous, "ID"); got != want {
				t.Errorf("%s: input = %s, want %s", name, got, want)
			}
			if got := up.last.Parameters; got != nil {
				t.Errorf("%s: parameters = %s, want none", name, got)
			}
			return id
		}
		first := ask("/v1/responses", `{"model":"all kinds","input":"Hi","instructions":"Be brief."}`)
		second := check("responses", first, "["+hi+","+answered+","+and+"]")
		check("responses, twice", second, "["+strings.ReplaceAll(hi+","+answered+","+and, "ID", first)+`,{"type":"message","role":"assistant","content":"As long as it may"},`+and+"]")
		check("chat", ask("/v1/chat/completions", `{"model":"all kinds","messages":[{"role":"system","content":"Be brief."},
			{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"file","file":{}}]},
			{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"7"}]},
			{"role":"assistant","content":[{"type":"text","text":"It is 7."}]}]}`),
			`[{"type":"message","role":"system","content":"Be brief."},{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"},{"type":"input_image","image_url":"data:,"},{"type":"file","file":{}}]},`+
				`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"7"},`+
				`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"It is 7."}]},`+answered+","+and+"]")
		check("native", ask("/v1/sessions", `{"source":{"type":"upstream","model":"all kinds","messages":[{"role":"user","content":"Hi"}]}}`), "["+hi+","+answered+","+and+"]")
		check("failed", ask("/v1/sessions", `{"source":{"type":"upstream","model":"fails","messages":[{"role":"user","content":"Hi"}]}}`), "["+hi+`,{"type":"message","role":"assistant","content":"Half of an ans"},`+and+"]")
		check("text", ask("/v1/sessions", `{"source":{"type":"text","text":"abc"}}`), `[{"type":"message","role":"assistant","content":"abc"},`+and+"]")
		demo := ask("/v1/responses", `{"model":"demo","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]}],"tokenrelay":{"length":1}}`)
		_, text := r.do("GET", "/v1/sessions/"+demo+"/text", "")
		check("demo", demo, "["+hi+`,{"type":"message","role":"assistant","content":`+quote(text)+"},"+and+"]")

		// A client that keeps the conversation itself may name what was answered.
		ask("/v1/responses", `{"model":"length","input":[{"role":"user","content":"Hi"},{"type":"item_reference","id":"rs_`+first+`_0"},{"type":"item_reference","id":"msg_`+first+`_1"},
			{"type":"item_reference","id":"fc_`+first+`_2"},{"type":"function_call_output","call_id":"call_a","output":"rain"}]}`)
		items := strings.Split(answered, "},")
		if got, want := up.input(), `[{"role":"user","content":"Hi"},`+items[0]+"},"+items[1]+`},{"type":"function_call_output","call_id":"call_a","output":"rain"}]`; got != want {
			t.Errorf("with references: input = %s, want %s", got, want)
		}

		// It names an answer as any protocol does.
		for _, prefix := range []string{"", "resp_", "chatcmpl-", "msg_"} {
			ask("/v1/responses", `{"model":"length","input":[{"type":"item_reference","id":"`+prefix+first+`"},`+and+`]}`)
			if got, want := up.input(), "["+answered+","+and+"]"; got != strings.ReplaceAll(want, "ID", first) {
				t.Errorf("with a reference to %s: input = %s, want %s", prefix, got, want)
			}
			ask("/v1/responses", `{"model":"length","input":"And?","previous_response_id":"`+prefix+first+`"}`)
			if got, want := up.input(), "["+hi+","+answered+","+and+"]"; got != strings.ReplaceAll(want, "ID", first) {
				t.Errorf("after %s: input = %s, want %s", prefix, got, want)
			}
		}
	})
}

// What there is nothing of cannot be continued, nor what goes on, nor what is
// too much for one request.
func TestPreviousResponseRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxBody: 5000}, session: session.Options{Upstreams: models{}}})
		running, ended, deleted := r.create(`{"source":{"type":"push"}}`), r.create(`{"source":{"type":"text","text":"`+strings.Repeat("x", 3000)+`"}}`), r.create(`{"source":{"type":"text","text":"abc"}}`)
		expired := r.create(`{"source":{"type":"text","text":"abc"},"retain":"1m"}`)
		time.Sleep(2 * time.Minute)
		r.do("DELETE", deleted, "")
		name := func(path string) string { return strings.TrimPrefix(path, "/v1/sessions/") }
		long := strings.Repeat("y", 2500)
		for _, test := range []struct {
			previous, input string
			status          int
			code, param     string
		}{
			{session.NewID().String(), `"And?"`, 404, "session_not_found", "previous_response_id"},
			{"resp_42", `"And?"`, 404, "session_not_found", "previous_response_id"},
			{name(deleted), `"And?"`, 404, "session_not_found", "previous_response_id"},
			{name(expired), `"And?"`, 404, "session_not_found", "previous_response_id"},
			{name(running), `"And?"`, 409, "session_not_ended", "previous_response_id"},
			{name(ended), quote(long), 413, "body_too_large", ""},
			{"", `[{"type":"item_reference","id":"msg_` + name(ended) + `_1"}]`, 404, "session_not_found", "input"},
			{"", `[{"type":"item_reference","id":"fc_` + name(ended) + `_0"}]`, 404, "session_not_found", "input"},
			{"", `[{"type":"item_reference","id":"msg_` + name(deleted) + `_0"}]`, 404, "session_not_found", "input"},
			{"", `[{"type":"item_reference","id":"msg_1"}]`, 404, "session_not_found", "input"},
			{"", `[{"type":"item_reference","id":"msg_` + name(ended) + `_-1"}]`, 404, "session_not_found", "input"},
		} {
			previous := ""
			if test.previous != "" {
				previous = `,"previous_response_id":` + quote(test.previous)
			}
			status, body := r.do("POST", "/v1/responses", `{"model":"length","input":`+test.input+previous+`}`)
			var got struct {
				Error struct{ Code, Param, Message string }
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != test.status || got.Error.Code != test.code || got.Error.Param != test.param {
				t.Errorf("previous %q, input %.40s = %d %s, want %d %s, param %q", test.previous, test.input, status, body, test.status, test.code, test.param)
			}
		}
	})
}

// However often an item is named, it is refused before there is more of it than
// a request may have.
func TestReferencesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxBody: 1 << 20}, session: session.Options{Upstreams: models{}}})
		named := func(text string) string {
			return `{"type":"item_reference","id":"msg_` + strings.TrimPrefix(r.create(`{"source":{"type":"text","text":`+quote(text)+`}}`), "/v1/sessions/") + `_0"}`
		}
		long := named(strings.Repeat("x", 300_000))
		time.Sleep(time.Minute)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status, body := r.do("POST", "/v1/responses", `{"model":"length","input":[`+strings.Repeat(long+",", 999)+long+`]}`)
		runtime.ReadMemStats(&after)
		if status != 413 || !strings.Contains(body, `"code":"body_too_large"`) {
			t.Errorf("an item a thousand times = %d %s, want 413 body_too_large", status, body)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
			t.Errorf("it took %d MiB, want 64 at most", got>>20)
		}
		if status, body := r.do("POST", "/v1/responses", `{"model":"length","input":[`+long+","+long+","+long+`]}`); status != 200 {
			t.Errorf("an item three times = %d %s, want 200", status, body)
		}
		var all []string
		for range 17 {
			all = append(all, named("x"))
		}
		time.Sleep(time.Minute)
		if status, body := r.do("POST", "/v1/responses", `{"model":"length","input":[`+strings.Join(append(all[:16:16], all[:16]...), ",")+`]}`); status != 200 {
			t.Errorf("items of 16 responses = %d %s, want 200", status, body)
		}
		if status, body := r.do("POST", "/v1/responses", `{"model":"length","input":[`+strings.Join(all, ",")+`]}`); status != 400 || !strings.Contains(body, `"param":"input","code":"invalid_field"`) {
			t.Errorf("items of 17 responses = %d %s, want 400", status, body)
		}
	})
}
