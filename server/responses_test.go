package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
)

// A responseObject is what the tests read of a response.
type responseObject struct {
	ID, Status string
	Error      *struct {
		Code, Message string
		Relay         string `json:"relay_code"`
	}
	Instructions *string
	Metadata     map[string]string
	Tools        []json.RawMessage
	Temperature  float64
	Output       []struct {
		ID, Type, Status, Name, Arguments string
		Content                           []struct{ Text string }
	}
	Usage *struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
		Source string
	}
}

func (r *relay) response(method, path, body string, headers ...string) (status int, got responseObject) {
	r.t.Helper()
	status, answer := r.do(method, path, body, headers...)
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		r.t.Fatalf("%s %s = %d %s", method, path, status, answer)
	}
	return status, got
}

// text is that of its messages.
func (o responseObject) text() (text string) {
	for _, item := range o.Output {
		for _, content := range item.Content {
			text += content.Text
		}
	}
	return text
}

// Who does not stream gets the whole, however long it takes, and goes on having
// it when the line was lost.
func TestResponseWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{server: server.Options{WriteTimeout: 100 * time.Millisecond}})
		status, got := w.response("POST", "/v1/responses", `{"model":"all kinds","input":[{"role":"user","content":"Hi"}],"temperature":0.5}`)
		if status != 200 || got.Status != "completed" || got.text() != "I will look: <👩‍👩‍👧>That is\u2028all." || len(got.Output) != 5 || got.Temperature != 0.5 {
			t.Errorf("response = %d %+v", status, got)
		}
		if got.Usage == nil || got.Usage.Input != 12 || got.Usage.Output != 34 || got.Usage.Source != "reported" {
			t.Errorf("usage = %+v, want what was reported", got.Usage)
		}
		if _, again := w.response("GET", "/v1/responses/"+got.ID, ""); again.text() != got.text() || again.Status != got.Status {
			t.Errorf("retrieved = %+v, want %+v", again, got)
		}
		for model, code := range map[string]string{"fails": "upstream_rate_limited"} {
			a := w.ask("POST", "/v1/responses", response(model, ""))
			if a.StatusCode != http.StatusBadGateway || errorCode(a) != code || a.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("%s = %d %v, want 502 %s that is not to be repeated", model, a.StatusCode, a.Header, code)
			}
			status, got := w.response("GET", "/v1/responses/"+a.Header.Get("X-Tokenrelay-Session"), "")
			if status != 200 || got.Status != "failed" || got.text() != "Half of an ans" || got.Error == nil || got.Error.Code != "rate_limit_exceeded" || got.Error.Relay != code {
				t.Errorf("%s retrieved = %d %+v, want what there is of it, failed", model, status, got)
			}
		}
	})
}

// Who leaves stops nothing.
func TestResponseWithoutItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		for _, more := range []string{"", streamed} {
			conn := w.dial()
			body := response("all kinds", more)
			go fmt.Fprintf(conn, "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			time.Sleep(120 * time.Millisecond)
			conn.Close()
			_, list := w.do("GET", "/v1/sessions?limit=1", "")
			var page struct{ Sessions []struct{ ID string } }
			if err := json.Unmarshal([]byte(list), &page); err != nil || len(page.Sessions) != 1 {
				t.Fatalf("sessions = %s", list)
			}
			time.Sleep(10 * time.Second)
			if _, got := w.response("GET", "/v1/responses/"+page.Sessions[0].ID, ""); got.Status != "completed" {
				t.Errorf("response = %+v, want it completed", got)
			}
		}
	})
}

// In the background it is queued at first, in progress while it is asked for,
// paused too, and whole in the end.
func TestResponseInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		began := time.Now()
		status, got := w.response("POST", "/v1/responses", response("all kinds", inBackground))
		if status != 200 || got.Status != "queued" || len(got.Output) != 0 || time.Since(began) > 0 {
			t.Errorf("created = %d %+v after %v", status, got, time.Since(began))
		}
		time.Sleep(170 * time.Millisecond)
		native := "/v1/sessions/" + strings.TrimPrefix(got.ID, "resp_")
		w.do("POST", native+"/pause", "")
		_, got = w.response("GET", "/v1/responses/"+got.ID, "")
		if got.Status != "in_progress" || len(got.Output) != 2 || got.Output[0].Status != "completed" || got.Output[1].Status != "in_progress" || got.text() != "I will " || got.Usage != nil {
			t.Errorf("paused = %+v, want it in progress", got)
		}
		w.do("POST", native+"/resume", "")
		time.Sleep(time.Second)
		if _, got = w.response("GET", "/v1/responses/"+got.ID, ""); got.Status != "completed" || len(got.Output) != 5 {
			t.Errorf("in the end = %+v", got)
		}
	})
}

