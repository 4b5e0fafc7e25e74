package upstream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tokenrelay/session"
)

const (
	// maxErrorBody is how much of an error answer is read, in bytes.
	maxErrorBody = 64 << 10

	// maxErrorMessage is how much of a provider's message is shown, in bytes.
	maxErrorMessage = 1 << 10

	// maxArguments is how much of a tool call's arguments one delta carries,
	// in bytes; JSON may take six for each.
	maxArguments = 8 << 10

	// afterFinish is how long a stream that has told its finish reason may
	// take to end.
	afterFinish = 5 * time.Second
)

// A chat is one generation by OpenAI's chat completions protocol.
type chat struct {
	set      *Set
	provider provider
	body     []byte
}

func (s *Set) newChat(p provider, model string, messages json.RawMessage) (*chat, error) {
	type streamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	}
	body, err := json.Marshal(struct {
		Model         string          `json:"model"`
		Messages      json.RawMessage `json:"messages"`
		Stream        bool            `json:"stream"`
		StreamOptions streamOptions   `json:"stream_options"`
	}{model, messages, true, streamOptions{true}})
	return &chat{set: s, provider: p, body: body}, err
}

var (
	// errIdle is the cause of a context that fell silent.
	errIdle = errors.New("silent for too long")
	// errLate is the cause of a context whose answer did not begin in time.
	errLate = errors.New("no answer in time")
	// errNoAnswer reports a connection that ended before an answer began.
	errNoAnswer = errors.New("no answer")
)

// Deltas asks the provider and yields what it streams. It can only start at 0.
func (c *chat) Deltas(ctx context.Context, from int64) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		if from != 0 {
			yield(session.Delta{}, session.ErrNotContinuable)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		d := &chatDecoder{yield: yield, failed: c.reported}
		err := c.stream(ctx, cancel, d)
		if err != nil && !d.left {
			yield(session.Delta{}, c.failure(ctx, err))
		}
	}
}

// stream feeds d until the stream has come to its end, or says why it did not.
func (c *chat) stream(ctx context.Context, cancel context.CancelCauseFunc, d *chatDecoder) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.provider.BaseURL+"/chat/completions", bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("User-Agent", "tokenrelay")
	if c.provider.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.provider.key)
	}
	// The transport's own limits leave out the sending of the request.
	answer := time.AfterFunc(c.set.opts.Connect+c.set.opts.Header, func() { cancel(errLate) })
	response, err := c.set.client.Do(request)
	answer.Stop()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer response.Body.Close()
	idle := time.AfterFunc(c.set.opts.Idle, func() { cancel(errIdle) })
	defer idle.Stop()
	if response.StatusCode != http.StatusOK {
		return c.errorAnswer(response)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "text/event-stream" {
		return &session.Failure{Code: CodeMalformed, Message: fmt.Sprintf("the provider answered with %q instead of a stream", kind)}
	}
	var farewell *time.Timer // ends the stream some time after its finish reason
	for event, err := range Events(response.Body) {
		// What takes the deltas may wait for long: that is not the provider's silence.
		idle.Stop()
		if err != nil {
			if d.finished {
				break // whole: only its farewell is missing
			}
			return err
		}
		if event.Data == "[DONE]" {
			d.finish()
			return nil
		}
		if event.Name == "error" {
			return c.reported(json.RawMessage(event.Data))
		}
		if err := d.take(event.Data); err != nil {
			return err
		}
		if d.left {
			return nil
		}
		idle.Reset(c.set.opts.Idle)
		if d.finished && farewell == nil {
			farewell = time.AfterFunc(afterFinish, func() { cancel(errIdle) })
			defer farewell.Stop()
		}
	}
	if !d.finished {
		return &session.Failure{Code: CodeTruncated, Message: "the provider's stream ended before its end marker"}
	}
	d.finish()
	return nil
}

