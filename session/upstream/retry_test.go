package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// inTurn answers the first request by the first step, and so on; the last one
// holds for all further ones. It notes when each came.
func inTurn(at *[]time.Duration, steps ...http.HandlerFunc) http.HandlerFunc {
	began := time.Now()
	return func(w http.ResponseWriter, r *http.Request) {
		n := len(*at)
		*at = append(*at, time.Since(began))
		steps[min(n, len(steps)-1)](w, r)
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// later is a refusal that names when to come again.
func later(code int, header, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(header, value)
		status(code, `{"error":{"message":"later"}}`)(w, r)
	}
}

func TestRetries(t *testing.T) {
	const (
		limited     = "failure upstream_rate_limited: later"
		overloaded  = "failure upstream_overloaded: 529: Overloaded"
		unavailable = "failure upstream_overloaded: 503: Service Unavailable"
		unreachable = "failure upstream_unreachable: the provider cannot be reached"
	)
	good := []string{"text " + wholeText, "usage 7 2 reported", "finish stop"}
	event := func(kind string) http.HandlerFunc {
		return answer(stream(role, usage, `{"error":{"message":"later","type":"`+kind+`"}}`), false)
	}
	busy := status(503, "")
	ok := answer(whole, false)
	type span struct{ least, most time.Duration } // between two requests
	first, second := span{250 * time.Millisecond, 500 * time.Millisecond}, span{500 * time.Millisecond, time.Second}
	exactly := func(d time.Duration) span { return span{d, d} }
	for _, test := range []struct {
		name  string
		steps []http.HandlerFunc
		want  []string
		waits []span
		never string // the end of those that are tried again, if they are not
	}{
		{"none needed", []http.HandlerFunc{ok}, good, nil, ""},
		{"busy", []http.HandlerFunc{busy, ok}, good, []span{first}, unavailable},
		{"busy twice", []http.HandlerFunc{busy, busy, ok}, good, []span{first, second}, unavailable},
		{"always busy", []http.HandlerFunc{busy}, []string{unavailable}, []span{first, second}, unavailable},
		{"overloaded", []http.HandlerFunc{status(529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`), ok}, good, []span{first}, overloaded},
		{"always overloaded", []http.HandlerFunc{status(529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)}, []string{overloaded}, []span{first, second}, overloaded},
		{"500, then 504", []http.HandlerFunc{status(500, ""), status(504, ""), ok}, good, []span{first, second}, "failure upstream_error: 500: Internal Server Error"},
		{"408", []http.HandlerFunc{status(408, ""), ok}, good, []span{first}, "failure upstream_error: 408: Request Timeout"},
		{"409", []http.HandlerFunc{status(409, ""), ok}, good, []span{first}, "failure upstream_error: 409: Conflict"},
		{"429", []http.HandlerFunc{status(429, ""), ok}, good, []span{first}, "failure upstream_rate_limited: Too Many Requests"},
		{"429, always", []http.HandlerFunc{later(429, "Retry-After", "0")}, []string{limited}, []span{first, second}, limited},

		{"seconds", []http.HandlerFunc{later(429, "Retry-After", "7"), ok}, good, []span{exactly(7 * time.Second)}, limited},
		{"seconds of a 503", []http.HandlerFunc{later(503, "Retry-After", "7"), ok}, good, []span{exactly(7 * time.Second)}, "failure upstream_overloaded: 503: later"},
		{"parts of seconds", []http.HandlerFunc{later(429, "Retry-After", "1.5"), ok}, good, []span{exactly(1500 * time.Millisecond)}, limited},
		{"milliseconds", []http.HandlerFunc{later(429, "Retry-After-Ms", "1250"), ok}, good, []span{exactly(1250 * time.Millisecond)}, limited},
		{"date", []http.HandlerFunc{later(429, "Retry-After", "Sat, 01 Jan 2000 00:00:09 GMT"), ok}, good, []span{exactly(9 * time.Second)}, limited},
		{"date in the past", []http.HandlerFunc{later(429, "Retry-After", "Fri, 31 Dec 1999 00:00:00 GMT"), ok}, good, []span{first}, limited},
		{"sooner than the back-off", []http.HandlerFunc{later(429, "Retry-After", "0.1"), ok}, good, []span{first}, limited},
		{"no number", []http.HandlerFunc{later(429, "Retry-After", "soon"), ok}, good, []span{first}, limited},
		{"not a number", []http.HandlerFunc{later(429, "Retry-After", "NaN"), ok}, good, []span{first}, limited},
		{"longest", []http.HandlerFunc{later(429, "Retry-After", "30"), ok}, good, []span{exactly(30 * time.Second)}, limited},
		{"too long", []http.HandlerFunc{later(429, "Retry-After", "31"), ok}, []string{limited}, nil, ""},
		{"far too long", []http.HandlerFunc{later(429, "Retry-After", "1e300"), ok}, []string{limited}, nil, ""},
		{"date too late", []http.HandlerFunc{later(429, "Retry-After", "Tue, 01 Jan 2030 00:00:00 GMT"), ok}, []string{limited}, nil, ""},

		{"hangs up", []http.HandlerFunc{hangUp, ok}, good, []span{first}, unreachable},
		{"always hangs up", []http.HandlerFunc{hangUp}, []string{unreachable}, []span{first, second}, unreachable},
		{"cut before a token", []http.HandlerFunc{answer(stream(role), true), ok}, good, []span{first}, truncated},
		{"ends before a token", []http.HandlerFunc{answer(stream(role), false), ok}, good, []span{first}, truncated},
		{"always ends before a token", []http.HandlerFunc{answer("", false)}, []string{truncated}, []span{first, second}, truncated},
		{"half a character, then cut", []http.HandlerFunc{answer(stream(content(`"\ud83d"`), delta(`"reasoning":"\ud83d"`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"\ud83d"}}]`)), true), ok}, good, []span{first}, truncated},
		{"error event of the server", []http.HandlerFunc{event("server_error"), ok}, append([]string{"usage 7 2 reported"}, good...), []span{first}, "failure upstream_error: later"},
		{"error event of a limit", []http.HandlerFunc{event("rate_limit_error"), ok}, append([]string{"usage 7 2 reported"}, good...), []span{first}, limited},
		{"error event of load", []http.HandlerFunc{event("overloaded_error"), ok}, append([]string{"usage 7 2 reported"}, good...), []span{first}, "failure upstream_overloaded: later"},
		{"error event with a status", []http.HandlerFunc{answer(stream(`{"error":{"message":"later","code":502}}`), false), ok}, good, []span{first}, "failure upstream_error: later"},
		{"always error events", []http.HandlerFunc{answer(stream(`{"error":{"message":"later","code":429}}`), false)}, []string{limited}, []span{first, second}, limited},
		{"error event that stays", []http.HandlerFunc{answer(stream(`{"error":{"message":"bad","type":"invalid_request_error"}}`), false), ok}, []string{"failure upstream_refused: bad"}, nil, ""},

		{"400", []http.HandlerFunc{status(400, ""), ok}, []string{"failure upstream_refused: 400: Bad Request"}, nil, ""},
		{"401", []http.HandlerFunc{status(401, ""), ok}, []string{"failure upstream_unauthorized: the provider refused the relay's key"}, nil, ""},
		{"403", []http.HandlerFunc{status(403, ""), ok}, []string{"failure upstream_unauthorized: 403: Forbidden"}, nil, ""},
		{"404", []http.HandlerFunc{status(404, ""), ok}, []string{"failure upstream_refused: 404: Not Found"}, nil, ""},
		{"422", []http.HandlerFunc{status(422, ""), ok}, []string{"failure upstream_refused: 422: Unprocessable Entity"}, nil, ""},
		{"no stream", []http.HandlerFunc{answerAs("text/html", whole, false), ok}, []string{`failure upstream_malformed: the provider answered with "text/html" where "text/event-stream" was expected: is its protocol chat?`}, nil, ""},
		{"no JSON", []http.HandlerFunc{answer(stream("{"), false), ok}, []string{notJSON}, nil, ""},

		{"cut after text", []http.HandlerFunc{answer(stream(content(`"a"`)), true), ok}, []string{"text a", truncated}, nil, ""},
		{"cut after reasoning", []http.HandlerFunc{answer(stream(delta(`"reasoning":"a"`)), true), ok}, []string{"reasoning a", truncated}, nil, ""},
		{"cut after a tool call began", []http.HandlerFunc{answer(stream(delta(`"tool_calls":[{"index":0,"id":"x"}]`)), true), ok}, []string{"tool 0 x - ", truncated}, nil, ""},
		{"error event after text", []http.HandlerFunc{answer(stream(content(`"a"`), `{"error":{"message":"later","type":"rate_limit_error"}}`), false), ok}, []string{"text a", limited}, nil, ""},
	} {
		for _, never := range []bool{false, true} {
			name := test.name
			if never {
				name += ", never"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var at []time.Duration
					l := limits
					if never {
						l.Retries = -1
					}
					source := open(t, newSet(t, upstream.Config{Limits: l}, upstream.Options{}, inTurn(&at, test.steps...)))
					got := deltas(t, source, true)
					want, waits := test.want, test.waits
					if never && len(waits) > 0 {
						got, want, waits = got[len(got)-1:], []string{test.never}, nil
					}
					if !slices.Equal(got, want) {
						t.Errorf("got  %q\nwant %q", got, want)
					}
					if len(at) != len(waits)+1 {
						t.Fatalf("requests at %v, want %d", at, len(waits)+1)
					}
					for i, want := range waits {
						if wait := at[i+1] - at[i]; wait < want.least || wait > want.most {
							t.Errorf("wait %d was %v, want %v to %v", i+1, wait, want.least, want.most)
						}
					}
				})
			})
		}
	}
}

