package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// Tests of what all protocols have in common, against a provider that knows
// what it said.

const prompt = "Hi"

// begun is how much of the answer to prompt there is when it is gone on with,
// in bytes.
const begun = len("1. A fam")

// mockSet returns a set whose provider p is mock, in a synctest bubble.
func mockSet(t *testing.T, c upstream.Config, mock *upstreamtest.Provider) *upstream.Set {
	t.Helper()
	c.Name, c.BaseURL = "p", "http://provider.test"
	set, err := upstream.New([]upstream.Config{c}, upstream.Options{Limits: limits, Transport: dialing(mock.Pipe(t))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.CloseIdle)
	return set
}

// eachProtocol runs a test in a bubble for each protocol.
func eachProtocol(t *testing.T, test func(t *testing.T, p upstream.Protocol)) {
	eachOf(t, upstream.Protocols(), test)
}

// eachBy is eachProtocol for those that can be asked so to go on.
func eachBy(t *testing.T, by session.Continuation, test func(t *testing.T, p upstream.Protocol)) {
	can := upstream.Protocols()
	if by == session.ByPrefill {
		can = slices.DeleteFunc(can, func(p upstream.Protocol) bool { return p == upstream.Responses })
	}
	eachOf(t, can, test)
}

func eachOf(t *testing.T, protocols []upstream.Protocol, test func(t *testing.T, p upstream.Protocol)) {
	for _, p := range protocols {
		t.Run(string(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, p) })
		})
	}
}

// textOf joins the text of lines, and returns the others.
func textOf(got []string) (text string, others []string) {
	for _, line := range got {
		if piece, ok := strings.CutPrefix(line, "text "); ok {
			text += piece
		} else {
			others = append(others, line)
		}
	}
	return text, others
}

// However the provider cuts it, the text is what it said.
func TestProtocolsText(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p upstream.Protocol) {
		mock := upstreamtest.New(upstreamtest.Options{})
		set := mockSet(t, upstream.Config{Protocol: p}, mock)
		for _, unit := range []upstreamtest.Unit{upstreamtest.Runes, upstreamtest.Bytes, upstreamtest.UTF16} {
			for _, size := range []int{1, 7, 1 << 20} {
				mock.Script(prompt, upstreamtest.Behavior{
					Size: size, Unit: unit,
					Reasoning: "naïve 👩‍👩‍👧 <thought>",
					ToolCall:  &upstreamtest.ToolCall{ID: "call_0", Name: "f", Arguments: `{"city":"Zürich 😀"}`},
					Usage:     &upstreamtest.Usage{Input: 0, Output: 12},
				})
				var text, reasoning, id, name, arguments, finish, usage string
				for d, err := range open(t, set).Deltas(t.Context(), session.Position{}) {
					if err != nil {
						t.Fatal(err)
					}
					switch d.Kind {
					case session.DeltaText:
						text += d.Text
					case session.DeltaReasoning:
						reasoning += d.Text
					case session.DeltaToolCall:
						id, name, arguments = id+d.Call.ID, name+d.Call.Name, arguments+d.Call.Arguments
					case session.DeltaFinish:
						finish = d.Reason
					case session.DeltaUsage:
						usage = show(d, nil)
					}
				}
				if text != upstreamtest.Text(prompt) {
					t.Errorf("unit %v, size %d: text\n got %q\nwant %q", unit, size, text, upstreamtest.Text(prompt))
				}
				if got, want := fmt.Sprintf("%s|%s %s %s|%s|%s", reasoning, id, name, arguments, finish, usage),
					`naïve 👩‍👩‍👧 <thought>|call_0 f {"city":"Zürich 😀"}|tool_calls|usage 0 12 reported`; got != want {
					t.Errorf("unit %v, size %d:\n got %s\nwant %s", unit, size, got, want)
				}
			}
		}
	})
}

