package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// sessionOf is the id of the session that an answer names.
func sessionOf(a answer) string { return a.Header.Get("X-Tokenrelay-Session") }

// A chat completion goes on behind any of its chunks, and says where there is
// nothing more.
func TestChatCursors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: told{deltas: []session.Delta{
			thinks("hm"), says("Hel"), says("lo"), costs(1, 2), ends("stop"),
		}}}})
		a := r.ask("POST", "/v1/chat/completions", completion("m", streamed+withUsage))
		whole := split(canonical(t, a.Body))
		path := "/v1/chat/completions/chatcmpl-" + sessionOf(a) + "?stream=true"
		last := len(whole) - 2 // before the farewell
		for k := 0; k <= last; k++ {
			got := canonical(t, r.ask("GET", fmt.Sprintf("%s&starting_after=%d", path, k), "").Body)
			if want := strings.Join(whole[k+1:], ""); got != want {
				t.Errorf("after %d: %s, want %s", k, got, want)
			}
			if k == last {
				break
			}
			got = canonical(t, r.ask("GET", path, "", fmt.Sprintf("Last-Event-ID: %d", k)).Body)
			if want := strings.Join(whole[k+1:], ""); got != want {
				t.Errorf("behind Last-Event-ID %d: %s, want %s", k, got, want)
			}
		}
		if got, want := canonical(t, r.ask("GET", path, "").Body), strings.Join(whole, ""); got != want {
			t.Errorf("all = %s, want %s", got, want)
		}
		if got, want := whole[last+1], "data: [DONE]\n\n"; got != want {
			t.Errorf("farewell = %q, want %q", got, want)
		}
		if status, body := r.do("GET", path, "", fmt.Sprintf("Last-Event-ID: %d", last)); status != http.StatusNoContent {
			t.Errorf("Last-Event-ID at the end = %d %s, want 204", status, body)
		}
		if status, body := r.do("GET", fmt.Sprintf("%s&starting_after=%d", path, last+1), ""); status != 416 || !strings.Contains(body, `"code":"cursor_ahead"`) {
			t.Errorf("beyond the end = %d %s, want 416 cursor_ahead", status, body)
		}
		// EventSource repeats its URL: the header is newer.
		got := canonical(t, r.ask("GET", path+"&starting_after=0", "", "Last-Event-ID: 2").Body)
		if want := strings.Join(whole[3:], ""); got != want {
			t.Errorf("with two cursors = %s, want %s", got, want)
		}
	})
}

// Who does not stream waits for the whole, as long as it takes; who leaves
// stops nothing.
func TestChatWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{WriteTimeout: time.Second}})
		slowly := completion("demo", `,"tokenrelay":{"unit":"word","rate":10,"length":100}`)
		began := time.Now()
		a := r.ask("POST", "/v1/chat/completions", slowly)
		var got struct {
			Object  string
			Choices []struct {
				Message      struct{ Role, Content string }
				FinishReason string `json:"finish_reason"`
			}
		}
		if err := json.NewDecoder(a.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("100 words at 10 a second took %v", took)
		}
		_, want := r.do("GET", "/v1/sessions/"+sessionOf(a)+"/text", "")
		if len(got.Choices) != 1 || got.Choices[0].Message.Content != want || got.Choices[0].FinishReason != "stop" || got.Object != "chat.completion" {
			t.Errorf("completion = %+v, want %q", got, want)
		}

		conn := r.dial()
		go func() {
			time.Sleep(time.Second)
			conn.Close()
		}()
		if a, err := r.askOn(conn, "POST", "/v1/chat/completions", slowly); err == nil {
			t.Fatalf("an answer to who left: %v", a.Status)
		}
		_, listed := r.do("GET", "/v1/sessions?limit=1", "")
		var sessions struct{ Sessions []struct{ ID, State string } }
		if err := json.Unmarshal([]byte(listed), &sessions); err != nil || sessions.Sessions[0].State != "running" {
			t.Fatalf("after its reader left: %s (%v), want one that runs", listed, err)
		}
		path := "/v1/chat/completions/" + sessions.Sessions[0].ID // with and without the prefix
		if status, body := r.do("GET", path, ""); status != http.StatusConflict || !strings.Contains(body, `"code":"session_not_ended"`) {
			t.Errorf("the whole of what still runs = %d %s, want 409 session_not_ended", status, body)
		}
		time.Sleep(time.Minute)
		if status, body := r.do("GET", path, ""); status != http.StatusOK || !strings.Contains(body, quote(want)[1:20]) {
			t.Errorf("the whole = %d %s, want 200 and the text", status, body)
		}
	})
}