// Who cannot be connected to is tried again too, and the waits grow to a bound.
func TestRetriesOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits
		l.Retries = 9
		var at []time.Time
		set := newSet(t, upstream.Config{Limits: l}, upstream.Options{Transport: dialing(func(context.Context, string, string) (net.Conn, error) {
			at = append(at, time.Now())
			return nil, errors.New("connection refused")
		})}, nil)
		got := deltas(t, open(t, set), true)
		if want := []string{"failure upstream_unreachable: the provider cannot be reached"}; !slices.Equal(got, want) || len(at) != 10 {
			t.Fatalf("got  %q after %d tries\nwant %q after 10", got, len(at), want)
		}
		for i := range 9 {
			most := min(500*time.Millisecond<<i, 8*time.Second)
			if wait := at[i+1].Sub(at[i]); wait < most/2 || wait > most {
				t.Errorf("wait %d was %v, want %v to %v", i+1, wait, most/2, most)
			}
		}
	})
}

// A limit of the time to connect ends one try: nothing has been sent.
func TestRetriesOfConnectTimeouts(t *testing.T) {
	good := []string{"text " + wholeText, "usage 7 2 reported", "finish stop"}
	tooLong := "failure total_timeout: the provider's answer took longer than 10s"
	for _, test := range []struct {
		name   string
		limits upstream.Limits
		late   int // dials that take too long
		want   []string
		tries  int
		least  time.Duration // that it takes; a second more for the waits at most
	}{
		{"once", upstream.Limits{}, 1, good, 2, 7 * time.Second},
		{"twice", upstream.Limits{}, 2, good, 3, 14 * time.Second},
		{"always", upstream.Limits{}, 9, []string{noConnection}, 3, 21 * time.Second},
		{"never tried again", once, 1, []string{noConnection}, 1, 7 * time.Second},
		{"total", upstream.Limits{Total: 10 * time.Second}, 9, []string{tooLong}, 2, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int64
				transport := piped(t, answer(whole, false))
				dial := transport.DialContext
				transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					if int(dials.Add(1)) <= test.late {
						return noDial(ctx, network, address)
					}
					return dial(ctx, network, address)
				}
				set := newSet(t, upstream.Config{Limits: test.limits}, upstream.Options{Limits: limits, Transport: transport}, nil)
				defer time.Sleep(noDialTime)
				began := time.Now()
				got := deltas(t, open(t, set), true)
				took := time.Since(began)
				tries := int(dials.Load())
				if !slices.Equal(got, test.want) || tries != test.tries {
					t.Errorf("got  %q after %d tries\nwant %q after %d", got, tries, test.want, test.tries)
				}
				if took < test.least || took > test.least+1500*time.Millisecond {
					t.Errorf("it took %v, want %v and the waits", took, test.least)
				}
			})
		})
	}
}

