package upstream

import (
	"encoding/json"
	"io"

	"tokenrelay/session"
)

// chat is OpenAI's chat completions
// (https://platform.openai.com/docs/api-reference/chat-streaming).
type chat struct {
	bearer
	sse
}

func (chat) path() string { return "/chat/completions" }

func (chat) continuation(string) session.Continuation { return session.ByMessage }

func (chat) fields(q question) (map[string]any, error) {
	fields := map[string]any{
		"model":          q.model,
		"messages":       q.withText(),
		"stream":         true,
		"stream_options": map[string]bool{"include_usage": true},
	}
	if q.by == session.ByPrefill {
		// Of vLLM, llama.cpp and SGLang; others answer 400.
		fields["continue_final_message"], fields["add_generation_prompt"] = true, false
	}
	return fields, nil
}

// maxChoices is how many choices of a chunk are read: nobody is asked for more
// than one.
const maxChoices = 2

// chatChunk is what is read of a chunk. Only the first choice is.
type chatChunk struct {
	Choices [maxChoices]struct {
		Index int `json:"index"`
		Delta struct {
			Content          json.RawMessage       `json:"content"`
			Refusal          json.RawMessage       `json:"refusal"`
			Reasoning        json.RawMessage       `json:"reasoning"`         // OpenRouter, newer vLLM
			ReasoningContent json.RawMessage       `json:"reasoning_content"` // DeepSeek, vLLM
			ToolCalls        bounded[chatToolCall] `json:"tool_calls"`
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

// chatReasons are those of providers that have words of their own.
var chatReasons = map[string]string{"function_call": "tool_calls", "eos": "stop", "end_turn": "stop"}

func (chat) read(body io.Reader, d *decoder) error {
	for event, err := range Events(body) {
		if err != nil {
			return err
		}
		if event.Data == "[DONE]" {
			if !d.finished {
				d.ends(session.ReasonStop, nil)
			}
			d.finish()
			return nil
		}
		if event.Name == "error" {
			return d.failure(json.RawMessage(event.Data))
		}
		if err := chatEvent(event.Data, d); err != nil || d.left {
			return err
		}
	}
	return io.ErrUnexpectedEOF
}

func chatEvent(data string, d *decoder) error {
	var chunk chatChunk
	if err := decodeEvent([]byte(data), &chunk); err != nil {
		return err
	}
	if given(chunk.Error) {
		return d.failure(chunk.Error)
	}
	d.extra(data)
	for _, choice := range chunk.Choices {
		if choice.Index != 0 {
			continue
		}
		if err := d.think(firstOf(choice.Delta.ReasoningContent, choice.Delta.Reasoning)); err != nil {
			return err
		}
		for _, text := range [...]json.RawMessage{choice.Delta.Content, choice.Delta.Refusal} {
			if err := d.text(text); err != nil {
				return err
			}
		}
		for _, call := range choice.Delta.ToolCalls {
			if err := d.call(call.Index, call.ID, call.Function.Name, call.Function.Arguments); err != nil {
				return err
			}
		}
		switch reason := choice.FinishReason; {
		case reason == nil || *reason == "": // some providers send "" until the end
		case *reason == "error":
			return d.failure(nil)
		default:
			d.ends(*reason, chatReasons)
		}
	}
	if u := chunk.Usage; u != nil {
		d.usage(u.Prompt, u.Completion)
	}
	return nil
}
