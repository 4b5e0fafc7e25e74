package server_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/server"
	"tokenrelay/session"
)

// response is the body of a create of a response, with more fields.
func response(model, more string) string {
	return fmt.Sprintf(`{"model":%q,"input":"tides"%s}`, model, more)
}

const inBackground = `,"background":true`

// The wire form of Responses, as a stream and then as an object.
func TestGoldenResponses(t *testing.T) {
	for name, test := range map[string]struct {
		upstream told
		more     string
	}{
		"responses-text": {told{deltas: []session.Delta{says("Hello, 👩‍👩‍👧 \"world\"\n"), says("\u2028"), ends("stop")}}, ""},
		"responses-reasoning-tools": {told{deltas: []session.Delta{
			thinks("The user wants "), thinks("tides."), says("Let me see."),
			calls(2, "call_a", "tides", ""), calls(2, "", "", `{"at":`), calls(5, "", "moon", `{"on":"`), calls(2, "", "", `"Bremen"}`), calls(5, "", "", `today"}`),
			says("Done."), costs(7, 2), ends("tool_calls"),
		}}, `,"instructions":"Be brief.","temperature":0.5,"metadata":{"chat":"42"},"tools":[{"type":"function","name":"tides","parameters":{}},{"type":"function","name":"moon","parameters":{}}]`},
		"responses-failed": {told{
			deltas: []session.Delta{says("Hel")},
			err:    &session.Failure{Code: "upstream_truncated", Message: "the provider's answer broke off"},
		}, ""},
		"responses-rate-limited": {told{err: &session.Failure{Code: "upstream_rate_limited", Message: "the provider wants fewer requests"}}, ""},
		"responses-cancelled":    {told{deltas: []session.Delta{thinks("Hm. "), says("Hel")}, hangs: true}, ""},
		"responses-incomplete":   {told{deltas: []session.Delta{says("Hello"), costs(7, 2), ends("length")}}, `,"max_output_tokens":2`},
		"responses-background":   {told{deltas: []session.Delta{says("Hello"), ends("stop")}}, inBackground},
	} {
		goldenAnswer(t, name, test.upstream, response("mock/m", streamed+test.more), answerPaths{
			create: "/v1/responses", stop: "/v1/responses/resp_%s/cancel", whole: "/v1/responses/resp_%s",
		})
	}
}

// Of a session that another protocol made it shows what it has events for: the
// text goes on over pauses and over events of clients.
func TestGoldenResponseOfPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"push"},"unit":"word"}`)
		r.do("POST", path+"/append", `{"text":"one "}`)
		r.do("POST", path+"/append", `{"event":"message","data":{"sender":"ann"}}`)
		r.do("POST", path+"/pause", "")
		r.do("POST", path+"/resume", "")
		r.do("POST", path+"/append", `{"text":"two"}`)
		r.do("POST", path+"/finish", "")
		id := strings.TrimPrefix(path, "/v1/sessions/")
		golden(t, "responses-pushed", strings.ReplaceAll(canonical(t, r.ask("GET", responseStream(id), "").Body), id, "ID"))
	})
}

// An event of text costs no memory of its own.
func TestResponseAllocations(t *testing.T) {
	if got := server.ResponseAllocations(); got > 0 {
		t.Errorf("allocations for an event of text = %v, want 0", got)
	}
}
