package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

const outOfReach = "failure upstream_truncated: the provider's stream broke off, and it could not be reached for 5m0s"

// An outage is a time in which there are no connections, or only refusals.
type outage struct {
	from, until time.Time
	refuse      int // the status; 0 for no connection
}

func (o *outage) is() bool { return !time.Now().Before(o.from) && time.Now().Before(o.until) }

// attached returns a source before p, whose provider is away during o.
func (p *backgroundProvider) attached(t *testing.T, l upstream.Limits, o *outage) openedSource {
	transport := piped(t, func(w http.ResponseWriter, r *http.Request) {
		if o.is() && o.refuse != 0 {
			status(o.refuse, "")(w, r)
			return
		}
		p.ServeHTTP(w, r)
	})
	transport.DisableKeepAlives = true // so that each request finds out
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if o.is() && o.refuse == 0 {
			return nil, errors.New("connection refused")
		}
		return dial(ctx, network, address)
	}
	return open(t, newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true, Limits: l}, upstream.Options{Transport: transport}, nil))
}

// With a cursor the provider may be away for minutes, however often a
// generation is asked for again.
func TestOutage(t *testing.T) {
	const cancel = "POST /responses/resp_1/cancel"
	for _, test := range []struct {
		name   string
		limits upstream.Limits
		away   time.Duration
		refuse int
		want   string // the end; empty for that of the whole
		took   time.Duration
	}{
		{"short", upstream.Limits{}, 4 * time.Second, 0, "", 0},
		{"long", upstream.Limits{}, 4 * time.Minute, 0, "", 0},
		{"long, short limits of phases", upstream.Limits{Connect: time.Second, Header: time.Second, FirstToken: time.Second, Idle: time.Second}, 4 * time.Minute, 0, "", 0},
		{"long, never", upstream.Limits{Retries: -1}, 4 * time.Minute, 0, "", 0},
		{"long, refused", upstream.Limits{}, 4 * time.Minute, 503, "", 0},
		{"long, too many", upstream.Limits{Retries: -1}, 4 * time.Minute, 429, "", 0},
		{"too long", upstream.Limits{}, time.Hour, 0, outOfReach, 5 * time.Minute},
		{"too long, never", upstream.Limits{Retries: -1}, time.Hour, 0, outOfReach, 5 * time.Minute},
		{"too long, refused", upstream.Limits{}, time.Hour, 502, outOfReach, 5 * time.Minute},
		{"total", upstream.Limits{Total: 3 * time.Minute}, time.Hour, 0, "failure total_timeout: the provider's answer took longer than 3m0s", 3 * time.Minute},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted %v", test.name, restarted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &backgroundProvider{events: varied}
					o := &outage{refuse: test.refuse}
					source := p.attached(t, test.limits, o)
					uncut := withCursors(source.Deltas(t.Context(), session.Position{}))
					p.asked()
					from, want := session.Position{}, uncut
					began := time.Now()
					if restarted {
						from, want = session.Position{Bytes: 1, Cursor: uncut[2].cursor}, uncut[3:]
						*o = outage{began, began.Add(test.away), test.refuse}
					} else {
						size := len(stream(varied[:11]...))
						p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
							if connection == 0 {
								*o = outage{time.Now(), began.Add(test.away), test.refuse}
								answer(body[:size], true)(w, r)
							}
							answer(body, false)(w, r)
						}
					}
					got := withCursors(source.Deltas(t.Context(), from))
					took := time.Since(began)
					asked := p.asked()
					if last := got[len(got)-1].line; test.want != "" {
						if last != test.want || took != test.took {
							t.Errorf("the end is %q after %v, want %q after %v", last, took, test.want, test.took)
						}
						return
					}
					if !slices.Equal(got, want) {
						t.Errorf("got  %q\nwant %q", got, want)
					}
					if took < test.away || took > test.away+8*time.Second {
						t.Errorf("it took %v, want the %v of the outage and one wait at most", took, test.away)
					}
					if slices.Contains(asked, cancel) || slices.Index(asked[min(1, len(asked)):], "POST /responses") >= 0 {
						t.Errorf("requests %q, want one generation and none cancelled", asked)
					}
				})
			})
		}
	}
}

// What the provider asks for is waited for, within the patience.
func TestOutageRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied}
		var at []time.Duration
		set := newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true}, upstream.Options{},
			inTurn(&at, later(503, "Retry-After", "100"), later(429, "Retry-After", "900"), p.ServeHTTP))
		got := lines(withCursors(open(t, set).Deltas(t.Context(), session.Position{Bytes: 1, Cursor: "resp_1 5"})))
		want := []time.Duration{0, 100 * time.Second, 5 * time.Minute}
		if last := got[len(got)-1]; last != "finish tool_calls" || !slices.Equal(at, want) {
			t.Errorf("got %q after requests at %v, want it whole and %v", last, at, want)
		}
	})
}

// A connection that lasts is no outage, though nothing comes of it.
func TestOutageIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &backgroundProvider{events: varied}
		p.write = func(connection int, w http.ResponseWriter, r *http.Request, body string) {
			w.Header().Set("Content-Type", eventStream)
			if connection < 10 {
				if connection == 0 {
					fmt.Fprint(w, stream(varied[0]))
				}
				w.(http.Flusher).Flush()
				time.Sleep(time.Minute)
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, body)
		}
		got := lines(withCursors(p.open(t, upstream.Limits{}).Deltas(t.Context(), session.Position{})))
		if !slices.Equal(got, variedLines) {
			t.Errorf("got  %q\nwant %q", got, variedLines)
		}
		if asked := p.asked(); len(asked) != 11 || !strings.HasPrefix(asked[10], "GET ") {
			t.Errorf("requests %q, want one and ten that attach", asked)
		}
	})
}