func TestProtocolsFaults(t *testing.T) {
	for _, test := range []struct {
		name     string
		behavior upstreamtest.Behavior
		want     string // the beginning of the last delta
		took     time.Duration
	}{
		{"none", upstreamtest.Behavior{}, "finish stop", 0},
		{"slow", upstreamtest.Behavior{First: 44 * time.Second, Between: 29 * time.Second, Tokens: 3}, "finish stop", 102 * time.Second},
		{"no answer", upstreamtest.Behavior{Fault: upstreamtest.NoAnswer}, noHeader, time.Minute},
		{"no token", upstreamtest.Behavior{First: time.Hour}, noToken, 45 * time.Second},
		{"no token but comments", upstreamtest.Behavior{First: time.Hour, KeepAlive: 7 * time.Second}, noToken, 45 * time.Second},
		{"no token but keep-alives", upstreamtest.Behavior{First: time.Hour, KeepAlive: 7 * time.Second, KeepAliveEvents: true}, noToken, 45 * time.Second},
		{"falls silent", upstreamtest.Behavior{Fault: upstreamtest.Silent, After: 3}, idle, 30 * time.Second},
		{"comments between tokens", upstreamtest.Behavior{Between: time.Hour, KeepAlive: 7 * time.Second}, idle, 30 * time.Second},
		{"keep-alives between tokens", upstreamtest.Behavior{Between: time.Hour, KeepAlive: 7 * time.Second, KeepAliveEvents: true}, idle, 30 * time.Second},
		{"without end", upstreamtest.Behavior{Between: 25 * time.Second}, total, 5 * time.Minute},
		{"cut", upstreamtest.Behavior{Fault: upstreamtest.Cut, After: 3}, truncated, 0},
		{"reset", upstreamtest.Behavior{Fault: upstreamtest.Reset, After: 3}, truncated, 0},
		{"clean end", upstreamtest.Behavior{Fault: upstreamtest.CleanEnd, After: 3}, truncated, 0},
		{"malformed", upstreamtest.Behavior{Fault: upstreamtest.Malformed, After: 3}, "failure upstream_malformed: ", 0},
		{"error", upstreamtest.Behavior{Fault: upstreamtest.ErrorEvent, After: 3, Message: "broken"}, "failure upstream_", 0},
		{"no farewell", upstreamtest.Behavior{Fault: upstreamtest.NoDone}, "finish stop", 0},
		{"refused", upstreamtest.Behavior{Status: 400, Message: "bad"}, "failure upstream_refused: 400: bad", 0},
		{"refused key", upstreamtest.Behavior{Status: 401}, "failure upstream_unauthorized: ", 0},
		{"rate limit", upstreamtest.Behavior{Status: 429, Message: "slow down"}, "failure upstream_rate_limited: slow down", 0},
		{"overloaded", upstreamtest.Behavior{Status: 529, Message: "too many"}, "failure upstream_overloaded: 529: too many", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, p upstream.Protocol) {
				mock := upstreamtest.New(upstreamtest.Options{Default: test.behavior})
				set := mockSet(t, upstream.Config{Protocol: p, Limits: once}, mock)
				began := time.Now()
				text, others := textOf(deltas(t, open(t, set), true))
				took := time.Since(began)
				if last := others[len(others)-1]; !strings.HasPrefix(last, test.want) || took != test.took {
					t.Errorf("got  %q after %v\nwant %q after %v", last, took, test.want, test.took)
				}
				if !strings.HasPrefix(upstreamtest.Text(prompt), text) {
					t.Errorf("text %q", text)
				}
				if request := mock.Requests()[0]; test.took > 0 && test.want != "finish stop" {
					<-request.Left
					if at, _ := request.LeftAt(); at.Sub(began) != test.took {
						t.Errorf("the provider saw it after %v, want %v", at.Sub(began), test.took)
					}
				}
			})
		})
	}
}

