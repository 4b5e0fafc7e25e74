package upstreamtest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tokenrelay/session/upstream/upstreamtest"
)

// A client asks one provider.
type client struct {
	t    *testing.T
	http *http.Client
	base string
}

// overPipe returns a client for a synctest bubble, overTCP one for real time.
func overPipe(t *testing.T, p *upstreamtest.Provider) client {
	return newClient(t, "http://provider.test", p.Pipe(t))
}

func overTCP(t *testing.T, p *upstreamtest.Provider) client {
	return newClient(t, p.Listen(t), (&net.Dialer{}).DialContext)
}

func newClient(t *testing.T, base string, dial func(context.Context, string, string) (net.Conn, error)) client {
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return client{t, &http.Client{Transport: transport}, base}
}

// do asks; the answer ends with ctx, at the latest with the test.
func (c client) do(ctx context.Context, method, path, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the path is wrong
	}
	r.Header.Set("Authorization", "Bearer sk-1")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	answer, err := c.http.Do(r)
	if err == nil {
		c.t.Cleanup(func() { answer.Body.Close() })
	}
	return answer, err
}

// ask returns the status and what came of the body until err.
func (c client) ask(method, path, body string) (status int, got string, err error) {
	c.t.Helper()
	answer, err := c.do(c.t.Context(), method, path, body)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data), err
}

// A message of a conversation.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func user(content string) message      { return message{"user", content} }
func assistant(content string) message { return message{"assistant", content} }

var dialects = []upstreamtest.Dialect{upstreamtest.Chat, upstreamtest.Responses, upstreamtest.Messages, upstreamtest.Ollama}

// request is what d is asked with, as path and body.
func request(d upstreamtest.Dialect, messages ...message) (path, body string) {
	data, err := json.Marshal(messages)
	if err != nil {
		panic(err)
	}
	switch d {
	case upstreamtest.Chat:
		more := ""
		if messages[len(messages)-1].Role == "assistant" {
			more = `,"continue_final_message":true,"add_generation_prompt":false`
		}
		return "/v1/chat/completions", fmt.Sprintf(`{"model":"m","messages":%s,"stream":true,"stream_options":{"include_usage":true}%s}`, data, more)
	case upstreamtest.Responses:
		return "/v1/responses", fmt.Sprintf(`{"model":"m","input":%s,"stream":true}`, data)
	case upstreamtest.Messages:
		return "/v1/messages", fmt.Sprintf(`{"model":"m","messages":%s,"max_tokens":1000,"stream":true}`, data)
	}
	return "/api/chat", fmt.Sprintf(`{"model":"m","messages":%s}`, data)
}

// generate asks d for an answer to messages.
func (c client) generate(d upstreamtest.Dialect, messages ...message) (status int, got string, err error) {
	c.t.Helper()
	path, body := request(d, messages...)
	return c.ask("POST", path, body)
}

// chunks returns the JSON of the events of a stream.
func chunks(stream string) (found []string) {
	lines := bufio.NewScanner(strings.NewReader(stream))
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), "data: ")
		if strings.HasPrefix(line, "{") {
			found = append(found, line)
		}
	}
	return found
}

// textOf joins the pieces of the text. Their JSON is joined, since halves of
// characters come apart.
func textOf(t *testing.T, stream string) string {
	t.Helper()
	var raw strings.Builder
	add := func(piece json.RawMessage) {
		if len(piece) > 1 && piece[0] == '"' {
			raw.Write(piece[1 : len(piece)-1])
		}
	}
	for _, chunk := range chunks(stream) {
		var c struct {
			Type    string
			Choices []struct {
				Delta struct{ Content json.RawMessage }
			}
			Message json.RawMessage
			Delta   json.RawMessage
		}
		if err := json.Unmarshal([]byte(chunk), &c); err != nil {
			t.Fatalf("chunk %q: %v", chunk, err)
		}
		for _, choice := range c.Choices {
			add(choice.Delta.Content)
		}
		switch c.Type {
		case "":
			var message struct{ Content json.RawMessage }
			json.Unmarshal(c.Message, &message)
			add(message.Content)
		case "response.output_text.delta":
			add(c.Delta)
		case "content_block_delta":
			var delta struct{ Text json.RawMessage }
			json.Unmarshal(c.Delta, &delta)
			add(delta.Text)
		}
	}
	var text string
	if err := json.Unmarshal([]byte(`"`+raw.String()+`"`), &text); err != nil {
		t.Fatalf("joined text: %v", err)
	}
	return text
}

// start returns the first n characters of the answer to prompt.
func start(prompt string, n int) string { return string([]rune(upstreamtest.Text(prompt))[:n]) }

// names returns the types of the events of a stream, each once where several
// follow each other.
func names(t *testing.T, stream string) []string {
	t.Helper()
	var found []string
	for _, chunk := range chunks(stream) {
		var c struct{ Type string }
		if err := json.Unmarshal([]byte(chunk), &c); err != nil {
			t.Fatalf("chunk %q: %v", chunk, err)
		}
		found = append(found, c.Type)
	}
	return slices.Compact(found)
}
