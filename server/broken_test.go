package server_test

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// The server knows by their names some codes with which upstreams fail.
func TestCodesOfUpstreams(t *testing.T) {
	got := []string{server.CodeRefused, server.CodeLimited, server.CodeBusy}
	want := []string{upstream.CodeRefused, upstream.CodeRateLimited, upstream.CodeOverloaded}
	if !slices.Equal(got, want) {
		t.Errorf("the server looks for %q, and upstreams fail with %q", got, want)
	}
}

// A client that waits for the whole is told by the status whether to ask again:
// not what the provider refuses, and nothing that may have been paid for.
func TestBrokenAnswer(t *testing.T) {
	half, thought, call := []session.Delta{says("Hel")}, []session.Delta{thinks("Hm.")}, []session.Delta{calls(0, "c", "f", "{}")}
	for _, test := range []struct {
		deltas  []session.Delta
		code    string
		header  string
		status  int
		kind    string
		repeats bool
	}{
		{nil, "upstream_refused", "", 400, "invalid_request_error", false},
		{nil, "upstream_rate_limited", "", 429, "rate_limit_error", true},
		{nil, "upstream_overloaded", "", 503, "server_error", true},
		{half, "upstream_rate_limited", "", 502, "server_error", false},
		{half, "upstream_overloaded", "", 502, "server_error", false},
		{thought, "upstream_rate_limited", "", 502, "server_error", false},
		{thought, "upstream_overloaded", "", 502, "server_error", false},
		{call, "upstream_rate_limited", "", 502, "server_error", false},
		{call, "upstream_overloaded", "", 502, "server_error", false},
		{nil, "upstream_rate_limited", "Idempotency-Key: k", 502, "server_error", false}, // the repeat would be the same
		{nil, "upstream_error", "", 502, "server_error", false},
		{nil, "upstream_unauthorized", "", 502, "server_error", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{session: session.Options{Upstreams: told{deltas: test.deltas, err: &session.Failure{Code: test.code, Message: "no"}}}})
			headers := []string{"X-Test: yes"}
			if test.header != "" {
				headers = append(headers, test.header)
			}
			for path, body := range map[string]string{"/v1/chat/completions": completion("m", ""), "/v1/responses": response("m", "")} {
				if test.header != "" {
					headers[1] = test.header + path[len("/v1/"):len("/v1/")+4] // one for each
				}
				a := r.ask("POST", path, body, headers...)
				got, _ := io.ReadAll(a.Body)
				want := fmt.Sprintf(`{"error":{"message":"no","type":%q,"param":null,"code":%q}}`+"\n", test.kind, test.code)
				should, after := a.Header.Get("X-Should-Retry"), a.Header.Get("Retry-After")
				if a.StatusCode != test.status || string(got) != want || (should == "") != test.repeats || (after != "") != test.repeats {
					t.Errorf("%s = %d %s, X-Should-Retry %q, Retry-After %q; want %d %s that repeats: %v", path, a.StatusCode, got, should, after, test.status, want, test.repeats)
				}
				if one := r.ask("GET", "/v1/chat/completions/"+sessionOf(a), ""); test.status > 400 && one.StatusCode != 502 {
					t.Errorf("GET of %s = %d, want 502: how it ended stays", test.code, one.StatusCode)
				}
			}
		})
	}
}
