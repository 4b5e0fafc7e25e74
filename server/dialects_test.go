package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// Each protocol of a client reaches each protocol of a provider, parameters with
// it, and what a provider cannot be asked for is refused before there is a session.
func TestDialects(t *testing.T) {
	const (
		chat      = `{"model":"mock/m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],"max_tokens":5,"stream":false%s}`
		responses = `{"model":"mock/m","instructions":"Be brief.","input":"Hi","max_output_tokens":5,"stream":false%s}`
	)
	bounds := map[upstream.Protocol]string{
		upstream.Chat: `"max_tokens":5`, upstream.Responses: `"max_output_tokens":5`, upstream.Anthropic: `"max_tokens":5`, upstream.Ollama: `"options":{"num_predict":5}`,
	}
	for _, p := range upstream.Protocols() {
		synctest.Test(t, func(t *testing.T) {
			b := startUpstreamRelay(t, options{}, upstream.Config{Protocol: p})
			b.provider.Script("Hi", upstreamtest.Behavior{Tokens: 3})
			text, _ := json.Marshal(string([]rune(upstreamtest.Text("Hi"))[:3*upstreamtest.DefaultSize]))
			for path, body := range map[string]string{"/v1/chat/completions": chat, "/v1/responses": responses} {
				if status, got := b.do("POST", path, fmt.Sprintf(body, "")); status != 200 || !strings.Contains(got, string(text)) {
					t.Errorf("%s to %s: %d %s, want 200 with %s", path, p, status, got, text)
				}
				asked := b.next()
				if first := asked.Messages[0]; first.Role != "system" || first.Content != "Be brief." || !strings.Contains(string(asked.Body), bounds[p]) {
					t.Errorf("%s to %s: asked %s, want %s and what the system says", path, p, asked.Body, bounds[p])
				}
				same := strings.Contains(path, string(p)) // both speak one protocol
				status, got := b.do("POST", path, fmt.Sprintf(body, `,"x":1`))
				switch refused := status == 400 && strings.Contains(got, `"param":"x","code":"unsupported_parameter"`); {
				case !same && !refused:
					t.Errorf("%s to %s with what nobody knows: %d %s, want 400 unsupported_parameter", path, p, status, got)
				case same && !strings.Contains(string(b.next().Body), `"x":1`):
					t.Errorf("%s to %s: what nobody knows did not pass: %d %s", path, p, status, got)
				}
				if same {
					continue // the provider says what it thinks of it
				}
				for value, code := range map[string]string{`7`: "invalid_field", `[{"type":"tides"}]`: "unsupported_parameter"} {
					status, got := b.do("POST", path, fmt.Sprintf(body, `,"tools":`+value))
					if status != 400 || !strings.Contains(got, `"param":"tools","code":"`+code+`"`) {
						t.Errorf("%s to %s with the tools %s: %d %s, want 400 %s", path, p, value, status, got, code)
					}
				}
				for value, code := range map[string]string{`7`: "invalid_field", `"tide"`: "unsupported_parameter"} {
					status, got := b.do("POST", path, fmt.Sprintf(body, `,"tools":[{"type":"function","name":"f","function":{"name":"f"}}],"tool_choice":`+value))
					if status != 400 || !strings.Contains(got, `"param":"tool_choice","code":"`+code+`"`) {
						t.Errorf("%s to %s with the choice %s: %d %s, want 400 %s", path, p, value, status, got, code)
					}
				}
			}
		})
	}
}

// The generator is asked the same in each protocol of a client: what the user said
// last, its parts one after the other.
func TestDemoPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		const settings = `,"model":"demo","tokenrelay":{"seed":1,"length":60,"rate":1000}}`
		native := r.create(`{"source":{"type":"generate","prompt":"Write SQL that joins two tables","seed":1,"length":60}}`)
		time.Sleep(time.Minute)
		_, want := r.do("GET", native+"/text", "")
		for path, body := range map[string]string{
			"/v1/chat/completions": `{"messages":[{"role":"user","content":"Hi"},{"role":"user","content":[{"type":"text","text":"Write SQL that "},{"type":"image_url"},{"type":"text","text":"joins two tables"}]},{"role":"assistant","content":"Well"}]`,
			"/v1/responses":        `{"input":[{"role":"user","content":"Hi"},{"role":"user","content":[{"type":"input_text","text":"Write SQL that "},{"type":"input_image"},{"type":"input_text","text":"joins two tables"}]},{"role":"assistant","content":"Well"}]`,
			"/api/chat":            `{"messages":[{"role":"user","parts":[{"type":"text","text":"Hi"}]},{"role":"user","parts":[{"type":"text","text":"Write SQL that "},{"type":"data-x"},{"type":"text","text":"joins two tables"}]},{"role":"assistant","parts":[{"type":"text","text":"Well"}]}]`,
		} {
			id := r.ask("POST", path, body+settings).Header.Get("X-Tokenrelay-Session")
			time.Sleep(time.Minute)
			if _, got := r.do("GET", "/v1/sessions/"+id+"/text", ""); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	})
}
