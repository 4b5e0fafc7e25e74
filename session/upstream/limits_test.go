package upstream_test

import (
	"context"
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

// limits are all different, so that a wait tells which one ended it.
var limits = upstream.Limits{
	Connect:    7 * time.Second,
	Header:     time.Minute,
	FirstToken: 45 * time.Second,
	Idle:       30 * time.Second,
	Total:      5 * time.Minute,
	Bytes:      1 << 20,
}

const (
	noConnection = "failure connect_timeout: there was no connection to the provider for 7s"
	noHeader     = "failure header_timeout: the provider did not begin to answer for 1m0s"
	noToken      = "failure first_token_timeout: the provider's answer had no first token for 45s"
	idle         = "failure idle_timeout: the provider sent no token for 30s"
	total        = "failure total_timeout: the provider's answer took longer than 5m0s"
)

const eventStream = "text/event-stream"

func TestTimes(t *testing.T) {
	// The call of a tool, the reasoning and half a character are tokens.
	call := stream(delta(`"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]`))
	reasoning := stream(delta(`"reasoning":"r"`))
	half := stream(content(`"\ud83d"`))
	chatter := []any{": ka\n\n", stream(role), stream(content(`""`)), stream(content("null")), stream(delta("")), stream("{}"), stream(usage), "event: ping\n" + stream("{}")}
	after := func(d time.Duration, send ...any) (steps []any) {
		for _, s := range send {
			steps = append(steps, d, s)
		}
		return steps
	}
	var many []any
	for range 20 {
		many = append(many, 29*time.Second, stream(content(`"a"`)))
	}
	for _, test := range []struct {
		name string
		send []any
		want []string
		took time.Duration
	}{
		{"silent from the start", []any{""}, []string{noToken}, 45 * time.Second},
		{"chatter is no first token", append([]any{""}, after(5*time.Second, chatter...)...),
			[]string{"usage 7 2 reported", noToken}, 45 * time.Second},
		{"falls silent", []any{stream(content(`"a"`)), 29 * time.Second, stream(content(`"b"`)), 29 * time.Second, stream(content(`"c"`))},
			[]string{"text abc", idle}, (29 + 29 + 30) * time.Second},
		{"chatter is no token", append([]any{stream(content(`"a"`))}, after(4*time.Second, chatter...)...),
			[]string{"text a", "usage 7 2 reported", idle}, 30 * time.Second},
		{"reasoning is one", []any{"", 44 * time.Second, reasoning, 29 * time.Second, reasoning},
			[]string{"reasoning r", "reasoning r", idle}, (44 + 29 + 30) * time.Second},
		{"a tool call is one", []any{"", 44 * time.Second, call},
			[]string{"tool 0 x f ", idle}, (44 + 30) * time.Second},
		{"half a character is one", []any{"", 44 * time.Second, half},
			[]string{idle}, (44 + 30) * time.Second},
		{"slow line", []any{"data: ", 44 * time.Second, content(`"a"`), 20 * time.Second},
			[]string{noToken}, 45 * time.Second},
		{"without end", many, []string{"text aaaaaaaaaa", total}, 5 * time.Minute},

		{"silent after the finish reason", []any{stream(content(`"a"`), stop)},
			[]string{"text a", "finish stop"}, 5 * time.Second},
		{"late usage", []any{stream(content(`"a"`), stop), 2 * time.Second, stream(usage), 2 * time.Second, stream(farewell)},
			[]string{"text a", "usage 7 2 reported", "finish stop"}, 4 * time.Second},
		{"chatter after the finish reason", []any{stream(content(`"a"`), stop), 2 * time.Second, stream("{}"), 2 * time.Second, stream(stop), 2 * time.Second, stream("{}")},
			[]string{"text a", "finish stop"}, 5 * time.Second},
		{"usage too late", []any{stream(content(`"a"`), stop), 6 * time.Second, stream(usage)},
			[]string{"text a", "finish stop"}, 5 * time.Second},
		{"finish reason just before the total", append(slices.Clone(many[:20]), 8*time.Second, stream(stop)),
			[]string{"text aaaaaaaaaa", "finish stop"}, 303 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan time.Time, 1)
				handle := play(eventStream, test.send...)
				set := newSet(t, upstream.Config{Limits: limits}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
					defer func() { gone <- time.Now() }()
					handle(w, r)
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
				if took := (<-gone).Sub(start); took != test.took {
					t.Errorf("the provider saw that nobody listens after %v, want %v", took, test.took)
				}
			})
		})
	}
}

// Before the answer begins there are two limits, and the total over all tries.
func TestTimesBeforeAnswer(t *testing.T) {
	deaf := func(context.Context, string, string) (net.Conn, error) {
		client, _ := net.Pipe() // nobody reads the other end
		return client, nil
	}
	late := func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(6 * time.Second)
		return deaf(nil, "", "")
	}
	for _, test := range []struct {
		name string
		dial dialFunc
		want string
		took time.Duration
	}{
		{"no connection", noDial, noConnection, 7 * time.Second},
		{"request is not read", deaf, noHeader, time.Minute},
		{"late connection", late, noHeader, 66 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Limits: once}, upstream.Options{Limits: limits, Transport: dialing(test.dial)}, nil)
				defer time.Sleep(noDialTime)
				began := time.Now()
				got := deltas(t, open(t, set), true)
				if want := []string{test.want}; !slices.Equal(got, want) || time.Since(began) != test.took {
					t.Errorf("got  %q after %v\nwant %q after %v", got, time.Since(began), want, test.took)
				}
			})
		})
	}
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			set := newSet(t, upstream.Config{Limits: limits}, upstream.Options{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			began := time.Now()
			got := deltas(t, open(t, set), true)
			if want := []string{noHeader}; !slices.Equal(got, want) || time.Since(began) != time.Minute {
				t.Errorf("got  %q after %v\nwant %q", got, time.Since(began), want)
			}
		})
	})
	t.Run("total over all tries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := limits
			l.Retries = 1000
			set := newSet(t, upstream.Config{Limits: l}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(10 * time.Second)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			began := time.Now()
			got := deltas(t, open(t, set), true)
			if want := []string{total}; !slices.Equal(got, want) || time.Since(began) != 5*time.Minute {
				t.Errorf("got  %q after %v\nwant %q", got, time.Since(began), want)
			}
		})
	})
}

