package upstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

var dialects = []session.Dialect{session.DialectChat, session.DialectResponses}

// hi is a question in both dialects.
const hi = `[{"role":"user","content":"Hi"}]`

// Sources of clients of other protocols keep to the contracts, over TCP.
func TestDialectsKeepContracts(t *testing.T) {
	for _, p := range upstream.Protocols() {
		for _, dialect := range dialects {
			for _, by := range []session.Continuation{session.ByPrefill, session.ByMessage} {
				if by == session.ByPrefill && p == upstream.Responses {
					continue // has none
				}
				t.Run(fmt.Sprint(dialect, " to ", p, " by ", by), func(t *testing.T) {
					mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Size: 400, Extra: upstreamtest.Extra{Chunk: `"x":1`, Choice: `"logprobs":{}`, Usage: `"y":1`}}})
					set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: p, BaseURL: mock.Listen(t) + "/v1", Continuation: by}}, upstream.Options{})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(set.CloseIdle)
					open := func(t *testing.T) session.Continuer {
						source, err := set.Open(asked(dialect, hi, `{"stream":false,"temperature":0.5}`))
						if err != nil {
							t.Fatal(err)
						}
						return source.(session.Continuer)
					}
					sessiontest.TestContinuer(t, sessiontest.ContinuerWant{Text: upstreamtest.Text(prompt), By: by}, open)
					if by == session.ByMessage {
						sessiontest.TestSource(t, sessiontest.SourceWant{Text: upstreamtest.Text(prompt), FromStart: true}, func(t *testing.T) session.Source { return open(t) })
					}
				})
			}
		}
	}
}

// What is asked to go on has the provider's form, behind all that was asked
// first.
func TestDialectsContinue(t *testing.T) {
	for _, test := range []struct {
		dialect  session.Dialect
		p        upstream.Protocol
		messages string
		by       session.Continuation
		want     string
	}{
		{session.DialectChat, upstream.Chat, hi, session.ByPrefill,
			`{"messages":[{"content":"Hi","role":"user"},{"content":"1. A","role":"assistant"}],"add_generation_prompt":false,"continue_final_message":true}`},
		{session.DialectChat, upstream.Responses, hi, session.ByMessage,
			`{"input":[{"content":"Hi","role":"user"},{"content":"1. A","role":"assistant"},{"content":"Go on","role":"user"}]}`},
		{session.DialectChat, upstream.Anthropic, hi, session.ByPrefill,
			`{"messages":[{"content":"Hi","role":"user"},{"content":"1. A","role":"assistant"}],"max_tokens":8192}`},
		{session.DialectResponses, upstream.Responses, `[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}]`, session.ByMessage,
			`{"input":[{"content":[{"text":"Hi","type":"input_text"}],"role":"user","type":"message"},{"content":"1. A","role":"assistant"},{"content":"Go on","role":"user"}]}`},
		{session.DialectResponses, upstream.Chat, hi, session.ByMessage,
			`{"messages":[{"content":"Hi","role":"user"},{"content":"1. A","role":"assistant"},{"content":"Go on","role":"user"}]}`},
		{session.DialectResponses, upstream.Ollama, hi, session.ByPrefill,
			`{"messages":[{"content":"Hi","role":"user"},{"content":"1. A","role":"assistant"}]}`},
	} {
		t.Run(fmt.Sprint(test.dialect, " to ", test.p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mock := upstreamtest.New(upstreamtest.Options{})
				set := mockSet(t, upstream.Config{Protocol: test.p, Continuation: test.by}, mock)
				// What the relay says of this prevails without a word.
				source, err := set.Open(asked(test.dialect, test.messages, map[bool]string{true: `{"continue_final_message":false}`}[test.p == upstream.Chat && test.dialect == session.DialectChat]))
				if err != nil {
					t.Fatal(err)
				}
				got := collectDeltas(source.(session.Continuer).Continue(t.Context(), "1. A"), true)
				if got[0] != "seam "+string(test.by) || !strings.HasPrefix(got[len(got)-1], "finish stop") {
					t.Errorf("got %q", got)
				}
				var body map[string]any
				if err := json.Unmarshal(mock.Requests()[0].Body, &body); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"model", "stream", "stream_options"} {
					delete(body, name)
				}
				made, _ := json.Marshal(body)
				asks := string(made)
				if at := strings.Index(asks, "Your answer broke off."); at >= 0 {
					asks = asks[:at] + "Go on" + asks[at+strings.IndexByte(asks[at:], '"'):]
				}
				if asks, want := compact(t, asks), compact(t, test.want); asks != want {
					t.Errorf("body\n got %s\nwant %s", asks, want)
				}
			})
		})
	}
}