// A context that ends closes the provider's connection at once.
func TestProtocolsContextEnds(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p upstream.Protocol) {
		mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Between: 3 * time.Second}})
		set := mockSet(t, upstream.Config{Protocol: p}, mock)
		for _, cause := range []error{session.ErrShutdown, session.ErrReleased, context.Canceled} {
			ctx, end := context.WithCancelCause(t.Context())
			began := time.Now()
			time.AfterFunc(10*time.Second, func() { end(cause) })
			var last error
			for _, err := range open(t, set).Deltas(ctx, session.Position{}) {
				last = err
			}
			if took := time.Since(began); !errors.Is(last, cause) || took != 10*time.Second {
				t.Errorf("ended with %v after %v, want %v after 10s", last, took, cause)
			}
			all := mock.Requests()
			<-all[len(all)-1].Left
			if at, _ := all[len(all)-1].LeftAt(); at.Sub(began) != 10*time.Second {
				t.Errorf("%v: the provider saw it after %v, want 10s", cause, at.Sub(began))
			}
		}
	})
}

// continued returns what the source says of going on from text.
func continued(t *testing.T, set *upstream.Set, text string) []string {
	t.Helper()
	return collectDeltas(open(t, set).Continue(t.Context(), text), true)
}

// From wherever an answer broke off the rest of it joins exactly, blanks among
// the cuts.
func TestContinue(t *testing.T) {
	whole := upstreamtest.Text(prompt)
	for _, by := range []session.Continuation{session.ByPrefill, session.ByMessage} {
		t.Run(string(by), func(t *testing.T) {
			eachBy(t, by, func(t *testing.T, p upstream.Protocol) {
				mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Size: 100}})
				set := mockSet(t, upstream.Config{Protocol: p, Continuation: by}, mock)
				for at := range whole[:len(whole)/8] {
					if at%9 > 0 && !strings.ContainsAny(whole[max(at-1, 0):at+1], " \t\n") {
						continue
					}
					wantSeam := "seam " + string(by)
					if at == 0 {
						wantSeam = "seam anew"
					}
					got := continued(t, set, whole[:at])
					if got[0] != wantSeam {
						t.Fatalf("from %d: first %q, want %q", at, got[0], wantSeam)
					}
					if text, _ := textOf(got); text != whole[at:] {
						t.Fatalf("from %d, behind %q:\n got %.60q\nwant %.60q", at, whole[max(at-10, 0):at], text, whole[at:])
					}
				}
			})
		})
	}
}

// All that a continuer is to keep to, over TCP.
func TestContinuers(t *testing.T) {
	for _, p := range upstream.Protocols() {
		for _, by := range []session.Continuation{session.ByPrefill, session.ByMessage} {
			if by == session.ByPrefill && p == upstream.Responses {
				continue // has none
			}
			t.Run(string(p)+" "+string(by), func(t *testing.T) {
				mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Size: 150}})
				set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: p, BaseURL: mock.Listen(t) + "/v1", Continuation: by}}, upstream.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(set.CloseIdle)
				want := sessiontest.ContinuerWant{Text: upstreamtest.Text(prompt), By: by}
				sessiontest.TestContinuer(t, want, func(t *testing.T) session.Continuer { return open(t, set) })
			})
		}
	}
}

// What is behind a cursor of a response is what was behind it, wherever the
// provider cuts.
func TestCursors(t *testing.T) {
	for _, size := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{
				Size: size, Unit: upstreamtest.UTF16, Tokens: 90,
				Reasoning: "hm 🤔", ToolCall: &upstreamtest.ToolCall{ID: "x", Name: "f", Arguments: `{"a":"🤔"}`},
			}})
			set := mockSet(t, upstream.Config{Protocol: upstream.Responses, Background: true}, mock)
			sessiontest.TestCursors(t, open(t, set))
		})
	}
}

