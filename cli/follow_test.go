package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
)

// A player types a session out with keys that the test presses.
type player struct {
	out, err screen
	keys     chan error
	ended    chan error
}

func play(t *testing.T, ctx context.Context, network *pipes, s *session.Session, after session.FrameID) *player {
	p := &player{keys: make(chan error), ended: make(chan error, 1)}
	c := network.client(t)
	typist := newTypist(streams{out: &p.out, err: &p.err}, &keyboard{keys: p.keys}, after)
	go func() { p.ended <- typist.run(ctx, c, s.Info().ID.String()) }()
	return p
}

func TestPause(t *testing.T) {
	const text = "abcdefghijklmnopqrstuvwxyz"
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		s := newSession(t, newRelay(t, network), textSpec(text, 1)) // a letter a second
		p := play(t, t.Context(), network, s, 0)
		time.Sleep(5*time.Second + time.Second/2)
		p.keys <- errPause
		synctest.Wait()
		if got, want := p.out.String(), text[:6]; got != want {
			t.Errorf("before the pause %q, want %q", got, want)
		}
		if got, want := p.err.String(), "paused at 7: space continues"; !strings.Contains(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		if n := s.Status().Readers; n != 0 {
			t.Errorf("%d readers while paused, want 0: a pause is leaving", n)
		}
		time.Sleep(10 * time.Second)
		if got, want := p.out.String(), text[:6]; got != want {
			t.Errorf("in the pause %q, want %q", got, want)
		}
		p.keys <- errPause
		synctest.Wait()
		if got, want := p.out.String(), text[:16]; got != want {
			t.Errorf("after the pause %q, want %q", got, want)
		}
		if err := <-p.ended; err != nil || p.out.String() != text {
			t.Errorf("error %v and %q, want %q", err, &p.out, text)
		}
		if got := p.err.String(); strings.Contains(got, "lost") {
			t.Errorf("told %q, but nothing was lost", got)
		}
	})
}

// The session ends while it is not looked at.
func TestPauseOverEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		s := newSession(t, newRelay(t, network), textSpec("abc", 1))
		p := play(t, t.Context(), network, s, 0)
		synctest.Wait()
		p.keys <- errPause
		time.Sleep(time.Minute)
		p.keys <- errPause
		if err := <-p.ended; err != nil || p.out.String() != "abc" {
			t.Errorf("error %v and %q, want %q", err, &p.out, "abc")
		}
	})
}

func TestLeave(t *testing.T) {
	for _, test := range []struct {
		name  string
		leave func(p *player, cancel func())
	}{
		{"q", func(p *player, cancel func()) { p.keys <- errQuit }},
		{"q in a pause", func(p *player, cancel func()) { p.keys <- errPause; p.keys <- errQuit }},
		{"signal", func(p *player, cancel func()) { cancel() }},
		{"signal in a pause", func(p *player, cancel func()) { p.keys <- errPause; synctest.Wait(); cancel() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				s := newSession(t, newRelay(t, network), textSpec("abcdef", 1))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := play(t, ctx, network, s, 0)
				time.Sleep(2*time.Second + time.Second/2)
				test.leave(p, cancel)
				err := <-p.ended
				if code, ok := errors.AsType[exitError](err); !ok || code != 130 {
					t.Errorf("error %v, want exit status 130", err)
				}
				if got, want := p.out.String(), "abc"; got != want {
					t.Errorf("typed %q, want %q", got, want)
				}
				if got, want := p.err.String(), fmt.Sprintf("\n  %s follow %s --after 4 --server http://localhost\n", os.Args[0], s.Info().ID); !strings.Contains(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
				// What was said works: the rest, and nothing else.
				rest := play(t, t.Context(), network, s, 4)
				if err := <-rest.ended; err != nil || rest.out.String() != "def" {
					t.Errorf("the rest is %q, error %v, want %q", &rest.out, err, "def")
				}
			})
		})
	}
}

// The outcome of a session is that of the command.
func TestOutcome(t *testing.T) {
	end := func(kind, data string) scripted {
		return events(first+second+"id: 3\nevent: "+kind+"\ndata: "+data+"\n\n", false)
	}
	for _, test := range []struct {
		name   string
		answer scripted
		want   string
	}{
		{"done", end("done", `{"reason":"stop"}`), "<nil>"},
		{"finished", end("done", `{"reason":"finish"}`), "<nil>"},
		{"stopped", end("stopped", `{"reason":"stop_requested"}`), "the session ended: stopped (stop_requested)"},
		{"stopped unread", end("stopped", `{"reason":"no_reader"}`), "the session was stopped: nobody read it (no_reader)"},
		{"stopped at a limit", end("stopped", `{"reason":"unread_limit"}`), "the session was stopped: nobody read it, and the relay lets no more go on so, or no longer (unread_limit)"},
		{"stopped idle", end("stopped", `{"reason":"idle"}`), "the session was stopped: nobody read it, and nothing came (idle)"},
		{"interrupted", end("interrupted", `{"reason":"restart"}`), "the session ended: interrupted (restart)"},
		{"failed", end("failed", `{"reason":"error","error":{"code":"c","message":"m"}}`), "the session failed: m (c)"},
		{"no end that could be read", end("done", `nonsense`), "<nil>"},
		{"nothing left", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, "<nil>"},
		{"unknown", refusal(404, ""), "the relay says: d (c404)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := script(t, test.answer)
				var out, notes screen
				err := newTypist(streams{out: &out, err: &notes}, &keyboard{}, 0).run(t.Context(), c, "x")
				if fmt.Sprint(err) != test.want {
					t.Errorf("error %v, want %s", err, test.want)
				}
				if got := out.String(); got != "a" && got != "" || notes.String() != "" {
					t.Errorf("wrote %q and %q, want the text only", got, &notes)
				}
			})
		})
	}
}

