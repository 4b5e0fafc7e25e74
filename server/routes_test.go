package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
)

// An error repeats no more of a request than it takes to know it again.
func TestNotHereIsBounded(t *testing.T) {
	long := strings.Repeat("x", 5000)
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		for _, test := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/v1/sessions/a/" + long, 404},
			{"PUT", "/v1/sessions/" + long, 405},
			{"GET", "/responses/" + long, 404},
			{"GET", "/v1/" + long, 404},
			{long, "/healthz", 405},
		} {
			if status, body := r.do(test.method, test.path, ""); status != test.status || len(body) > 500 || !strings.Contains(body, "…") {
				t.Errorf("%.20s %.20s = %d with %d bytes: %.200s, want %d that is short", test.method, test.path, status, len(body), body, test.status)
			}
		}
	})
}