// A prefill that is refused is asked for by a message instead, and nothing
// says otherwise.
func TestContinueWithoutPrefill(t *testing.T) {
	whole := upstreamtest.Text(prompt)
	eachBy(t, session.ByPrefill, func(t *testing.T, p upstream.Protocol) {
		mock := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{NoPrefill: true}})
		set := mockSet(t, upstream.Config{Protocol: p, Continuation: session.ByPrefill, Limits: once}, mock)
		got := continued(t, set, whole[:begun])
		if text, others := textOf(got); text != whole[begun:] || got[0] != "seam message" || slices.Contains(others, "seam prefill") {
			t.Errorf("got %q", got)
		}
		requests := mock.Requests()
		if len(requests) != 2 || requests[0].Status() != 400 {
			t.Fatalf("%d requests", len(requests))
		}
		if at := requests[1].At.Sub(requests[0].At); at != 0 {
			t.Errorf("the second request came after %v, want at once", at)
		}
		messages := requests[1].Messages
		if last := messages[len(messages)-1]; last.Role != "user" || !strings.Contains(last.Content, "Go on") {
			t.Errorf("last message %+v", last)
		}
		if quoted := messages[len(messages)-2]; quoted.Role != "assistant" || quoted.Content != whole[:begun] {
			t.Errorf("the message before is %+v", quoted)
		}
	})
}

// How an answer is gone on with unless the configuration says so.
func TestContinuationOfModels(t *testing.T) {
	const prefill, message = session.ByPrefill, session.ByMessage
	for _, test := range []struct {
		p     upstream.Protocol
		model string
		want  session.Continuation
	}{
		{upstream.Chat, "m", message},
		{upstream.Responses, "m", message},
		{upstream.Ollama, "m", prefill},
		{upstream.Anthropic, "claude-2.1", prefill},
		{upstream.Anthropic, "claude-instant-1.2", prefill},
		{upstream.Anthropic, "claude-3-opus-20240229", prefill},
		{upstream.Anthropic, "claude-3-5-sonnet-latest", prefill},
		{upstream.Anthropic, "claude-3-7-sonnet-20250219", prefill},
		{upstream.Anthropic, "claude-3.5-haiku", prefill},
		{upstream.Anthropic, "claude-sonnet-4", prefill},
		{upstream.Anthropic, "claude-sonnet-4-0", prefill},
		{upstream.Anthropic, "claude-sonnet-4-20250514", prefill},
		{upstream.Anthropic, "claude-opus-4-1", prefill},
		{upstream.Anthropic, "claude-opus-4-1-20250805", prefill},
		{upstream.Anthropic, "claude-opus-4.1", prefill},
		{upstream.Anthropic, "claude-opus-4@20250514", prefill},
		{upstream.Anthropic, "claude-haiku-4-5-20251001", prefill},
		{upstream.Anthropic, "claude-opus-4-5", prefill},
		{upstream.Anthropic, "claude-opus-4-6", message},
		{upstream.Anthropic, "claude-sonnet-4-6-20260205", message},
		{upstream.Anthropic, "claude-opus-4-10", message},
		{upstream.Anthropic, "claude-opus-5", message},
		{upstream.Anthropic, "claude-40", message},
		{upstream.Anthropic, "claude-30", message},
		{upstream.Anthropic, "my-claude-3", message},
		{upstream.Anthropic, "m", message},
	} {
		t.Run(string(test.p)+" "+test.model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := mockSet(t, upstream.Config{Protocol: test.p}, upstreamtest.New(upstreamtest.Options{}))
				source, err := set.Open(session.SourceSpec{Model: test.model, Messages: json.RawMessage(`[{"role":"user","content":"Hi"}]`)})
				if err != nil {
					t.Fatal(err)
				}
				got := collectDeltas(source.(openedSource).Continue(t.Context(), upstreamtest.Text(prompt)[:begun]), true)
				if want := "seam " + string(test.want); got[0] != want {
					t.Errorf("got %q, want %q", got[0], want)
				}
			})
		})
	}
}