// The limit of bytes counts what comes, of all tries.
func TestBytes(t *testing.T) {
	l := limits
	l.Bytes = 4 << 10
	large := ":" + strings.Repeat("x", 3<<10) + "\n"
	for _, test := range []struct {
		name string
		body string
		want []string // of the text, whatever came with the last read that was allowed
	}{
		{"below", large + whole, []string{"text " + wholeText, "usage 7 2 reported", "finish stop"}},
		{"text", strings.Repeat(stream(content(`"`+strings.Repeat("x", 900)+`"`)), 9), []string{"text " + strings.Repeat("x", 3600), "failure too_many_bytes: the provider's answer has more than 4096 bytes"}},
		{"comments", large + large + whole, []string{"failure too_many_bytes: the provider's answer has more than 4096 bytes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Limits: l}, upstream.Options{}, answer(test.body, false))
				got := deltas(t, open(t, set), true)
				text, others := textOf(got)
				wantText, wantOthers := textOf(test.want)
				if !slices.Equal(others, wantOthers) || !strings.HasPrefix(wantText, text) || len(text) < len(wantText)-900 {
					t.Errorf("got  %q\nwant %q, less a piece of the text at most", got, test.want)
				}
			})
		})
	}
	t.Run("all tries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			requests := 0
			set := newSet(t, upstream.Config{Limits: l}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
				requests++
				answer(large, true)(w, r)
			})
			got := deltas(t, open(t, set), true)
			if want := []string{"failure too_many_bytes: the provider's answer has more than 4096 bytes"}; !slices.Equal(got, want) || requests != 2 {
				t.Errorf("got  %q with %d requests\nwant %q with 2", got, requests, want)
			}
		})
	})
}

// Silence is the provider's only: whoever takes the deltas may wait as long as
// it likes, as a paused session does whose buffer is full.
func TestSlowTaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		source := open(t, newSet(t, upstream.Config{Limits: limits}, upstream.Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for event := range strings.SplitAfterSeq(whole, "\n\n") {
				fmt.Fprint(w, event)
				w.(http.Flusher).Flush()
				time.Sleep(4 * time.Second)
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

// While a session is paused no clock goes on; then each goes on from where it
// stood.
func TestSuspend(t *testing.T) {
	busy := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(50 * time.Second)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	var many []any
	for range 20 {
		many = append(many, 29*time.Second, stream(content(`"a"`)))
	}
	const hour = time.Hour
	for _, test := range []struct {
		name   string
		dial   dialFunc
		handle http.HandlerFunc
		want   string // of all, the last
		took   time.Duration
	}{
		{"connect", noDial, nil, noConnection, hour + 7*time.Second},
		{"header", nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, noHeader, hour + time.Minute},
		{"first token", nil, play(eventStream, ""), noToken, hour + 45*time.Second},
		{"idle", nil, play(eventStream, stream(content(`"a"`))), idle, hour + 30*time.Second},
		{"idle, token meanwhile", nil, play(eventStream, stream(content(`"a"`)), 10*time.Second, stream(content(`"b"`))), idle, hour + 35*time.Second},
		{"total", nil, play(eventStream, many...), total, hour + 5*time.Minute},
		{"total over tries", nil, busy, total, hour + 5*time.Minute},
		{"farewell", nil, play(eventStream, "", 4*time.Second, stream(stop)), "finish stop", hour + 9*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limits
				if test.name == "total" {
					l.Idle = 2 * hour // nothing comes for as long as it is paused
				}
				l.Retries = 1000
				var o upstream.Options
				if test.dial != nil {
					l.Retries = -1
					o.Transport = dialing(test.dial)
					defer time.Sleep(noDialTime)
					defer time.Sleep(noDialTime)
				}
				set := newSet(t, upstream.Config{Limits: l}, o, test.handle)
				source := open(t, set)
				began := time.Now()
				// Twice is once.
				for _, still := range []bool{true, true} {
					time.AfterFunc(5*time.Second, func() { source.SetSuspended(still) })
				}
				for _, still := range []bool{false, false} {
					time.AfterFunc(5*time.Second+hour, func() { source.SetSuspended(still) })
				}
				got := deltas(t, source, true)
				took := time.Since(began)
				if last := got[len(got)-1]; last != test.want || took != test.took {
					t.Errorf("got  %q after %v\nwant %q after %v", last, took, test.want, test.took)
				}
			})
		})
	}
	// It may be paused before the generation begins.
	t.Run("before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			source := open(t, newSet(t, upstream.Config{Limits: limits}, upstream.Options{}, play(eventStream, "")))
			source.SetSuspended(true)
			began := time.Now()
			time.AfterFunc(hour, func() { source.SetSuspended(false) })
			got := deltas(t, source, true)
			if want := []string{noToken}; !slices.Equal(got, want) || time.Since(began) != hour+45*time.Second {
				t.Errorf("got  %q after %v\nwant %q", got, time.Since(began), want)
			}
		})
	})
}