// An answer that did not end with its text says how it did, and all is well.
func TestFinish(t *testing.T) {
	const call = "id: 3\nevent: tool_call\ndata: {\"index\":0,\"name\":\"get_weather\",\"arguments\":\"\"}\n\n" +
		"id: 4\nevent: tool_call\ndata: {\"index\":0,\"name\":\"get_weather\",\"arguments\":\"{}\"}\n\n" +
		"id: 5\nevent: tool_call\ndata: {\"index\":1,\"name\":\"get_time\",\"arguments\":\"{}\"}\n\n"
	const hm = "id: 3\nevent: reasoning\ndata: {\"text\":\"hm\"}\n\nid: 4\nevent: reasoning\ndata: {\"text\":\"so\"}\n\nid: 5\ndata: {\"text\":\"b\"}\n\n"
	done := func(reason string) string { return "id: 6\nevent: done\ndata: {\"reason\":\"" + reason + "\"}\n\n" }
	for _, test := range []struct {
		name, between, reason string
		terminal              bool
		want                  string
	}{
		{"length", hm, "length", false, "[cut short: length]\n"},
		{"filter", hm, "content_filter", false, "[cut short: content_filter]\n"},
		{"word of the provider", hm, "weary", false, "[ended: weary]\n"},
		{"calls", call, "tool_calls", false, "[calls get_weather]\n[calls get_time]\n"},
		{"calls that were not seen", hm, "tool_calls", false, "[ended: tool_calls]\n"},
		{"calls and a limit", call, "length", false, "[calls get_weather]\n[calls get_time]\n[cut short: length]\n"},
		{"reasoning for a pipe", hm, "stop", false, ""},
		{"reasoning", hm, "stop", true, "[thinking…]\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := script(t, events(first+second+test.between+done(test.reason), false))
				var notes screen
				err := newTypist(streams{out: io.Discard, err: &notes}, &keyboard{terminal: test.terminal}, 0).run(t.Context(), c, "x")
				if got := notes.String(); err != nil || got != test.want {
					t.Errorf("told %q, error %v, want %q", got, err, test.want)
				}
			})
		})
	}
}

// What the relay would refuse for now is not advised for now.
func TestAdviceOnRemovedUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := script(t,
			events(first+second+"id: 3\nevent: interrupted\ndata: {\"reason\":\"restart\",\"error\":{\"code\":\"upstream_removed\",\"message\":\"m\"}}\n\n", false),
			func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"source":{"type":"upstream"}}`) })
		err := newTypist(streams{out: io.Discard, err: io.Discard}, &keyboard{}, 0).run(t.Context(), c, "x")
		if got, want := fmt.Sprint(err), "\nGo on from what it wrote, once its upstream is back:\n  "+os.Args[0]+" continue x --server http://localhost"; !strings.HasSuffix(got, want) {
			t.Errorf("error %s, want %s at its end", got, want)
		}
	})
}

// On a terminal what follows begins on a line of its own.
func TestTerminalLine(t *testing.T) {
	for _, test := range []struct {
		answer scripted
		want   string
	}{
		{events(first+second+terminal, false), "a\n"},
		{events(first+"id: 2\ndata: {\"text\":\"a\\n\"}\n\n", false), "a\n"},
		{events(first+"id: 2\nevent: done\ndata: {}\n\n", false), ""},
		{events(first+second+"id: 3\nevent: failed\ndata: {}\n\n", false), "a\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := script(t, test.answer, refusal(404, ""))
			var out screen
			newTypist(streams{out: &out, err: io.Discard}, &keyboard{terminal: true}, 0).run(t.Context(), c, "x")
			if got := out.String(); got != test.want {
				t.Errorf("typed %q, want %q", got, test.want)
			}
		})
	}
}

// What other readers' pauses and other kinds of event look like.
func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := script(t, events(first+second+
			"id: 3\nevent: reasoning\ndata: {\"text\":\"hm\"}\n\n"+
			"id: 4\nevent: paused\ndata: {}\n\n"+
			"id: 5\nevent: resumed\ndata: {}\n\n"+
			"id: 6\nevent: tool_call\ndata: {}\n\n"+
			"id: 7\nevent: mine\ndata: {\"text\":\"no\"}\n\n"+
			"id: 8\ndata: {\"text\":\"b\"}\n\n"+
			"id: 9\nevent: paused\ndata: {\"reason\":\"no_reader\"}\n\n"+
			"id: 10\nevent: resumed\ndata: {\"reason\":\"reader\"}\n\n"+
			"id: 11\nevent: seam\ndata: {\"by\":\"prefill\",\"offset\":2}\n\n"+
			"id: 12\ndata: {\"text\":\"c\"}\n\n"+
			"id: 13\nevent: seam\ndata: {\"by\":\"message\",\"offset\":3}\n\n"+
			"id: 14\nevent: seam\ndata: {\"by\":\"anew\",\"offset\":3}\n\n"+
			"id: 15\nevent: seam\ndata: 7\n\n"+
			"id: 16\nevent: done\ndata: {}\n\n", false))
		var out, notes screen
		if err := newTypist(streams{out: &out, err: &notes}, &keyboard{}, 0).run(t.Context(), c, "x"); err != nil {
			t.Error(err)
		}
		if got, want := out.String(), "abc"; got != want {
			t.Errorf("typed %q, want %q", got, want)
		}
		want := " [the session was paused]  [the session goes on] " +
			" [the session was paused: nobody read it]  [the session goes on]  [the model goes on from here] " +
			" [the model goes on from here, as well as it can]  [the model begins anew]  [the model goes on from here] "
		if got := notes.String(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}