// failure says what broke the stream, in words for clients. What they are not
// told is logged.
func (c *chat) failure(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*session.Failure](err); ok {
		return err
	}
	cause := context.Cause(ctx)
	idle, late := errors.Is(cause, errIdle), errors.Is(cause, errLate)
	if cause != nil && !idle && !late {
		return cause
	}
	c.set.opts.Logger.Warn("upstream broke", "upstream", c.provider.Name, "error", err)
	var network net.Error
	var dial *net.OpError
	switch {
	case idle:
		return &session.Failure{Code: CodeIdle, Message: fmt.Sprintf("the provider sent nothing for %v", c.set.opts.Idle)}
	case late, errors.Is(err, errNoAnswer) && errors.As(err, &network) && network.Timeout() && !(errors.As(err, &dial) && dial.Op == "dial"):
		return &session.Failure{Code: CodeTimeout, Message: "the provider did not answer in time"}
	case errors.Is(err, errNoAnswer):
		return &session.Failure{Code: CodeUnreachable, Message: "the provider cannot be reached"}
	}
	return &session.Failure{Code: CodeTruncated, Message: "the provider's stream broke off"}
}

// errorAnswer makes a failure of an answer that is no stream.
func (c *chat) errorAnswer(response *http.Response) *session.Failure {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	message := c.errorMessage(body, http.StatusText(response.StatusCode))
	switch response.StatusCode {
	case http.StatusTooManyRequests:
		return &session.Failure{Code: CodeRateLimited, Message: message}
	case http.StatusUnauthorized, http.StatusForbidden:
		// Providers repeat parts of the key.
		return &session.Failure{Code: CodeUnauthorized, Message: "the provider refused the relay's key"}
	}
	return &session.Failure{Code: CodeError, Message: fmt.Sprintf("%d: %s", response.StatusCode, message)}
}

// reported makes a failure of an error within a stream.
func (c *chat) reported(raw json.RawMessage) *session.Failure {
	return &session.Failure{Code: CodeError, Message: c.errorMessage(raw, "the provider reported an error")}
}

// errorMessage reads the message of an error: {"error":…} around an object
// with a message or, with some providers, a string; or either of these alone.
// It returns otherwise if there is none.
func (c *chat) errorMessage(raw json.RawMessage, otherwise string) string {
	var outer struct{ Error json.RawMessage }
	if json.Unmarshal(raw, &outer) == nil && len(outer.Error) > 0 {
		raw = outer.Error
	}
	var object struct{ Message string }
	var text string
	if json.Unmarshal(raw, &object) != nil {
		json.Unmarshal(raw, &text)
	}
	message := cmp.Or(object.Message, text, otherwise)
	if c.provider.key != "" {
		message = strings.ReplaceAll(message, c.provider.key, "…")
	}
	if len(message) > maxErrorMessage {
		message = message[:cutAt(message, maxErrorMessage)] + "…"
	}
	return message
}

// A chatDecoder turns chunks of a chat completion into deltas.
type chatDecoder struct {
	yield     func(session.Delta, error) bool
	failed    func(json.RawMessage) *session.Failure // makes a failure of a chunk's error
	left      bool                                   // yield wants no more
	finished  bool                                   // the finish reason has come
	reason    string
	text      halves
	reasoning halves
	arguments map[int]*halves // of each tool call
}

// chatChunk is what is read of a chunk. Only the first choice is.
type chatChunk struct {
	Choices []struct {
		Index int `json:"index"`
		Delta struct {
			Content          json.RawMessage `json:"content"`
			Reasoning        json.RawMessage `json:"reasoning"`         // OpenRouter, newer vLLM
			ReasoningContent json.RawMessage `json:"reasoning_content"` // DeepSeek, vLLM
			ToolCalls        []chatToolCall  `json:"tool_calls"`
		} `json:"delta"`
		FinishReason *string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     *int64 `json:"prompt_tokens"`
		Completion *int64 `json:"completion_tokens"`
	} `json:"usage"`
	Error json.RawMessage `json:"error"`
}