// After a restart a question is translated again: a session that was released
// is gone on with, and one that lives on at its provider is attached to.
func TestDialectsOverRestarts(t *testing.T) {
	for _, p := range upstream.Protocols() {
		for _, dialect := range dialects {
			t.Run(fmt.Sprint(dialect, " to ", p), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Size: 50, Between: time.Second}})
					defer mock.Close()
					set := mockSet(t, upstream.Config{Protocol: p, Background: p == upstream.Responses}, mock)
					store := memstore.New()
					manager, stop := running(t, store, set)
					s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{OnPause: session.Release, Source: asked(dialect, hi, `{"max_output_tokens":9}`)})
					if dialect == session.DialectChat && p != upstream.Chat {
						refused(t, err, "source.parameters.max_output_tokens")
					}
					if err != nil {
						s, err = manager.Create(t.Context(), session.Anonymous, session.Spec{OnPause: session.Release, Source: asked(dialect, hi, `{"temperature":0}`)})
					}
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(5500 * time.Millisecond)
					if p != upstream.Responses { // in the background
						if err := s.Pause(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					stop()
					manager, stop = running(t, store, set)
					defer stop()
					if err := manager.Recover(t.Context()); err != nil {
						t.Fatal(err)
					}
					if s, err = manager.Get(t.Context(), session.Anonymous, s.Info().ID); err != nil {
						t.Fatal(err)
					}
					if err := s.Resume(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Hour)
					if text := sessiontest.Text(t, s); text != upstreamtest.Text(prompt) || s.Status().State != session.Done {
						t.Errorf("%s with %d bytes, want done with %d: %+v", s.Status().State, len(text), len(upstreamtest.Text(prompt)), s.Status().End)
					}
				})
			})
		}
	}
}

// What a delta has beside the text is part of the answer: one that breaks off
// behind it is not asked for again. What a chunk has is told once.
func TestExtrasAndRetries(t *testing.T) {
	for _, test := range []struct {
		extra upstreamtest.Extra
		want  []string
	}{
		{upstreamtest.Extra{Chunk: `"x":1`}, []string{`provider {"protocol":"chat","fields":{"x":1}}`, "text " + upstreamtest.Text(prompt), "usage 1 1 reported", "finish stop"}},
		{upstreamtest.Extra{Chunk: `"x":1`, Delta: `"y":1`}, []string{`provider {"protocol":"chat","fields":{"x":1}}`, `provider {"protocol":"chat","choice":{"delta":{"y":1}}}`, "reasoning r", truncated}},
	} {
		synctest.Test(t, func(t *testing.T) {
			first := upstreamtest.Behavior{Extra: test.extra, Fault: upstreamtest.Cut}
			if test.extra.Delta != "" {
				first.After, first.Reasoning = 1, "r"
			}
			mock := upstreamtest.New(upstreamtest.Options{})
			mock.Script(prompt, first, upstreamtest.Behavior{Size: 1e6, Extra: test.extra})
			source, err := mockSet(t, upstream.Config{}, mock).Open(asked(session.DialectChat, hi, ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := deltas(t, source, true); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// running runs a manager until stop is called.
func running(t *testing.T, store session.Store, set *upstream.Set) (m *session.Manager, stop func()) {
	t.Helper()
	m, err := session.NewManager(store, session.Options{Upstreams: set})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	return m, func() {
		cancel()
		<-ended
	}
}
