package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"

	"tokenrelay/session"
)

// ollama is Ollama's chat (https://github.com/ollama/ollama/blob/main/docs/api.md).
type ollama struct{ bearer }

func (ollama) path() string { return "/api/chat" }

func (ollama) mediaType() string { return "application/x-ndjson" }

// An assistant's message at the end is the beginning of the answer, whatever
// the model.
func (ollama) continuation(string) session.Continuation { return session.ByPrefill }

// Tool calls and their results it takes in a form of its own: what the client
// gives is sent as it is, as are tools among the parameters.
func (ollama) fields(q question) (map[string]any, error) {
	messages := []message{} // an array even if empty
	for _, m := range q.withText() {
		if text, ok := m.joined(); ok {
			m = maps.Clone(m)
			m["content"] = jsonString(text)
		} else if bytes.HasPrefix(m["content"], []byte("[")) {
			return nil, &session.InvalidError{Field: "source.messages", Reason: "has a part that is no text, which Ollama does not take: give images in the message's field images"}
		}
		messages = append(messages, m)
	}
	return map[string]any{"model": q.model, "messages": messages, "stream": true}, nil
}

// An ollamaChunk is what is read of a line.
type ollamaChunk struct {
	Message struct {
		Content   json.RawMessage         `json:"content"`
		Thinking  json.RawMessage         `json:"thinking"`
		Reasoning json.RawMessage         `json:"reasoning_content"` // of others that speak its protocol
		ToolCalls bounded[ollamaToolCall] `json:"tool_calls"`
	} `json:"message"`
	Done       bool            `json:"done"`
	DoneReason string          `json:"done_reason"`
	Input      *int64          `json:"prompt_eval_count"` // missing if all of it was cached
	Output     *int64          `json:"eval_count"`
	Error      json.RawMessage `json:"error"`
}

type ollamaToolCall struct {
	ID       string `json:"id"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// ollamaCallReasons are those of an answer with tool calls, for which it has no
// word of its own.
var ollamaCallReasons = map[string]string{"stop": "tool_calls"}

func (ollama) read(body io.Reader, d *decoder) error {
	calls := 0
	for line, err := range jsonLines(body) {
		if err != nil {
			return err
		}
		var chunk ollamaChunk
		if err := decodeEvent(line, &chunk); err != nil {
			return err
		}
		if given(chunk.Error) {
			return d.failure(chunk.Error)
		}
		if err := d.think(firstOf(chunk.Message.Thinking, chunk.Message.Reasoning)); err != nil {
			return err
		}
		if err := d.text(chunk.Message.Content); err != nil {
			return err
		}
		for _, call := range chunk.Message.ToolCalls {
			id := cmp.Or(call.ID, fmt.Sprintf("call_%d", calls))
			if err := d.call(calls, id, call.Function.Name, wholeArguments(call.Function.Arguments)); err != nil {
				return err
			}
			calls++
		}
		if chunk.Done {
			d.usage(chunk.Input, chunk.Output)
			var reasons map[string]string
			if calls > 0 {
				reasons = ollamaCallReasons
			}
			d.ends(cmp.Or(chunk.DoneReason, session.ReasonStop), reasons)
			d.finish()
			return nil
		}
		if d.left {
			return nil
		}
	}
	return io.ErrUnexpectedEOF
}

// wholeArguments makes a JSON string of arguments that are JSON themselves.
func wholeArguments(raw json.RawMessage) json.RawMessage {
	switch {
	case !given(raw):
		raw = json.RawMessage("{}")
	case raw[0] == '"':
		return raw
	}
	return jsonString(string(raw))
}

// jsonLines reads lines of JSON, and ends as Events does. A last line that
// nothing ends is one only if its JSON is whole.
func jsonLines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxEvent)
		split := splitLines()
		lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
			advance, line, err := split(data, atEOF)
			if atEOF && line == nil && advance == len(data) && json.Valid(data) {
				line = data
			}
			return advance, line, err
		})
		for lines.Scan() {
			if len(lines.Bytes()) > 0 && !yield(lines.Bytes(), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, err)
		}
	}
}