type chatToolCall struct {
	Index    int    `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// take yields the deltas of one chunk.
func (d *chatDecoder) take(data string) error {
	var chunk chatChunk
	if err := json.Unmarshal([]byte(data), &chunk); err != nil {
		return &session.Failure{Code: CodeMalformed, Message: "the provider sent a chunk that is not JSON of its protocol"}
	}
	if len(chunk.Error) > 0 && string(chunk.Error) != "null" {
		return d.failed(chunk.Error)
	}
	for _, choice := range chunk.Choices {
		if choice.Index != 0 {
			continue
		}
		reasoning := choice.Delta.ReasoningContent
		if s := string(reasoning); s == "" || s == "null" || s == `""` {
			reasoning = choice.Delta.Reasoning
		}
		if err := d.string(session.DeltaReasoning, &d.reasoning, reasoning); err != nil {
			return err
		}
		if err := d.string(session.DeltaText, &d.text, choice.Delta.Content); err != nil {
			return err
		}
		for _, call := range choice.Delta.ToolCalls {
			if err := d.toolCall(call); err != nil {
				return err
			}
		}
		switch reason := choice.FinishReason; {
		case reason == nil || *reason == "": // some providers send "" until the end
		case *reason == "error":
			return d.failed(nil)
		default:
			d.finished, d.reason = true, *reason
		}
	}
	if u := chunk.Usage; u != nil {
		d.send(session.Delta{Kind: session.DeltaUsage, Usage: session.Usage{Input: u.Prompt, Output: u.Completion, Source: session.UsageReported}})
	}
	return nil
}

func (d *chatDecoder) string(kind session.DeltaKind, of *halves, raw json.RawMessage) error {
	text, err := of.decode(raw)
	if err != nil {
		return &session.Failure{Code: CodeMalformed, Message: "the provider sent a chunk whose text is not a string"}
	}
	if text != "" {
		if kind == session.DeltaText {
			d.endReasoning()
		}
		d.send(session.Delta{Kind: kind, Text: text})
	}
	return nil
}

func (d *chatDecoder) endReasoning() {
	if rest := d.reasoning.end(); rest != "" {
		d.send(session.Delta{Kind: session.DeltaReasoning, Text: rest})
	}
}

func (d *chatDecoder) toolCall(call chatToolCall) error {
	if d.arguments == nil {
		d.arguments = make(map[int]*halves)
	}
	of := d.arguments[call.Index]
	if of == nil {
		of = new(halves)
		d.arguments[call.Index] = of
	}
	arguments, err := of.decode(call.Function.Arguments)
	if err != nil {
		return &session.Failure{Code: CodeMalformed, Message: "the provider sent a tool call whose arguments are not a string"}
	}
	for first := true; first || arguments != ""; first = false {
		piece := arguments[:cutAt(arguments, maxArguments)]
		arguments = arguments[len(piece):]
		d.sendToolCall(call.Index, call.ID, call.Function.Name, piece)
		call.ID, call.Function.Name = "", ""
	}
	return nil
}

func (d *chatDecoder) sendToolCall(index int, id, name, arguments string) {
	data, err := json.Marshal(struct {
		Index     int    `json:"index"`
		ID        string `json:"id,omitempty"`
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	}{index, id, name, arguments})
	if err != nil {
		panic(err) // strings and numbers only
	}
	d.send(session.Delta{Kind: session.DeltaToolCall, Data: data})
}

// cutAt is where the last character ends that fits into the first n bytes.
func cutAt(s string, n int) int {
	if len(s) <= n {
		return len(s)
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

// finish yields what was held back, and the end.
func (d *chatDecoder) finish() {
	d.endReasoning()
	if rest := d.text.end(); rest != "" {
		d.send(session.Delta{Kind: session.DeltaText, Text: rest})
	}
	for _, index := range slices.Sorted(maps.Keys(d.arguments)) {
		if rest := d.arguments[index].end(); rest != "" {
			d.sendToolCall(index, "", "", rest)
		}
	}
	d.send(session.Delta{Kind: session.DeltaFinish, Reason: cmp.Or(d.reason, session.ReasonStop)})
}

func (d *chatDecoder) send(delta session.Delta) {
	if !d.left {
		d.left = !d.yield(delta, nil)
	}
}