// An answer that broke off is an error, which no client should repeat, whatever
// the code of its failure would be elsewhere.
func TestChatFailure(t *testing.T) {
	for _, code := range []string{"upstream_truncated", session.CodeStoreFull} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{session: session.Options{Upstreams: told{
				deltas: []session.Delta{says("Hel")}, err: &session.Failure{Code: code, Message: "broke off"},
			}}})
			a := r.ask("POST", "/v1/chat/completions", completion("m", ""))
			body, _ := io.ReadAll(a.Body)
			want := `{"error":{"message":"broke off","type":"server_error","param":null,"code":"` + code + `"}}` + "\n"
			if a.StatusCode != http.StatusBadGateway || string(body) != want {
				t.Errorf("answer = %d %s, want 502 %s", a.StatusCode, body, want)
			}
			if got, after := a.Header.Get("X-Should-Retry"), a.Header.Get("Retry-After"); got != "false" || after != "" {
				t.Errorf("X-Should-Retry, Retry-After = %q, %q, want false and none", got, after)
			}
		})
	}
}

// A create with a key happens once; its repeat gets the same chunks, or those
// that the client lacks.
func TestChatRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		body := completion("demo", streamed+`,"tokenrelay":{"unit":"word","length":30}`)
		first := r.ask("POST", "/v1/chat/completions", body, "Idempotency-Key: k")
		whole := split(canonical(t, first.Body))
		again := r.ask("POST", "/v1/chat/completions", body, "Idempotency-Key: k")
		if got := split(canonical(t, again.Body)); !slices.Equal(got, whole) || sessionOf(again) != sessionOf(first) || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("repeat = %v of %s, replayed %q, want %v of %s", got, sessionOf(again), again.Header.Get("Idempotent-Replayed"), whole, sessionOf(first))
		}
		rest := r.ask("POST", "/v1/chat/completions", body, "Idempotency-Key: k", "Last-Event-ID: 4")
		if got := split(canonical(t, rest.Body)); !slices.Equal(got, whole[5:]) {
			t.Errorf("repeat behind 4 = %v, want %v", got, whole[5:])
		}
		for name, test := range map[string]struct {
			body, key string
			status    int
			code      string
		}{
			"another body":           {completion("demo", streamed), "Idempotency-Key: k", 409, "idempotency_key_reused"},
			"a cursor without a key": {body, "X: y", 400, "malformed_cursor"},
			"a cursor of another":    {body, "Idempotency-Key: other", 416, "cursor_ahead"},
		} {
			status, got := r.do("POST", "/v1/chat/completions", test.body, test.key, "Last-Event-ID: 4")
			if status != test.status || !strings.Contains(got, `"code":"`+test.code+`"`) {
				t.Errorf("%s: %d %s, want %d %s", name, status, got, test.status, test.code)
			}
		}
	})
}

// Sessions are the same whichever protocol made them.
func TestChatAcrossProtocols(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		a := r.ask("POST", "/v1/chat/completions", completion("demo", streamed+withUsage+`,"seed":-7,"tokenrelay":{"metadata":{"chat":"42"}}`))
		chunks := canonical(t, a.Body)
		id := sessionOf(a)
		var text strings.Builder
		follow(r.ask("GET", "/v1/sessions/"+id+"/events", "").Body, func(e upstream.Event) bool {
			text.WriteString(textOf(e))
			return false
		})
		if got, want := contents(chunks), text.String(); got != want || want == "" {
			t.Errorf("text as chunks = %q, natively %q", got, want)
		}
		if _, state := r.do("GET", "/v1/sessions/"+id, ""); !strings.Contains(state, `"metadata":{"chat":"42"}`) {
			t.Errorf("state = %s, want the metadata", state)
		}
		if status, response := r.do("GET", "/v1/responses/resp_"+id, ""); status != http.StatusOK || !strings.Contains(response, quote(text.String())) {
			t.Errorf("as a response: %d %s, want %q", status, response, text.String())
		}

		push := r.create(pushLines)
		r.do("POST", push+"/append", `{"text":"one\ntwo"}`)
		r.do("POST", push+"/append", `{"event":"message","data":{}}`)
		r.do("POST", push+"/pause", "")
		r.do("POST", push+"/resume", "")
		r.do("POST", push+"/finish", "")
		chunks = canonical(t, r.ask("GET", strings.Replace(push, "/v1/sessions/", "/v1/chat/completions/chatcmpl-", 1)+"?stream=true", "").Body)
		if got, want := contents(chunks), "one\ntwo"; got != want || strings.Contains(chunks, "usage") || !strings.Contains(chunks, `"finish_reason":"stop"}]}`+"\n\ndata: [DONE]") {
			t.Errorf("chunks of a push = %s, want %q, stop and no usage", chunks, want)
		}
	})
}

