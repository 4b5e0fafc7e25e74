package upstream_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session/upstream"
)

// A provider that speaks another protocol is told from one that is silent.
func TestWrongProtocol(t *testing.T) {
	const untyped = "failure upstream_malformed: the provider sent an event without a type: is its protocol chat?"
	chat := play(eventStream, stream(role), time.Hour)
	for _, test := range []struct {
		name   string
		p      upstream.Protocol
		handle http.HandlerFunc
		want   string
	}{
		{"chat", upstream.Anthropic, chat, untyped},
		{"chat", upstream.Responses, chat, untyped},
		{"objects of nothing", upstream.Anthropic, play(eventStream, stream("{}")), untyped},
		{"named events", upstream.Anthropic, answer("event: message_start\n"+stream("{}")+"event: ping\n"+stream("{}")+named(messageStop), false), "finish stop"},
		{"error", upstream.Anthropic, answer(stream(`{"error":{"message":"m"}}`), false), "failure upstream_error: m"},
		{"error", upstream.Responses, answer(stream(`{"error":{"message":"m"}}`), false), "failure upstream_error: m"},
		{"type", upstream.Ollama, chat, `failure upstream_malformed: the provider answered with "text/event-stream" where "application/x-ndjson" was expected: is its protocol ollama?`},
		{"type", upstream.Chat, typed(ndjson, wholeOllama), `failure upstream_malformed: the provider answered with "application/x-ndjson" where "text/event-stream" was expected: is its protocol chat?`},
	} {
		t.Run(string(test.p)+" "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got := deltas(t, open(t, newSet(t, upstream.Config{Protocol: test.p, Limits: once}, upstream.Options{}, test.handle)), true)
				if want := []string{test.want}; !slices.Equal(got, want) || time.Since(began) != 0 {
					t.Errorf("got  %q after %v\nwant %q at once", got, time.Since(began), want)
				}
			})
		})
	}
}
