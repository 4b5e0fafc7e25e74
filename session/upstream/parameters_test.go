package upstream_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Those of a request prevail over those of the configuration, and those that
// the relay sets over both: it refuses others.
func TestParameters(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p upstream.Protocol) {
		var body map[string]any
		set := newSet(t, upstream.Config{Protocol: p, Parameters: map[string]any{"temperature": 0.5, "top_p": 0.25, "stop": []string{"."}, "seed": nil}}, upstream.Options{},
			func(w http.ResponseWriter, r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				if err := json.Unmarshal(data, &body); err != nil {
					t.Error(err)
				}
				status(400, "")(w, r)
			})
		deltas(t, open(t, set, `{"temperature":0,"user":"u","top_p":null}`), true)
		got, err := json.Marshal([]any{body["temperature"], body["top_p"], body["stop"], body["user"], body["seed"], body["stream"], body["model"]})
		if want := `[0,null,["."],"u",null,true,"m"]`; string(got) != want || err != nil {
			t.Errorf("got %s, want %s", got, want)
		}
		if _, there := body["seed"]; !there {
			t.Error("a parameter that is null was left out")
		}
		for _, name := range []string{"model", "stream", map[upstream.Protocol]string{upstream.Responses: "input"}[p]} {
			if name == "" {
				name = "messages"
			}
			_, err := set.Open(session.SourceSpec{Model: "m", Messages: json.RawMessage(`[{"role":"user","content":"Hi"}]`), Parameters: json.RawMessage(`{"` + name + `":null}`)})
			invalid, ok := errors.AsType[*session.InvalidError](err)
			if !ok || invalid.Field != "source.parameters."+name {
				t.Errorf("parameter %s: error %v", name, err)
			}
		}
	})
}

// Going on from a text can need parameters that a first answer leaves alone.
func TestParametersOfContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, upstream.Config{Continuation: session.ByPrefill}, upstream.Options{}, answer(whole, false))
		got := collectDeltas(open(t, set, `{"add_generation_prompt":true}`).Continue(t.Context(), "a"), true)
		if len(got) != 1 || !strings.HasPrefix(got[0], "failure upstream_error: source.parameters.add_generation_prompt") {
			t.Errorf("got %q", got)
		}
	})
}

func TestParametersThatAreNone(t *testing.T) {
	set, err := upstream.New([]upstream.Config{{Name: "a", BaseURL: "http://a.test"}}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, parameters := range []string{`[]`, `1`, `"x"`, `{`} {
		_, err := set.Open(session.SourceSpec{Model: "m", Messages: json.RawMessage(`[{}]`), Parameters: json.RawMessage(parameters)})
		if invalid, ok := errors.AsType[*session.InvalidError](err); !ok || invalid.Field != "source.parameters" {
			t.Errorf("parameters %s: error %v", parameters, err)
		}
	}
}

// A system message that is no text is refused where the provider has a field
// for it.
func TestSystemMessageThatIsNone(t *testing.T) {
	set, err := upstream.New([]upstream.Config{{Name: "a", Protocol: upstream.Anthropic, BaseURL: "http://a.test"}}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{`1`, `null`, `{"text":"x"}`} {
		_, err := set.Open(session.SourceSpec{Model: "m", Messages: json.RawMessage(`[{"role":"system","content":` + content + `}]`)})
		if invalid, ok := errors.AsType[*session.InvalidError](err); !ok || invalid.Field != "source.messages" {
			t.Errorf("content %s: error %v", content, err)
		}
	}
}

// A key can stand in a file, with a line end behind it.
func TestKeyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		p            upstream.Protocol
		header, want string
	}{
		{upstream.Chat, "Authorization", "Bearer " + testKey},
		{upstream.Responses, "Authorization", "Bearer " + testKey},
		{upstream.Anthropic, "X-Api-Key", testKey},
		{upstream.Ollama, "Authorization", "Bearer " + testKey},
	} {
		t.Run(string(test.p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := "nobody was asked"
				transport := piped(t, func(w http.ResponseWriter, r *http.Request) {
					got = r.Header.Get(test.header)
					status(400, "")(w, r)
				})
				set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: test.p, BaseURL: "http://provider.test", KeyFile: name}}, upstream.Options{Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				deltas(t, open(t, set), true)
				if got != test.want {
					t.Errorf("%s: %q, want %q", test.header, got, test.want)
				}
			})
		})
	}
}