// What would be refused again is not asked for again, and nor is what we could
// not even ask for.
func TestRetriesNothingOfOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		set := newSet(t, upstream.Config{Continuation: session.ByPrefill}, upstream.Options{Logger: logger}, answer(whole, false))
		began := time.Now()
		got := collectDeltas(open(t, set, `{"add_generation_prompt":true}`).Continue(t.Context(), "a"), true)
		if len(got) != 1 || time.Since(began) != 0 || strings.Contains(log.String(), "asked again") {
			t.Errorf("got %q after %v, want a failure at once; log:\n%s", got, time.Since(began), log)
		}
	})
}

// Each answer that a source is asked for has all its tries.
func TestRetriesAreOfOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		source := open(t, newSet(t, upstream.Config{}, upstream.Options{}, inTurn(&at, status(503, ""))))
		for range 2 {
			deltas(t, source, true)
		}
		if len(at) != 2*(1+upstream.DefaultRetries) {
			t.Errorf("%d requests, want %d", len(at), 2*(1+upstream.DefaultRetries))
		}
	})
}

// The log says that a request is made again, and why, without the provider's words.
func TestRetriesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := logged()
		var at []time.Duration
		source := open(t, newSet(t, upstream.Config{}, upstream.Options{Logger: logger}, inTurn(&at, status(503, `{"error":"no `+testKey+`"}`), answer(whole, false))))
		deltas(t, source, true)
		if s := log.String(); !strings.Contains(s, "upstream is asked again") || !strings.Contains(s, "status=503") || strings.Contains(s, "no …") {
			t.Errorf("log: %s", s)
		}
	})
}