// A key finds the response that was made with it, whoever asks for it and however.
func TestResponseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		const key = "Idempotency-Key: k1"
		a := w.ask("POST", "/v1/responses", response("all kinds", streamed), key)
		_, err := io.ReadFull(a.Body, make([]byte, 3000)) // some of it
		if err != nil {
			t.Fatal(err)
		}
		a.conn.Close()
		whole := canonical(t, w.ask("POST", "/v1/responses", response("all kinds", streamed), key).Body)
		id := a.Header.Get("X-Tokenrelay-Session")
		if want := canonical(t, w.ask("GET", responseStream(id), "").Body); whole != want {
			t.Errorf("again = %q, want %q", whole, want)
		}
		again := w.ask("POST", "/v1/responses", response("all kinds", streamed), key, "Last-Event-ID: 4")
		if got, want := canonical(t, again.Body), strings.Join(split(whole)[5:], ""); got != want || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("again behind 4 = %q, want %q", got, want)
		}
		for _, test := range []struct {
			body, header string
			status       int
			code         string
		}{
			{response("all kinds", ""), key, 409, "idempotency_key_reused"},
			{response("all kinds", streamed), "Idempotency-Key: k 1", 400, "malformed_idempotency_key"},
		} {
			if a := w.ask("POST", "/v1/responses", test.body, test.header); a.StatusCode != test.status || errorCode(a) != test.code || a.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("%s with %s = %d, want %d %s", test.body, test.header, a.StatusCode, test.status, test.code)
			}
		}
		background := response("all kinds", inBackground)
		_, first := w.response("POST", "/v1/responses", background, "Idempotency-Key: k2")
		time.Sleep(time.Second)
		if _, got := w.response("POST", "/v1/responses", background, "Idempotency-Key: k2"); got.ID != first.ID || got.Status != "completed" {
			t.Errorf("in the background again = %+v, want %s as it is by now", got, first.ID)
		}
	})
}

// Cancelling ends the response for all who read it, as often as one likes;
// deleting forgets it.
func TestCancelResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		a := w.ask("POST", "/v1/responses", response("all kinds", streamed+inBackground))
		id := a.Header.Get("X-Tokenrelay-Session")
		time.Sleep(170 * time.Millisecond)
		for _, name := range []string{"resp_" + id, id} {
			status, got := w.response("POST", "/v1/responses/"+name+"/cancel", "")
			if status != 200 || got.ID != "resp_"+id || got.Status != "cancelled" || got.text() != "I will " {
				t.Errorf("cancel = %d %+v", status, got)
			}
		}
		events := split(canonical(t, a.Body))
		if last := events[len(events)-1]; !strings.Contains(last, "event: response.incomplete\n") || !strings.Contains(last, `"status":"cancelled"`) {
			t.Errorf("the stream ends with %s", last)
		}
		_, done := w.response("POST", "/v1/responses", response("all kinds", ""))
		if status, got := w.response("POST", "/v1/responses/"+done.ID+"/cancel", ""); status != 200 || got.Status != "completed" {
			t.Errorf("cancel of a whole one = %d %+v", status, got)
		}
		if status, body := w.do("DELETE", "/v1/responses/resp_"+id, ""); status != 200 || body != fmt.Sprintf(`{"id":"resp_%s","object":"response","deleted":true}`+"\n", id) {
			t.Errorf("delete = %d %s", status, body)
		}
		for _, request := range [...][2]string{{"DELETE", ""}, {"GET", ""}, {"GET", "?stream=true"}, {"POST", "/cancel"}} {
			if a := w.ask(request[0], "/v1/responses/resp_"+id+request[1], ""); a.StatusCode != 404 || errorCode(a) != "session_not_found" {
				t.Errorf("%s %s of a deleted one = %d, want 404", request[0], request[1], a.StatusCode)
			}
		}
	})
}

