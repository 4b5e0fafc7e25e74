package upstreamtest_test

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session/upstream/upstreamtest"
)

func TestFaults(t *testing.T) {
	for _, d := range dialects {
		for _, test := range []struct {
			name  string
			fault upstreamtest.Fault
			after int
			size  int    // of the text that comes, in runes; -1: all
			err   error  // at the end of the body
			want  string // at the end of the stream, or anywhere with all of the text
		}{
			{name: "cut", fault: upstreamtest.Cut, after: 5, size: 40, err: io.ErrUnexpectedEOF},
			{name: "cut at once", fault: upstreamtest.Cut, err: io.ErrUnexpectedEOF},
			{name: "clean end", fault: upstreamtest.CleanEnd, after: 5, size: 40},
			{name: "error", fault: upstreamtest.ErrorEvent, after: 5, size: 40, want: "out of order"},
			{name: "failed", fault: upstreamtest.Failed, after: 5, size: 40, want: "out of order"},
			{name: "none, there are not so many", fault: upstreamtest.Cut, after: 1e6, size: -1},
			{name: "no farewell", fault: upstreamtest.NoDone, size: -1},
		} {
			t.Run(string(d)+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Fault: test.fault, After: test.after, Message: "out of order"}})
					status, got, err := overPipe(t, p).generate(d, user("Hi"))
					if status != http.StatusOK || !errors.Is(err, test.err) {
						t.Fatalf("status %d, error %v, want %v", status, err, test.err)
					}
					want := upstreamtest.Text("Hi")
					if test.size >= 0 {
						want = start("Hi", test.size)
					}
					if text := textOf(t, got); text != want {
						t.Errorf("text = %q, want %q", text, want)
					}
					if !strings.Contains(got, test.want) {
						t.Errorf("%q is not in the stream", test.want)
					}
					farewell := strings.Contains(got, "[DONE]") || strings.Contains(got, "message_stop") || strings.Contains(got, "response.completed") || strings.Contains(got, `"done":true`)
					whole := test.size < 0 && (test.fault != upstreamtest.NoDone || d == upstreamtest.Responses || d == upstreamtest.Ollama)
					if farewell != whole {
						t.Errorf("farewell = %v, want %v", farewell, whole)
					}
					if r := p.Requests()[0]; r.Tokens() < test.after && test.size >= 0 {
						t.Errorf("tokens = %d, want %d", r.Tokens(), test.after)
					}
				})
			})
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, d := range dialects {
		synctest.Test(t, func(t *testing.T) {
			c := overPipe(t, upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Fault: upstreamtest.Malformed, After: 5}}))
			_, got, err := c.generate(d, user("Hi"))
			if err != nil {
				t.Fatal(err)
			}
			broken := 0
			var good []string
			for line := range strings.Lines(got) {
				if json := strings.TrimPrefix(line, "data: "); strings.HasPrefix(json, "{") && !strings.HasSuffix(json, "}\n") {
					broken++
					continue
				}
				good = append(good, line)
			}
			if text := textOf(t, strings.Join(good, "")); broken != 1 || text != upstreamtest.Text("Hi") {
				t.Errorf("%s: %d malformed chunks, text %q", d, broken, text)
			}
		})
	}
}

func TestReset(t *testing.T) {
	c := overTCP(t, upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Fault: upstreamtest.Reset, After: 5}}))
	if _, _, err := c.generate(upstreamtest.Chat, user("Hi")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error = %v, want a reset", err)
	}
}

func TestHangup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overPipe(t, upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Fault: upstreamtest.Hangup}}))
		if status, _, err := c.generate(upstreamtest.Chat, user("Hi")); !errors.Is(err, io.EOF) {
			t.Errorf("status = %d, error = %v, want no answer", status, err)
		}
	})
}

// The steps of a script follow each other, whatever the dialect.
func TestScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{})
		busy := upstreamtest.Behavior{Status: http.StatusTooManyRequests, Message: "slower", Header: http.Header{"Retry-After": {"2"}}}
		p.Script("Hi", busy, upstreamtest.Behavior{Status: 529}, upstreamtest.Behavior{})
		c := overPipe(t, p)
		var found []int
		for _, d := range dialects {
			path, body := request(d, user("Hi"))
			answer, err := c.do(t.Context(), "POST", path, body)
			if err != nil {
				t.Fatal(err)
			}
			data, _ := io.ReadAll(answer.Body)
			found = append(found, answer.StatusCode)
			if status := answer.StatusCode; (status == 429) != (answer.Header.Get("Retry-After") == "2" && strings.Contains(string(data), "slower")) {
				t.Errorf("%d has header %v, %s", status, answer.Header, data)
			}
		}
		if want := []int{429, 529, 200, 200}; !slices.Equal(found, want) {
			t.Errorf("status = %v, want %v", found, want)
		}
		if status, _, _ := c.generate(upstreamtest.Chat, user("Hello")); status != 200 {
			t.Errorf("another prompt: status = %d", status)
		}
	})
}