// contents joins the text of chunks.
func contents(stream string) string {
	var text strings.Builder
	for _, event := range split(stream) {
		_, data, _ := strings.Cut(event, "data: ")
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if json.Unmarshal([]byte(data), &chunk) == nil && len(chunk.Choices) > 0 {
			text.WriteString(chunk.Choices[0].Delta.Content)
		}
	}
	return text.String()
}

// What the relay does not know of a request is for the provider.
func TestChatParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{Protocol: upstream.Chat})
		status, body := b.do("POST", "/v1/chat/completions", completion("m", withUsage+`,"n":1,"stream":null,"seed":3,"temperature":0.5,"functions":[{"name":"f"}],"function_call":"auto","theirs":{"a":[1]}`))
		if status != http.StatusOK {
			t.Fatalf("answer = %d %s", status, body)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(b.next().Body, &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"seed": "3", "temperature": "0.5", "functions": `[{"name":"f"}]`, "function_call": `"auto"`, "theirs": `{"a":[1]}`,
			"model": `"m"`, "messages": `[{"content":"tides","role":"user"}]`, "stream": "true", "n": "", "tokenrelay": "",
		} {
			if string(got[name]) != want {
				t.Errorf("%s = %s, want %s", name, got[name], want)
			}
		}
	})
}

// What a provider that speaks chat completions sends of its own comes back, as
// it does without the relay; of one that speaks another protocol there is none.
func TestChatProvidersOwnFields(t *testing.T) {
	for protocol, want := range map[upstream.Protocol]int{upstream.Chat: 1, upstream.Anthropic: 0} {
		synctest.Test(t, func(t *testing.T) {
			b := startUpstreamRelay(t, options{}, upstream.Config{Protocol: protocol})
			answer := tokens(3)
			answer.Extra = upstreamtest.Extra{Chunk: `"system_fingerprint":"fp"`, Choice: `"logprobs":{"content":[7]}`, Delta: `"annotations":["a"]`, Usage: `"cost":0.5`}
			b.provider.Script("tides", answer)
			a := b.ask("POST", "/v1/chat/completions", completion("m", streamed+withUsage))
			chunks := canonical(t, a.Body)
			for sent, n := range map[string]int{
				`,"system_fingerprint":"fp","choices":`: 5, `"annotations":["a"]},"finish_reason":null,"logprobs":{"content":[7]}}]}`: 3, `"cost":0.5}}`: 1,
			} {
				if got := strings.Count(chunks, sent); got != n*want {
					t.Errorf("%s: %s is there %d times, want %d, in %s", protocol, sent, got, n*want, chunks)
				}
			}
			_, whole := b.do("GET", "/v1/chat/completions/"+sessionOf(a), "")
			for _, sent := range []string{`,"system_fingerprint":"fp","choices":`, `"annotations":["a","a","a"]},`, `"logprobs":{"content":[7,7,7]}}]`, `"cost":0.5}}`} {
				if got := strings.Count(whole, sent); got != want {
					t.Errorf("%s: %s is there %d times, want %d, in %s", protocol, sent, got, want, whole)
				}
			}
		})
	}
}

// Deleting is final, and answered as OpenAI does.
func TestChatDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: told{deltas: []session.Delta{says("Hel")}, hangs: true}}})
		a := r.ask("POST", "/v1/chat/completions", completion("m", streamed))
		time.Sleep(time.Second)
		path := "/v1/chat/completions/chatcmpl-" + sessionOf(a)
		status, body := r.do("DELETE", path+"?api-version=1", "")
		if want := `{"id":"chatcmpl-` + sessionOf(a) + `","object":"chat.completion.deleted","deleted":true}` + "\n"; status != http.StatusOK || body != want {
			t.Errorf("DELETE = %d %s, want 200 %s", status, body, want)
		}
		if got := canonical(t, a.Body); !strings.Contains(got, `"code":"stopped"`) || strings.Contains(got, "[DONE]") {
			t.Errorf("its stream = %s, want it to end as stopped", got)
		}
		for query, want := range map[string]string{"": "404 session_not_found", "?stream=true": "404 session_not_found", "?stream=true&starting_after=1": "400 cursor_expired"} {
			status, body := r.do("GET", path+query, "")
			var got struct{ Error struct{ Code string } }
			json.Unmarshal([]byte(body), &got)
			if got := fmt.Sprint(status, " ", got.Error.Code); got != want {
				t.Errorf("GET %s after it = %s, want %s", query, got, want)
			}
		}
		if status, _ := r.do("DELETE", path, ""); status != http.StatusNotFound {
			t.Errorf("DELETE again = %d, want 404", status)
		}
	})
}