// What a response repeats of its request is bounded: tools and instructions are
// left out of it then, not of what the model is asked.
func TestResponseRepeatsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		_, got := r.response("POST", "/v1/responses", response(server.DemoModel, `,"instructions":"Be brief.","metadata":{"a":"b"},"tools":[{"type":"function","name":"f"}],"temperature":null`))
		if got.Instructions == nil || *got.Instructions != "Be brief." || got.Metadata["a"] != "b" || len(got.Tools) != 1 || got.Temperature != 1 {
			t.Errorf("response = %+v", got)
		}
		long := strings.Repeat("x", 40<<10)
		_, got = r.response("POST", "/v1/responses", response(server.DemoModel, `,"instructions":"Be brief.","metadata":{"a":"b"},"tools":["`+long+`"]`))
		if got.Instructions == nil || got.Metadata["a"] != "b" || got.Tools == nil || len(got.Tools) != 0 {
			t.Errorf("response with large tools = %+v", got)
		}
		_, got = r.response("POST", "/v1/responses", response(server.DemoModel, `,"instructions":"`+long+`","metadata":{"a":"b"}`))
		if got.Instructions != nil || got.Metadata["a"] != "b" {
			t.Errorf("response with long instructions = %+v", got)
		}
		if a := r.ask("POST", "/v1/responses", response(server.DemoModel, `,"user":"`+long+`"`)); a.StatusCode != 413 || errorCode(a) != "body_too_large" {
			t.Errorf("with a user of %d bytes = %d, want 413", len(long), a.StatusCode)
		}
	})
}

// A response that is more than readers may keep is refused for the time being,
// read or continued; what was kept of it is given back.
func TestResponseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxProjected: 20 << 10}})
		id := strings.TrimPrefix(r.create(`{"source":{"type":"text","text":"`+strings.Repeat("x", 30<<10)+`"}}`), "/v1/sessions/")
		time.Sleep(time.Second)
		for _, request := range [...][3]string{
			{"GET", "/v1/responses/" + id}, {"POST", "/v1/responses/" + id + "/cancel"},
			{"POST", "/v1/responses", response("demo", `,"previous_response_id":"`+id+`"`)},
			{"POST", "/v1/responses", `{"model":"demo","input":[{"type":"item_reference","id":"msg_` + id + `_0"}]}`},
		} {
			a := r.ask(request[0], request[1], request[2])
			if code := errorCode(a); a.StatusCode != http.StatusTooManyRequests || code != "overloaded" || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s %s = %d %s, want 429", request[0], request[1], a.StatusCode, code)
			}
		}
		if got, _ := r.scrape(); got["tokenrelay_projected_bytes"] != "0" {
			t.Errorf("%s bytes are kept, want 0", got["tokenrelay_projected_bytes"])
		}
	})
}

// In the background the generator takes its time, so that there is something to
// poll and to cancel; who waits for the whole does not wait for that.
func TestResponseDemoInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		w := world{relay: r}
		begun := time.Now()
		if _, got := w.response("POST", "/v1/responses", response("demo", "")); got.Status != "completed" || time.Since(begun) > time.Second {
			t.Errorf("who waits gets %s after %v, want completed at once", got.Status, time.Since(begun))
		}
		_, queued := w.response("POST", "/v1/responses", response("demo", `,"background":true`))
		time.Sleep(time.Second)
		_, polled := w.response("GET", "/v1/responses/"+queued.ID, "")
		if n := len(strings.Fields(polled.text())); polled.Status != "in_progress" || n == 0 || n > 40 {
			t.Errorf("after a second it is %s with %d words, want in_progress with some", polled.Status, n)
		}
		if _, cancelled := w.response("POST", "/v1/responses/"+queued.ID+"/cancel", ""); cancelled.Status != "cancelled" {
			t.Errorf("cancelled it is %s, want cancelled", cancelled.Status)
		}
	})
}
