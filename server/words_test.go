package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Who asks by another protocol is told of what stands in the request, in its words.
func TestFieldsInWords(t *testing.T) {
	set, err := upstream.New([]upstream.Config{{Name: "a", Protocol: upstream.Anthropic, BaseURL: "http://127.0.0.1:1"}}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: set}})
		const nobody = `{"model":"m","messages":[{"role":"nobody","content":"a"}]`
		for _, test := range []struct{ path, body, param, code string }{
			{"/v1/chat/completions", nobody + `}`, "messages", "invalid_field"},
			{"/v1/responses", strings.Replace(nobody, "messages", "input", 1) + `}`, "input", "invalid_field"},
			{"/v1/chat/completions", completion("m", `,"logprobs":true`), "logprobs", "unsupported_parameter"},
			{"/v1/responses", response("m", `,"temperature":"hot"`), "temperature", "invalid_field"},
			{"/v1/chat/completions", completion("m", `,"tokenrelay":{"unit":"char"}`), "tokenrelay.unit", "invalid_field"},
			{"/v1/responses", response("m", `,"tokenrelay":{"seed":1}`), "tokenrelay.seed", "invalid_field"},
			{"/v1/responses", response("demo", `,"tokenrelay":{"length":-1}`), "tokenrelay.length", "invalid_field"},
		} {
			status, got := r.do("POST", test.path, test.body)
			if status != 400 || !strings.Contains(got, `{"message":"`+test.param) || !strings.Contains(got, `"param":"`+test.param+`","code":"`+test.code+`"`) {
				t.Errorf("%s %s = %d %s, want 400 %s of %s", test.path, test.body, status, got, test.code, test.param)
			}
		}
	})
}

// A session that is no more is called what the clients of a path call it.
func TestGoneInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		id := strings.TrimPrefix(r.create(`{"source":{"type":"text","text":"x"}}`), "/v1/sessions/")
		time.Sleep(time.Second)
		r.do("DELETE", "/v1/sessions/"+id, "")
		for path, want := range map[string]string{
			"/v1/sessions/" + id:  `"detail":"the session is gone: it was deleted"`,
			"/v1/responses/" + id: `"message":"the response is gone: it was deleted"`,
			"/v1/responses/" + id + "?stream=true&starting_after=1": `"code":"cursor_expired"`,
			"/v1/chat/completions/" + id:                            `"message":"the completion is gone: it was deleted"`,
		} {
			if _, got := r.do("GET", path, ""); !strings.Contains(got, want) {
				t.Errorf("GET %s = %s, want %s", path, got, want)
			}
		}
	})
}
