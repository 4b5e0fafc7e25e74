package upstream_test

import (
	"encoding/json"
	"errors"
	"testing"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Parts that a provider takes in another form are refused when the session is
// made, rather than by the provider.
func TestParts(t *testing.T) {
	const (
		chatImage = `{"type":"image_url","image_url":{"url":"https://a.test/x.png"}}`
		anthropic = `has a part of type "image_url", which Anthropic does not take: give it in Anthropic's form, such as {"type":"image",…}`
		ollama    = `has a part that is no text, which Ollama does not take: give images in the message's field images`
	)
	user := func(parts string) string {
		return `[{"role":"user","content":[{"type":"text","text":"Hi"},` + parts + `]}]`
	}
	for _, test := range []struct {
		name, messages string
		p              upstream.Protocol
		want           string // the reason; empty for none
	}{
		{"image", user(chatImage), upstream.Chat, ""},
		{"image", user(chatImage), upstream.Responses, ""},
		{"image", user(chatImage), upstream.Anthropic, anthropic},
		{"image", user(chatImage), upstream.Ollama, ollama},
		{"image of a tool", `[{"role":"tool","tool_call_id":"x","content":[` + chatImage + `]}]`, upstream.Anthropic, anthropic},
		{"image of the system", `[{"role":"system","content":[` + chatImage + `]}]`, upstream.Anthropic, anthropic},
		{"image of an assistant", `[{"role":"assistant","content":[` + chatImage + `],"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]}]`, upstream.Anthropic, anthropic},
		{"own form", user(`{"type":"image","source":{"type":"url","url":"https://a.test/x.png"}}`), upstream.Anthropic, ""},
		{"own form", user(`{"type":"image","source":{}}`), upstream.Ollama, ollama},
		{"document", user(`{"type":"document","source":{}}`), upstream.Anthropic, ""},
		{"part without a type", user(`{}`), upstream.Anthropic, ""},
		{"no object", user(`1`), upstream.Ollama, ollama},
		{"images", `[{"role":"user","content":"Hi","images":["aGk="]}]`, upstream.Ollama, ""},
		{"text alone", user(`{"type":"text","text":"!"}`), upstream.Ollama, ""},
		{"sound", user(`{"type":"input_audio","input_audio":{}}`), upstream.Anthropic,
			`has a part of type "input_audio", which Anthropic does not take: give it in Anthropic's form, such as {"type":"image",…}`},
	} {
		t.Run(string(test.p)+" "+test.name, func(t *testing.T) {
			set := newSet(t, upstream.Config{Protocol: test.p}, upstream.Options{}, nil)
			_, err := set.Open(session.SourceSpec{Model: "m", Messages: json.RawMessage(test.messages)})
			invalid, ok := errors.AsType[*session.InvalidError](err)
			if ok != (test.want != "") || ok && (invalid.Field != "source.messages" || invalid.Reason != test.want) || !ok && err != nil {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
