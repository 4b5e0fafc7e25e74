package upstream_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		{"403", status(403, leak), "failure upstream_unauthorized: the provider refused the relay's key"},
		{"404", status(404, `{"error":{"message":"no model m"}}`), "failure upstream_error: 404: no model m"},
		{"400 with a string", status(400, `{"error":"bad"}`), "failure upstream_error: 400: bad"},
		{"500", status(500, "<html>"+secret), "failure upstream_error: 500: Internal Server Error"},
		{"500 with the key", status(500, leak), "failure upstream_error: 500: you sent …"},
		{"503 without words", status(503, `{"error":{}}`), "failure upstream_error: 503: Service Unavailable"},
		{"500 with a large body", status(500, strings.Repeat(" ", 1<<20)), "failure upstream_error: 500: Internal Server Error"},
		{"201", status(201, "{}"), "failure upstream_error: 201: Created"},
		{"302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secret, http.StatusFound) }, "failure upstream_error: 302: Found"},
		{"307", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v2/chat/completions", http.StatusTemporaryRedirect)
		}, "failure upstream_error: 307: Temporary Redirect"},
		{"JSON instead of a stream", typed("application/json", `{"choices":[]}`), `failure upstream_malformed: the provider answered with "application/json" instead of a stream`},
		{"page instead of a stream", typed("text/html; charset=utf-8", secret), `failure upstream_malformed: the provider answered with "text/html" instead of a stream`},
		{"no type", typed("", whole), `failure upstream_malformed: the provider answered with "" instead of a stream`},
		{"type in capitals", typed("Text/Event-Stream", stream(stop)), "finish stop"},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "failure upstream_unreachable: the provider cannot be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				set := newSet(t, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
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

// A provider that takes the connection but not the request is given up too.
func TestRequestThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newSet(t, upstream.Options{Connect: time.Second, Header: time.Minute}, nil)
		set.Dial(func(context.Context, string, string) (net.Conn, error) {
			client, _ := net.Pipe() // nobody reads the other end
			return client, nil
		})
		began := time.Now()
		got := deltas(t, open(t, set), true)
		if want := "failure upstream_timeout: the provider did not answer in time"; len(got) != 1 || got[0] != want || time.Since(began) != 61*time.Second {
			t.Errorf("deltas = %q after %v, want %q", got, time.Since(began), want)
		}
	})
}

func TestTimes(t *testing.T) {
	opts := upstream.Options{Header: time.Minute, Idle: 30 * time.Second}
	const idle = "failure idle_timeout: the provider sent nothing for 30s"
	for _, test := range []struct {
		name string
		// What the provider sends: a duration is waited for, and a text is
		// sent. Then it is silent.
		send []any
		want []string
		took time.Duration
	}{
		{"no answer", nil, []string{"failure upstream_timeout: the provider did not answer in time"}, time.Minute},
		{"silent from the start", []any{""}, []string{idle}, 30 * time.Second},
		{"falls silent", []any{stream(content(`"a"`)), 29 * time.Second, stream(content(`"b"`)), 29 * time.Second, stream(content(`"c"`))},
			[]string{"text abc", idle}, (29 + 29 + 30) * time.Second},
		{"keep-alives are no events", []any{stream(content(`"a"`)), 20 * time.Second, ": ka\n\n", 20 * time.Second},
			[]string{"text a", idle}, 30 * time.Second},
		{"slow line", []any{"data: ", 20 * time.Second, content(`"a"`), 20 * time.Second},
			[]string{idle}, 30 * time.Second},
		{"silent after the finish reason", []any{stream(content(`"a"`), stop)},
			[]string{"text a", "finish stop"}, 5 * time.Second},
		{"late usage", []any{stream(content(`"a"`), stop), 2 * time.Second, stream(usage), 2 * time.Second, stream(farewell)},
			[]string{"text a", "usage 7 2 reported", "finish stop"}, 4 * time.Second},
		{"chatter after the finish reason", []any{stream(content(`"a"`), stop), 2 * time.Second, stream("{}"), 2 * time.Second, stream("{}"), 2 * time.Second, stream("{}")},
			[]string{"text a", "finish stop"}, 5 * time.Second},
		{"usage too late", []any{stream(content(`"a"`), stop), 6 * time.Second, stream(usage)},
			[]string{"text a", "finish stop"}, 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan struct{})
				set := newSet(t, opts, func(w http.ResponseWriter, r *http.Request) {
					defer close(gone)
					w.Header().Set("Content-Type", "text/event-stream")
					for _, step := range test.send {
						switch step := step.(type) {
						case time.Duration:
							time.Sleep(step)
						case string:
							io.WriteString(w, step)
							w.(http.Flusher).Flush()
						}
					}
					<-r.Context().Done()
				})
				source := open(t, set)
				start := time.Now()
				got := deltas(t, source, true)
				if !slices.Equal(got, test.want) {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				<-gone // the provider sees that nobody listens any more
			})
		})
	}
}

// Silence is the provider's only: whoever takes the deltas may wait as long as
// it likes, as a paused session does whose buffer is full.
func TestSlowTaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		source := open(t, newSet(t, upstream.Options{Idle: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for event := range strings.SplitAfterSeq(whole, "\n\n") {
				io.WriteString(w, event)
				w.(http.Flusher).Flush()
			}
		}))
		for d, err := range source.Deltas(t.Context(), session.Position{}) {
			got = append(got, show(d, err))
			time.Sleep(time.Hour)
		}
		if want := []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// Whoever takes no more ends the generation, however long it would go on.
func TestTakerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		source := open(t, newSet(t, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				io.WriteString(w, stream(content(`"a"`)))
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}))
		start := time.Now()
		for d, err := range source.Deltas(t.Context(), session.Position{}) {
			if got := show(d, err); got != "text a" {
				t.Errorf("got %q", got)
			}
			break
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it ended %v after it was left, want at once", took)
		}
		<-gone
	})
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
	set, err := upstream.New([]upstream.Config{{Name: "p", BaseURL: "http://" + address, KeyEnv: "TEST_UPSTREAM_KEY"}}, upstream.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
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
