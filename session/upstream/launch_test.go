package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// A generation that is let go before its id is known is stopped when it is,
// and nothing of it is yielded.
func TestReleasedBeforeID(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name      string
		behavior  upstreamtest.Behavior
		limits    upstream.Limits
		cause     error         // of the end, after one second; nil for none
		took      time.Duration // until the source has ended
		cancelled int
		want      string
	}{
		{"before the head", upstreamtest.Behavior{Headers: 3 * second}, limits, session.ErrReleased, 3 * second, 1, "error " + session.ErrReleased.Error()},
		{"before the first event", upstreamtest.Behavior{Begin: 3 * second}, limits, session.ErrReleased, 3 * second, 1, "error " + session.ErrReleased.Error()},
		{"before both", upstreamtest.Behavior{Headers: 2 * second, Begin: 5 * second}, limits, session.ErrReleased, 5 * second, 1, "error " + session.ErrReleased.Error()},
		{"after both", upstreamtest.Behavior{}, limits, session.ErrReleased, second, 1, "error " + session.ErrReleased.Error()},
		{"too late", upstreamtest.Behavior{Begin: 7 * second}, limits, session.ErrReleased, 6 * second, 0, "error " + session.ErrReleased.Error()},
		{"head too late", upstreamtest.Behavior{Headers: 7 * second}, limits, session.ErrReleased, 6 * second, 0, "error " + session.ErrReleased.Error()},
		{"refused meanwhile", upstreamtest.Behavior{Headers: 3 * second, Status: 503}, limits, session.ErrReleased, 3 * second, 0, "error " + session.ErrReleased.Error()},
		{"shut down", upstreamtest.Behavior{Headers: 3 * second}, limits, session.ErrShutdown, second, 0, "error " + session.ErrShutdown.Error()},
		{"another cause", upstreamtest.Behavior{Begin: 3 * second}, limits, errors.New("lease lost"), second, 0, "error lease lost"},
		{"header limit", upstreamtest.Behavior{Headers: 3 * second}, upstream.Limits{Header: 2 * second}, nil, 3 * second, 1, "failure header_timeout: the provider did not begin to answer for 2s"},
		{"header limit, too late", upstreamtest.Behavior{Headers: 9 * second}, upstream.Limits{Header: 2 * second}, nil, 7 * second, 0, "failure header_timeout: the provider did not begin to answer for 2s"},
		{"first token limit", upstreamtest.Behavior{Begin: 3 * second}, upstream.Limits{FirstToken: 2 * second}, nil, 3 * second, 1, "failure first_token_timeout: the provider's answer had no first token for 2s"},
		{"total limit", upstreamtest.Behavior{Headers: 3 * second}, upstream.Limits{Total: 2 * second}, nil, 3 * second, 1, "failure total_timeout: the provider's answer took longer than 2s"},
	} {
		for _, goesOn := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, ", goes on: ", goesOn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					test.behavior.Between = time.Hour
					log, logger := logged()
					mock := upstreamtest.New(upstreamtest.Options{Default: test.behavior})
					set, err := upstream.New([]upstream.Config{{Name: "p", BaseURL: "http://provider.test", Protocol: upstream.Responses, Background: true, Limits: test.limits}},
						upstream.Options{Logger: logger, Transport: dialing(mock.Pipe(t))})
					if err != nil {
						t.Fatal(err)
					}
					defer set.CloseIdle()
					ctx, end := context.WithCancelCause(t.Context())
					defer end(nil)
					if test.cause != nil {
						time.AfterFunc(time.Second, func() { end(test.cause) })
					}
					began := time.Now()
					var got []string
					answer := open(t, set).Deltas(ctx, session.Position{})
					if goesOn {
						answer = open(t, set).Continue(ctx, upstreamtest.Text(prompt)[:begun])
					}
					for d, err := range answer {
						if d.Kind != session.DeltaCursor || ctx.Err() != nil {
							got = append(got, show(d, err))
						}
					}
					if took := time.Since(began); strings.Join(got, "|") != test.want && !strings.HasPrefix(test.name, "after") || got[len(got)-1] != test.want || took != test.took {
						t.Errorf("got  %q after %v\nwant %q after %v", got, took, test.want, test.took)
					}
					if counts := mock.Background(); counts.Cancelled != test.cancelled {
						t.Errorf("%+v, want %d cancelled", counts, test.cancelled)
					}
					if posts := len(mock.Requests()); posts != 1+test.cancelled {
						t.Errorf("%d requests", posts)
					}
					if told, want := strings.Contains(log.String(), "may not have stopped"), strings.Contains(test.name, "too late"); told != want {
						t.Errorf("the log tells that it may run on: %v, want %v", told, want)
					}
				})
			})
		}
	}
}

// What has not been sent is not, once nobody wants it.
func TestReleasedBeforeConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mock := upstreamtest.New(upstreamtest.Options{})
		transport := dialing(mock.Pipe(t))
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			time.Sleep(3 * time.Second)
			return dial(context.WithoutCancel(ctx), network, address)
		}
		set := newSet(t, upstream.Config{Protocol: upstream.Responses, Background: true}, upstream.Options{Transport: transport}, nil)
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { end(session.ErrReleased) })
		began := time.Now()
		withCursors(open(t, set).Deltas(ctx, session.Position{}))
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want the second until it was let go", took)
		}
		time.Sleep(time.Minute)
		if requests := mock.Requests(); len(requests) > 0 {
			t.Errorf("%d requests", len(requests))
		}
	})
}

// Who stops a session does not wait for the id.
func TestStopBeforeID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Headers: 2 * time.Second, Between: time.Hour}})
		manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: mockSet(t, upstream.Config{Protocol: upstream.Responses, Background: true}, mock)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			manager.Run(ctx)
		}()
		s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
			Source: session.SourceSpec{Type: session.SourceUpstream, Model: "p/m", Messages: json.RawMessage(`[{"role":"user","content":"Hi"}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 || s.Status().State != session.Stopped {
			t.Errorf("stopping it took %v and made it %s, want at once and %s", took, s.Status().State, session.Stopped)
		}
		end()
		<-ran
		if took, counts := time.Since(start), mock.Background(); took != 2*time.Second || counts.Cancelled != counts.Started || counts.Started != 1 {
			t.Errorf("after %v %+v, want one that is cancelled after 2s", took, counts)
		}
	})
}

// Whenever many are let go, none runs on.
func TestReleaseManyOverTCP(t *testing.T) {
	const many = 200
	mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{
		Headers: 5 * time.Millisecond, Begin: 10 * time.Millisecond, Between: time.Hour, Tokens: 2,
	}})
	set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: upstream.Responses, Background: true, BaseURL: mock.Listen(t)}}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.CloseIdle)
	var all sync.WaitGroup
	for i := range many {
		source := open(t, set)
		all.Go(func() {
			ctx, end := context.WithCancelCause(t.Context())
			defer time.AfterFunc(time.Duration(i)*100*time.Microsecond, func() { end(session.ErrReleased) }).Stop()
			for _, err := range source.Deltas(ctx, session.Position{}) {
				if err != nil && !errors.Is(err, session.ErrReleased) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if counts := mock.Background(); counts.Started != counts.Cancelled || counts.Started == 0 {
		t.Errorf("%+v: what was begun must be cancelled", counts)
	}
}
