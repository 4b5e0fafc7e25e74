package upstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Whatever a client asks, in whose words ever: it is refused with a reason, or
// the provider is asked with JSON, and with the same when it is asked again.
func FuzzDialects(f *testing.F) {
	f.Add(uint8(0), uint8(0), chatTalk, chatWishes)
	f.Add(uint8(1), uint8(0), responsesTalk, responsesWishes)
	for _, messages := range []string{
		`[{"role":"assistant","content":[],"tool_calls":null},{"role":"tool"},null]`, `[{"role":"user","content":[null,1,{}]}]`,
		`[{"role":"assistant","tool_calls":[null,{"function":null},{"function":{"arguments":"null"}}]}]`,
		`[{"type":"function_call"},{"type":"function_call_output","call_id":"x","output":[]}]`,
		`[{"role":"user","content":[{"type":"image_url","image_url":"data:;base64,"},{"type":"file","file":1}]}]`,
		`[{"role":"user","content":[{"type":"text","text":"\ud83d"}]}]`,
	} {
		for _, parameters := range []string{"", `{"tools":[{}],"tool_choice":{},"response_format":1,"text":{"format":{}},"reasoning":{"effort":1},"stop":null,"instructions":""}`} {
			f.Add(uint8(0), uint8(1), messages, parameters)
			f.Add(uint8(1), uint8(2), messages, parameters)
		}
	}
	var configs []upstream.Config
	for _, p := range upstream.Protocols() {
		configs = append(configs, upstream.Config{Name: string(p), Protocol: p, BaseURL: "http://p.test", Parameters: map[string]any{"options": map[string]any{"x": 1}, "text": 1}})
	}
	set, err := upstream.New(configs, upstream.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, dialect, protocol uint8, messages, parameters string) {
		spec := asked([]session.Dialect{session.DialectChat, session.DialectResponses, session.DialectNative}[dialect%3], messages, parameters)
		for _, p := range upstream.Protocols() {
			spec.Model = string(p) + "/" + []string{"m", "claude-3-opus", "gpt-5", "claude-opus-4-6"}[protocol%4]
			body, err := set.Body(spec)
			if again, errAgain := set.Body(spec); !bytes.Equal(body, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
				t.Fatalf("%s: first %s, %v, then %s, %v", p, body, err, again, errAgain)
			}
			if err != nil {
				if invalid, ok := errors.AsType[*session.InvalidError](err); !ok || invalid.Field == "" || invalid.Reason == "" {
					t.Fatalf("%s: error %v", p, err)
				}
				continue
			}
			var asked struct {
				Model           string
				Stream          bool
				Messages, Input []any
			}
			if err := json.Unmarshal(body, &asked); err != nil {
				t.Fatalf("%s: %v: %s", p, err, body)
			}
			if utf8.ValidString(messages+parameters) && !utf8.Valid(body) {
				t.Errorf("%s: not UTF-8: %s", p, body)
			}
			if asked.Model == "" || !asked.Stream || len(asked.Messages)+len(asked.Input) == 0 && !bytes.Contains(body, []byte(`"system":`)) {
				t.Errorf("%s: %s", p, body)
			}
		}
	})
}