func TestTimes(t *testing.T) {
	for _, d := range dialects {
		for _, events := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{
					Headers: time.Second, Begin: 10 * time.Second, First: 20 * time.Second, Between: 5 * time.Second, Tokens: 3,
					KeepAlive: 6 * time.Second, KeepAliveEvents: events,
				}})
				c := overPipe(t, p)
				path, body := request(d, user("Hi"))
				begin := time.Now()
				answer, err := c.do(t.Context(), "POST", path, body)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(begin); got != time.Second {
					t.Errorf("%s: head after %v", d, got)
				}
				data, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				want := 41 * time.Second
				if d == upstreamtest.Responses {
					want -= time.Second // it began with the request
				}
				if got := time.Since(begin); got != want {
					t.Errorf("%s: end after %v, want %v", d, got, want)
				}
				got := string(data)
				if text := textOf(t, got); text != start("Hi", 24) {
					t.Errorf("%s: text %q", d, text)
				}
				kind := map[upstreamtest.Dialect]string{
					upstreamtest.Chat: `"delta":{},"finish_reason":null`, upstreamtest.Responses: "event: keepalive",
					upstreamtest.Messages: "event: ping", upstreamtest.Ollama: `"content":""},"done":false`,
				}[d]
				n := 4 // 1 in 10 s, 3 in 20 s
				if !events && d != upstreamtest.Ollama {
					kind = ": keep-alive\n\n"
				} else if d == upstreamtest.Messages {
					n++ // with the first block
				}
				if found := strings.Count(got, kind); found != n {
					t.Errorf("%s: %d keep-alives, want %d:\n%s", d, found, n, got)
				}
			})
		}
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Gate: gate}})
		c := overPipe(t, p)
		done := make(chan string)
		go func() {
			_, got, _ := c.generate(upstreamtest.Messages, user("Hi"))
			done <- got
		}()
		r, err := p.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			synctest.Wait()
			if got := r.Tokens(); got != n {
				t.Errorf("tokens = %d, want %d", got, n)
			}
			gate <- struct{}{}
		}
		close(gate)
		if text := textOf(t, <-done); text != upstreamtest.Text("Hi") {
			t.Errorf("text = %q", text)
		}
	})
}

// What comes beside the text has the words of each dialect.
func TestParts(t *testing.T) {
	call := &upstreamtest.ToolCall{ID: "call_1", Name: "add", Arguments: `{"a":1}`}
	for _, test := range []struct {
		name     string
		behavior upstreamtest.Behavior
		want     [4]string // in the stream of each dialect
	}{
		{"reasoning", upstreamtest.Behavior{Reasoning: "Hm.", Size: 64},
			[4]string{`"reasoning_content":"Hm."`, `"response.reasoning_summary_text.delta"`, `{"type":"thinking_delta","thinking":"Hm."}`, `"thinking":"Hm."`}},
		{"tool call", upstreamtest.Behavior{ToolCall: call},
			[4]string{`"function":{"name":"add","arguments":""}`, `"call_id":"call_1","name":"add","arguments":"{\"a\":1}"`, `{"type":"tool_use","id":"call_1","name":"add","input":{}}`, `"tool_calls":[{"function":{"name":"add","arguments":{"a":1}}}]`}},
		{"finish", upstreamtest.Behavior{Finish: "enough"},
			[4]string{`"finish_reason":"enough"`, `"incomplete_details":{"reason":"enough"}`, `"stop_reason":"enough"`, `"done_reason":"enough"`}},
		{"usage", upstreamtest.Behavior{Tokens: 5},
			[4]string{`"usage":{"prompt_tokens":2,"completion_tokens":5,"total_tokens":7}`, `"total_tokens":7}`, `"usage":{"output_tokens":5}`, `"prompt_eval_count":2,"eval_count":5}`}},
		{"zero usage", upstreamtest.Behavior{Usage: &upstreamtest.Usage{}},
			[4]string{`"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`, `"total_tokens":0}`, `"usage":{"input_tokens":0,"output_tokens":0}`, `"prompt_eval_count":0,"eval_count":0}`}},
	} {
		for i, d := range dialects {
			synctest.Test(t, func(t *testing.T) {
				_, got, err := overPipe(t, upstreamtest.New(upstreamtest.Options{Default: test.behavior})).generate(d, user("Well, hello"))
				if err != nil || !strings.Contains(got, test.want[i]) {
					t.Errorf("%s, %s: error %v, %s is not in\n%s", d, test.name, err, test.want[i], got)
				}
				textOf(t, got) // all of it is JSON
			})
		}
	}
}

func TestNoUsage(t *testing.T) {
	for _, d := range dialects {
		synctest.Test(t, func(t *testing.T) {
			_, got, _ := overPipe(t, upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{NoUsage: true}})).generate(d, user("Hi"))
			if strings.Contains(got, "tokens") || strings.Contains(got, "eval_count") {
				t.Errorf("%s reports usage: %s", d, got)
			}
		})
	}
}
