package server_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
)

// uiAsks is the body of a create of the AI SDK, with more fields.
func uiAsks(more string) string {
	return fmt.Sprintf(`{"messages":[{"id":"m1","role":"user","parts":[{"type":"text","text":"tides"}]}]%s}`, more)
}

// The wire form of the UI message stream.
func TestGoldenUI(t *testing.T) {
	for name, upstream := range map[string]told{
		"ui-text": {deltas: []session.Delta{says("Hello, 👩‍👩‍👧 \"world\"\n"), says("\u2028"), costs(7, 2), ends("content_filter")}},
		"ui-reasoning-tools": {deltas: []session.Delta{
			thinks("The user wants "), thinks("tides."), says("Let me see."),
			calls(2, "call_a", "tides", ""), calls(2, "", "", `{"at":`), calls(5, "", "moon", `{"on":"`), calls(2, "", "", `"Bremen\u2028"}`), calls(5, "", "", `today"`),
			calls(7, "call_a", "now", ""), says("Wait."), ends("tool_calls"),
		}},
		"ui-failed": {
			deltas: []session.Delta{says("Hel"), calls(0, "call_a", "tides", `{}`), says("lo")},
			err:    &session.Failure{Code: "upstream_truncated", Message: "the provider's answer \"broke\" off"},
		},
		"ui-stopped": {deltas: []session.Delta{thinks("Hm"), calls(0, "call_a", "tides", `{}`)}, hangs: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{session: session.Options{Upstreams: upstream}, server: server.Options{Models: []string{"mock/m"}}})
			a := r.ask("POST", "/api/chat", uiAsks(`,"id":"c"`))
			id := a.Header.Get("X-Workflow-Run-Id")
			if upstream.hangs {
				time.Sleep(time.Second)
				r.do("POST", "/api/chat/c/stop", "")
			}
			golden(t, name, strings.ReplaceAll(canonical(t, a.Body), id, "ID"))
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"push"},"unit":"word"}`)
		r.do("POST", path+"/append", `{"text":"one "}`)
		r.do("POST", path+"/append", `{"event":"weather","data":{"city":"<Zürich>","at":[1,2]}}`)
		r.do("POST", path+"/append", `{"text":"two"}`)
		r.do("POST", path+"/pause", "")
		r.do("POST", path+"/resume", "")
		r.do("POST", path+"/append", `{"event":"a.b:c","data":null}`)
		r.do("POST", path+"/finish", "")
		id := strings.TrimPrefix(path, "/v1/sessions/")
		golden(t, "ui-data", strings.ReplaceAll(canonical(t, r.ask("GET", "/api/chat/"+id+"/stream", "").Body), id, "ID"))
	})
}

func TestUIAllocations(t *testing.T) {
	if got, most := server.UIAllocations(), 0.0; got > most {
		t.Errorf("a chunk of text takes %v allocations, want %v at most", got, most)
	}
}
