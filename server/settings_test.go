package server_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// The relay's own settings may stand in a header, for clients that cannot put
// them into a body; one that has them there has not asked for others.
func TestSettingsOfTheHeader(t *testing.T) {
	const header = "X-Tokenrelay-Settings: "
	asks := map[string]func(more string) string{
		"/v1/chat/completions": func(more string) string { return completion("demo", streamed+more) },
		"/v1/responses":        func(more string) string { return response("demo", streamed+more) },
		"/api/chat":            uiAsks,
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		for path, ask := range asks {
			made := func(more string, headers ...string) string {
				_, state := r.do("GET", "/v1/sessions/"+sessionOf(r.ask("POST", path, ask(more), headers...)), "")
				return state
			}
			if got := made("", header+`{"unit":"word","rate":7,"metadata":{"a":"b"},"length":3}`); !strings.Contains(got, `"unit":"word"`) || !strings.Contains(got, `"rate":7`) || !strings.Contains(got, `"metadata":{"a":"b"}`) {
				t.Errorf("%s made %s, want what the header says", path, got)
			}
			if got := made(`,"tokenrelay":{"rate":8}`, header+`{"unit":"word","rate":7}`); !strings.Contains(got, `"unit":"token"`) || !strings.Contains(got, `"rate":8`) {
				t.Errorf("%s made %s, want what the body says alone", path, got)
			}
			for value, want := range map[string]string{
				`{"colour":1}`:           "unknown_field: unknown field X-Tokenrelay-Settings.colour",
				`{"unit":"char"}`:        "invalid_field: X-Tokenrelay-Settings.unit: ",
				`{"rate":"fast"}`:        "invalid_field: X-Tokenrelay-Settings.rate: cannot be a string",
				`{"length":-1}`:          "invalid_field: X-Tokenrelay-Settings.length: ",
				`{"unit"`:                "malformed_json: X-Tokenrelay-Settings is not JSON: ",
				`[]`:                     "invalid_field: X-Tokenrelay-Settings",
				``:                       "invalid_parameter: the header X-Tokenrelay-Settings must be one JSON object",
				"{}\r\n" + header + "{}": "invalid_parameter: the header X-Tokenrelay-Settings must be one JSON object",
			} {
				a := r.ask("POST", path, ask(""), header+value)
				code := errorCode(a)
				body, _ := io.ReadAll(a.Body)
				if _, words, _ := strings.Cut(want, ": "); a.StatusCode != 400 || !strings.HasPrefix(want, code+": ") || code == "" || len(body) > 0 && !strings.Contains(string(body), words) {
					t.Errorf("%s with %s = %d %s %s, want 400 %s", path, value, a.StatusCode, code, body, want)
				}
			}
		}
		first := r.ask("POST", "/v1/responses", response("demo", streamed), header+`{"unit":"word"}`, "Idempotency-Key: k")
		again := r.ask("POST", "/v1/responses", response("demo", streamed), header+`{"unit":"word"}`, "Idempotency-Key: k")
		if sessionOf(first) != sessionOf(again) {
			t.Errorf("the same again made %s, want %s", sessionOf(again), sessionOf(first))
		}
		if a := r.ask("POST", "/v1/responses", response("demo", streamed), header+`{"unit":"rune"}`, "Idempotency-Key: k"); a.StatusCode != 409 {
			t.Errorf("other settings with the key = %d, want 409", a.StatusCode)
		}
		// Where it does not hold it is no part of what the key stands for.
		inBody := response("demo", streamed+`,"tokenrelay":{"unit":"word"}`)
		first = r.ask("POST", "/v1/responses", inBody, header+`{"unit":"rune"}`, "Idempotency-Key: body")
		if again := r.ask("POST", "/v1/responses", inBody, "Idempotency-Key: body"); again.StatusCode != 200 || sessionOf(again) != sessionOf(first) {
			t.Errorf("settings of the body again, without the header = %d %s, want %s", again.StatusCode, sessionOf(again), sessionOf(first))
		}
		native := `{"source":{"type":"text","text":"x"}}`
		created := r.ask("POST", "/v1/sessions", native, header+`{"unit":"rune"}`, "Idempotency-Key: native")
		if again := r.createKeyed("/v1/sessions", native, "native"); again.status != 200 || again.location != created.Header.Get("Location") {
			t.Errorf("a native create again, without the header = %+v, want %s", again, created.Header.Get("Location"))
		}
	})
}
