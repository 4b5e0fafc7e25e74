package server_test

import (
	"net/http"
	"testing"
	"testing/synctest"
)

// A cursor is for a stream: who asks for the whole is not to think that it has
// been told the rest.
func TestCursorOfWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		for path, body := range map[string]string{
			"/v1/chat/completions": completion("demo", ""),
			"/v1/responses":        response("demo", ""),
			"/v1/responses?":       response("demo", `,"background":true`),
		} {
			key := "Idempotency-Key: " + path
			for range 2 { // be it there or not
				a := r.ask("POST", path, body, key, "Last-Event-ID: 1")
				if code := errorCode(a); a.StatusCode != http.StatusBadRequest || code != "invalid_parameter" {
					t.Errorf("POST %s %s with a cursor = %d %s, want 400 invalid_parameter", path, body, a.StatusCode, code)
				}
				if a := r.ask("POST", path, body, key); a.StatusCode != http.StatusOK {
					t.Errorf("POST %s %s = %d", path, body, a.StatusCode)
				}
			}
		}
	})
}
