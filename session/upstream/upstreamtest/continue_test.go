package upstreamtest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/session/upstream/upstreamtest"
)

func TestContinue(t *testing.T) {
	whole := upstreamtest.Text("Hi")
	at := strings.Index(whole, "20.")
	part := strings.TrimSpace(whole[:at])
	rest := whole[len(part):]
	for _, d := range dialects {
		for _, test := range []struct {
			name     string
			messages []message
			want     string // the text
		}{
			{"one turn", []message{user("Hi")}, whole},
			{"next turn", []message{user("Hello"), assistant(upstreamtest.Text("Hello")), user("Hi")}, whole},
			{"continue message", []message{user("Hi"), assistant(part), user("Go on.")}, rest},
			{"second continue message", []message{user("Hi"), assistant(start("Hi", 20)), user("Go on."), assistant(strings.TrimPrefix(part, start("Hi", 20))), user("Go on.")}, rest},
			{"whole text, continue message", []message{user("Hi"), assistant(whole), user("CONTINUE")}, ""},
			{"prefill", []message{user("Hi"), assistant(part)}, rest},
			{"prefill in the next turn", []message{user("Hello"), assistant(upstreamtest.Text("Hello")), user("Hi"), assistant(part)}, rest},
			{"prefill of all", []message{user("Hi"), assistant(whole)}, ""},
		} {
			if d == upstreamtest.Responses && strings.HasPrefix(test.name, "prefill") {
				test.want = whole // its models answer anew
			}
			t.Run(string(d)+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := upstreamtest.New(upstreamtest.Options{Continue: func(s string) bool { return s == "CONTINUE" }})
					status, got, err := overPipe(t, p).generate(d, test.messages...)
					if status != http.StatusOK || err != nil {
						t.Fatalf("status %d, error %v, %s", status, err, got)
					}
					if text := textOf(t, got); text != test.want {
						t.Errorf("text = %.30q…, want %.30q…", text, test.want)
					}
					if r := p.Requests()[0]; r.Prompt != "Hi" || r.Prefix != whole[:len(whole)-len(test.want)] {
						t.Errorf("prompt = %q, prefix = %q", r.Prompt, r.Prefix)
					}
				})
			})
		}
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name       string
		dialect    upstreamtest.Dialect
		path, body string // instead of messages
		messages   []message
		want       string // of the message
	}{
		{name: "no prefix", messages: []message{user("Hi"), assistant("Rubbish"), user("Go on.")}, want: "Rubbish"},
		{name: "no prefix as prefill", messages: []message{user("Hi"), assistant("Rubbish")}, want: "Rubbish"},
		{name: "blank at the end", dialect: upstreamtest.Messages, messages: []message{user("Hi"), assistant("1. ")}, want: "trailing whitespace"},
		{name: "prefill that the model does not take", dialect: upstreamtest.Messages, messages: []message{user("No prefill"), assistant("1.")}, want: "prefill"},
		{name: "prefill with a prompt after it", path: "/v1/chat/completions", body: `{"model":"m","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"1"}],"stream":true,"continue_final_message":true}`, want: "add_generation_prompt"},
		{name: "no limit", path: "/v1/messages", body: `{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}`, want: "max_tokens"},
		{name: "no stream", path: "/v1/chat/completions", body: `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, want: "only streams"},
		{name: "no JSON", path: "/api/chat", body: `{`, want: "JSON"},
	} {
		for _, d := range dialects {
			if test.dialect != "" && test.dialect != d || test.path != "" && d != upstreamtest.Chat {
				continue
			}
			t.Run(string(d)+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := upstreamtest.New(upstreamtest.Options{})
					p.Script("No prefill", upstreamtest.Behavior{NoPrefill: true})
					path, body := test.path, test.body
					if path == "" {
						path, body = request(d, test.messages...)
					}
					status, got, err := overPipe(t, p).ask("POST", path, body)
					if status != http.StatusBadRequest || err != nil || !strings.Contains(got, test.want) || !strings.Contains(got, `"error":`) {
						t.Errorf("status %d, error %v, %s", status, err, got)
					}
				})
			})
		}
	}
}

// What clients send is read in the forms that each protocol allows.
func TestForms(t *testing.T) {
	for _, test := range []struct{ path, body, messages string }{
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]}],"stream":true}`, "[{system Be kind.} {user Hi}]"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null}],"stream":true}`, "[{user Hi} {assistant }]"},
		{"/v1/responses", `{"model":"m","instructions":"Be kind.","input":"Hi","stream":true}`, "[{system Be kind.} {user Hi}]"},
		{"/openai/v1/responses", `{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}],"stream":true}`, "[{user Hi}]"},
		{"/v1/messages", `{"model":"m","system":[{"type":"text","text":"Be kind."}],"messages":[{"role":"user","content":"Hi"}],"max_tokens":9,"stream":true}`, "[{system Be kind.} {user Hi}]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Size: 3, Unit: upstreamtest.UTF16}})
			status, got, err := overPipe(t, p).ask("POST", test.path, test.body)
			if text := textOf(t, got); status != http.StatusOK || err != nil || text != upstreamtest.Text("Hi") {
				t.Errorf("%s: status %d, error %v, text %q", test.body, status, err, text)
			}
			if found := fmt.Sprint(p.Requests()[0].Messages); found != test.messages {
				t.Errorf("%s: messages = %s, want %s", test.body, found, test.messages)
			}
		})
	}
}
