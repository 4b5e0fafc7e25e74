package upstream_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/session/upstream"
)

func TestAnswers(t *testing.T) {
	const secret = "http://internal.test/secret"
	leak := `{"error":{"message":"you sent ` + testKey + `"}}`
	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
	}{
		{"429", status(429, `{"error":{"message":"slow down","type":"rate_limit_error"}}`), "failure upstream_rate_limited: slow down"},
		{"429 without a body", status(429, ""), "failure upstream_rate_limited: Too Many Requests"},
		{"429 with the key", status(429, leak), "failure upstream_rate_limited: you sent …"},
		{"401", status(401, leak), "failure upstream_unauthorized: the provider refused the relay's key"},
		{"403", status(403, leak), "failure upstream_unauthorized: 403: you sent …"},
		{"403 without words", status(403, ""), "failure upstream_unauthorized: 403: Forbidden"},
		{"error event of a permission", answer(stream(`{"error":{"type":"permission_error","message":"no `+testKey+`"}}`), false), "failure upstream_unauthorized: no …"},
		{"404", status(404, `{"error":{"message":"no model m"}}`), "failure upstream_refused: 404: no model m"},
		{"400 with a string", status(400, `{"error":"bad"}`), "failure upstream_refused: 400: bad"},
		{"500", status(500, "<html>"+secret), "failure upstream_error: 500: Internal Server Error"},
		{"500 with the key", status(500, leak), "failure upstream_error: 500: you sent …"},
		{"503 without words", status(503, `{"error":{}}`), "failure upstream_overloaded: 503: Service Unavailable"},
		{"500 with a large body", status(500, strings.Repeat(" ", 1<<20)), "failure upstream_error: 500: Internal Server Error"},
		{"201", status(201, "{}"), "failure upstream_error: 201: Created"},
		{"302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secret, http.StatusFound) }, "failure upstream_error: 302: Found"},
		{"307", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v2/chat/completions", http.StatusTemporaryRedirect)
		}, "failure upstream_error: 307: Temporary Redirect"},
		{"JSON instead of a stream", typed("application/json", `{"choices":[]}`), `failure upstream_malformed: the provider answered with "application/json" where "text/event-stream" was expected: is its protocol chat?`},
		{"page instead of a stream", typed("text/html; charset=utf-8", secret), `failure upstream_malformed: the provider answered with "text/html" where "text/event-stream" was expected: is its protocol chat?`},
		{"no type", typed("", whole), `failure upstream_malformed: the provider answered with "" where "text/event-stream" was expected: is its protocol chat?`},
		{"type in capitals", typed("Text/Event-Stream", stream(stop)), "finish stop"},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "failure upstream_unreachable: the provider cannot be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				set := newSet(t, upstream.Config{Limits: once}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					requests++
					test.handle(w, r)
				})
				got := deltas(t, open(t, set), false)
				if want := []string{test.want}; !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				for _, secret := range []string{testKey, "provider.test", "internal.test"} {
					if strings.Contains(strings.Join(got, " "), secret) {
						t.Errorf("clients are told %s", secret)
					}
				}
				if requests != 1 {
					t.Errorf("%d requests, want 1", requests)
				}
			})
		})
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func typed(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{kind}
		io.WriteString(w, body)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var log bytes.Buffer
	t.Setenv("TEST_UPSTREAM_KEY", testKey)
	set, err := upstream.New([]upstream.Config{{Name: "p", BaseURL: "http://" + address, KeyEnv: "TEST_UPSTREAM_KEY", Limits: once}}, upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	got := deltas(t, open(t, set), false)
	if want := []string{"failure upstream_unreachable: the provider cannot be reached"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if logged := log.String(); !strings.Contains(logged, "upstream=p") || !strings.Contains(logged, "refused") || strings.Contains(logged, testKey) {
		t.Errorf("the log must say what clients are not told, without the key:\n%s", logged)
	}
}