// Nothing but blanks is no beginning of an answer: it is asked for anew, and
// joins all the same.
func TestContinueFromBlanks(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p upstream.Protocol) {
		mock := upstreamtest.New(upstreamtest.Options{})
		set := mockSet(t, upstream.Config{Protocol: p}, mock)
		got := continued(t, set, " \n")
		if text, _ := textOf(got); text != upstreamtest.Text(prompt) || got[0] != "seam anew" {
			t.Errorf("got %.80q", got)
		}
		if n := len(mock.Requests()[0].Messages); n != 1 {
			t.Errorf("%d messages, want 1", n)
		}
	})
}

// Whether the answer begins with the blanks that a prefill leaves out or not,
// the text has them once.
func TestContinueBlanks(t *testing.T) {
	for _, test := range []struct{ text, answer, want string }{
		{"a", "b", "b"},
		{"a ", "b", "b"},
		{"a ", " b", "b"},
		{"a ", "  b", " b"},
		{"a\n\n", "\n\nb", "b"},
		{"a\n\n", "\nb", "b"},
		{"a \n", "\nb", "\nb"},
		{"a\u00a0\u3000", "\u00a0\u3000b", "b"},
		{"a ", " ", ""},
		{"a ", "", ""},
		// Characters that begin with the same bytes are not the same.
		{"« Bonjour\u00a0", "» dit-il", "» dit-il"},
		{"a\u2009", "“x”", "“x”"},
		{"a\u3000", "「x」", "「x」"},
		{"a\u202f", "— b", "— b"},
		{"a\u2009\u3000", "\u2009「x」", "「x」"},
	} {
		for p, body := range map[upstream.Protocol]func(pieces []string) string{
			upstream.Chat: func(pieces []string) string {
				var chunks []string
				for _, piece := range pieces {
					chunks = append(chunks, content(piece))
				}
				return stream(append(chunks, stop, farewell)...)
			},
			upstream.Anthropic: func(pieces []string) string {
				var events []string
				for _, piece := range pieces {
					events = append(events, textDelta(piece))
				}
				return named(append(events, endTurn, messageStop)...)
			},
			upstream.Ollama: func(pieces []string) string {
				var chunks []string
				for _, piece := range pieces {
					chunks = append(chunks, ollamaText(piece))
				}
				return linesOf(append(chunks, ollamaDone)...)
			},
		} {
			var each []string
			for _, r := range test.answer {
				each = append(each, fmt.Sprintf("%q", string(r)))
			}
			for _, pieces := range [][]string{each, {fmt.Sprintf("%q", test.answer)}} {
				t.Run(fmt.Sprintf("%s %q %q", p, test.text, pieces), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						kind := eventStream
						if p == upstream.Ollama {
							kind = ndjson
						}
						set := newSet(t, upstream.Config{Protocol: p, Continuation: session.ByPrefill}, upstream.Options{}, answerAs(kind, body(pieces), false))
						got := continued(t, set, test.text)
						if text, _ := textOf(got); text != test.want || !strings.HasPrefix(got[len(got)-1], "finish stop") {
							t.Errorf("got %q, want %q", got, test.want)
						}
					})
				})
			}
		}
	}
}

// The seam says how what follows was asked for in the end, once, whatever was
// tried before.
func TestSeamAfterRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mock := upstreamtest.New(upstreamtest.Options{})
		mock.Script(prompt, upstreamtest.Behavior{Status: 503}, upstreamtest.Behavior{Fault: upstreamtest.Cut}, upstreamtest.Behavior{NoPrefill: true}, upstreamtest.Behavior{})
		l := limits
		l.Retries = 5
		set := mockSet(t, upstream.Config{Protocol: upstream.Ollama, Limits: l}, mock)
		whole := upstreamtest.Text(prompt)
		got := continued(t, set, whole[:begun])
		if text, others := textOf(got); text != whole[begun:] || len(others) != 3 || others[0] != "seam message" {
			t.Errorf("got %q", got)
		}
	})
}
