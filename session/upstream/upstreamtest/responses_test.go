package upstreamtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session/upstream/upstreamtest"
)

const background = `{"model":"m","input":"Hi","background":true,"stream":true}`

func TestBackgroundGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Between: time.Second}})
		c := overPipe(t, p)
		ctx, leave := context.WithCancel(t.Context())
		answer, err := c.do(ctx, "POST", "/v1/responses", background)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, answer.Body) // a pipe holds nothing
		time.Sleep(10 * time.Second)
		leave()
		r := p.Requests()[0]
		<-r.Left
		if n := r.Tokens(); n < 9 || n > 11 {
			t.Errorf("tokens until the client left = %d, want 10", n)
		}
		status, got, err := c.ask("GET", "/v1/responses/"+r.Response+"?stream=true", "")
		if status != 200 || err != nil || textOf(t, got) != upstreamtest.Text("Hi") {
			t.Errorf("re-attached: status %d, error %v, %s", status, err, got)
		}
		if n, want := p.Background(), (upstreamtest.Counts{Started: 1, Ended: 1}); n != want {
			t.Errorf("background = %+v, want %+v", n, want)
		}
	})
}

// However often a client re-attaches, it has the same events.
func TestReattach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Size: 64, Reasoning: "Hm.", KeepAlive: time.Second, KeepAliveEvents: true, Begin: 3 * time.Second}})
		c := overPipe(t, p)
		_, whole, err := c.ask("POST", "/v1/responses", background)
		if err != nil {
			t.Fatal(err)
		}
		path := "/v1/responses/" + p.Requests()[0].Response + "?stream=true&starting_after="
		events := strings.SplitAfter(whole, "\n\n")
		for n := -1; n < len(events); n++ {
			want := strings.Join(events[min(n+1, len(events)):], "")
			if _, got, err := c.ask("GET", path+fmt.Sprint(n), ""); got != want || err != nil {
				t.Errorf("after %d: error %v, got %d bytes, want %d", n, err, len(got), len(want))
			}
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Gate: gate}})
		c := overPipe(t, p)
		done := make(chan string)
		go func() {
			_, got, err := c.ask("POST", "/v1/responses", background)
			if err != nil {
				t.Error(err)
			}
			done <- got
		}()
		for range 5 {
			gate <- struct{}{}
		}
		r, _ := p.Next(t.Context())
		for range 2 {
			status, got, err := c.ask("POST", "/v1/responses/"+r.Response+"/cancel", "")
			if status != 200 || err != nil || !strings.Contains(got, `"status":"cancelled"`) {
				t.Errorf("cancel: status %d, error %v, %s", status, err, got)
			}
		}
		got := <-done
		if text := textOf(t, got); text == "" || !strings.HasPrefix(upstreamtest.Text("Hi"), text) {
			t.Errorf("text = %q", text)
		}
		found := names(t, got)
		if last := found[len(found)-1]; last != "response.incomplete" || !strings.Contains(got, `"status":"cancelled"`) {
			t.Errorf("last event = %s", last)
		}
		if n, want := p.Background(), (upstreamtest.Counts{Started: 1, Ended: 1, Cancelled: 1}); n != want {
			t.Errorf("background = %+v, want %+v", n, want)
		}
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Between: time.Second, Size: 100}})
		c := overPipe(t, p)
		poll := func(method, path, body string) (id, state, text string) {
			t.Helper()
			_, got, err := c.ask(method, path, body)
			if err != nil {
				t.Fatal(err)
			}
			var r struct {
				ID, Status string
				Output     []struct{ Content []struct{ Text string } }
			}
			if err := json.Unmarshal([]byte(got), &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Output) > 0 {
				text = r.Output[0].Content[0].Text
			}
			return r.ID, r.Status, text
		}
		id, state, _ := poll("POST", "/v1/responses", `{"model":"m","input":"Hi","background":true}`)
		if state != "queued" && state != "in_progress" {
			t.Errorf("at first = %s", state)
		}
		time.Sleep(3 * time.Second)
		if _, state, _ := poll("GET", "/v1/responses/"+id, ""); state != "in_progress" {
			t.Errorf("after 3s = %s", state)
		}
		time.Sleep(time.Hour)
		if _, state, text := poll("GET", "/v1/responses/"+id, ""); state != "completed" || text != upstreamtest.Text("Hi") {
			t.Errorf("after an hour = %s with %q", state, text)
		}
	})
}

func TestCannotReattach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{})
		p.Script("Hi", upstreamtest.Behavior{}, upstreamtest.Behavior{Expired: true})
		c := overPipe(t, p)
		for _, test := range []struct {
			method, path, body string
			status             int
			want               string
		}{
			{"POST", "/v1/responses", background, 200, "response.completed"},
			{"POST", "/v1/responses", `{"model":"m","input":"Bye","stream":true}`, 200, "response.completed"},
			{"GET", "/v1/responses/resp_1?stream=true&starting_after=3", "", 400, "can no longer be streamed because it is more than 5 minutes old"},
			{"GET", "/v1/responses/resp_2?stream=true", "", 404, `"type":"invalid_request_error"`},
			{"POST", "/v1/responses/resp_9/cancel", "", 404, "resp_9"},
			{"GET", "/v1/responses/resp_1?stream=true&starting_after=x", "", 400, "starting_after"},
		} {
			status, got, err := c.ask(test.method, test.path, test.body)
			if status != test.status || err != nil || !strings.Contains(got, test.want) {
				t.Errorf("%s %s: status %d, error %v, %s", test.method, test.path, status, err, got)
			}
		}
	})
}

// The faults of a connection are none of the generation's.
func TestCutAndReattach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{})
		cut := upstreamtest.Behavior{Fault: upstreamtest.Cut, After: 7}
		p.Script("Hi", cut, cut, upstreamtest.Behavior{})
		c := overPipe(t, p)
		_, joined, err := c.ask("POST", "/v1/responses", background)
		if err == nil {
			t.Error("the connection was not cut")
		}
		for n := range 2 {
			seen := len(chunks(joined)) - 1
			_, got, err := c.ask("GET", fmt.Sprintf("/v1/responses/resp_1?stream=true&starting_after=%d", seen), "")
			if cut := n == 0; cut != (err != nil) {
				t.Errorf("re-attached for the %d. time: %v", n+1, err)
			}
			joined += got
		}
		if text := textOf(t, joined); text != upstreamtest.Text("Hi") {
			t.Errorf("text = %q", text)
		}
	})
}

func TestResponseEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{
			Reasoning: "Let me think.", ToolCall: &upstreamtest.ToolCall{ID: "call_1", Name: "add", Arguments: `{"a":1}`},
		}})
		c := overPipe(t, p)
		_, got, err := c.ask("POST", "/v1/responses", background)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(`created queued in_progress
			output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done
			output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done
			output_item.added function_call_arguments.delta function_call_arguments.done output_item.done
			completed`)
		for i := range want {
			want[i] = "response." + want[i]
		}
		if found := names(t, got); !slices.Equal(found, want) {
			t.Errorf("events:\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
		}
		for i, chunk := range chunks(got) {
			var c struct {
				Number int `json:"sequence_number"`
			}
			if json.Unmarshal([]byte(chunk), &c); c.Number != i {
				t.Errorf("event %d has number %d", i, c.Number)
			}
		}
	})
}
