package upstream

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"regexp"

	"tokenrelay/session"
)

// anthropic is Anthropic's Messages
// (https://docs.anthropic.com/en/docs/build-with-claude/streaming).
type anthropic struct{ sse }

func (anthropic) path() string { return "/messages" }

func (anthropic) authorize(h http.Header, key string) { h.Set("X-Api-Key", key) }

func (anthropic) version(h http.Header) { h.Set("Anthropic-Version", "2023-06-01") }

// modest are the models up to 3, which write 4096 tokens at most.
var modest = regexp.MustCompile(`^claude-(2|instant|3-(opus|sonnet|haiku))\b`)

// presets has a bound that the provider requires, and that the model can do
// (https://platform.claude.com/docs/en/about-claude/models/overview).
func (anthropic) presets(model string) map[string]json.RawMessage {
	most := json.RawMessage("8192") // that of 3.5; later models could do more
	if modest.MatchString(model) {
		most = json.RawMessage("4096")
	}
	return map[string]json.RawMessage{"max_tokens": most}
}

// prefilled are the models that take a prefill: those up to 4.5. From 4.6 on
// they answer 400 (https://platform.claude.com/docs/en/api/errors, under
// validation errors, and .../docs/en/build-with-claude/streaming, under error
// recovery). A model that is guessed wrong to be one costs one request that is
// refused; one that is guessed wrong to be none is asked by a message.
var prefilled = regexp.MustCompile(`^claude-((2|instant|3)\b.*|[a-z]+-4([-.][015])?([-@][0-9]{8})?)$`)

func (anthropic) continuation(model string) session.Continuation {
	if prefilled.MatchString(model) {
		return session.ByPrefill
	}
	return session.ByMessage
}

func (anthropic) fields(q question) (map[string]any, error) {
	if err := checkParts(q.messages); err != nil {
		return nil, err
	}
	others, system, err := splitSystem(q.withText())
	if err != nil {
		return nil, err
	}
	messages, err := anthropicMessages(others)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{"model": q.model, "messages": messages, "stream": true}
	if system != nil {
		fields["system"] = system
	}
	return fields, nil
}

// An anthropicEvent is what is read of an event.
type anthropicEvent struct {
	Type    string `json:"type"`
	Index   int    `json:"index"` // of the content block
	Message struct {
		Usage anthropicUsage `json:"usage"`
	} `json:"message"`
	Block struct {
		Type     string          `json:"type"`
		ID       string          `json:"id"`
		Name     string          `json:"name"`
		Text     json.RawMessage `json:"text"`
		Thinking json.RawMessage `json:"thinking"`
	} `json:"content_block"`
	Delta struct {
		Text       json.RawMessage `json:"text"`
		Thinking   json.RawMessage `json:"thinking"`
		Arguments  json.RawMessage `json:"partial_json"`
		StopReason string          `json:"stop_reason"`
	} `json:"delta"`
	Usage anthropicUsage  `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// An anthropicUsage is what was counted so far. The prompt is in three parts.
type anthropicUsage struct {
	Input         *int64 `json:"input_tokens"`
	CacheCreation *int64 `json:"cache_creation_input_tokens"`
	CacheRead     *int64 `json:"cache_read_input_tokens"`
	Output        *int64 `json:"output_tokens"`
}

// or returns u with what other has where u has nothing.
func (u anthropicUsage) or(other anthropicUsage) anthropicUsage {
	return anthropicUsage{
		Input:         cmp.Or(u.Input, other.Input),
		CacheCreation: cmp.Or(u.CacheCreation, other.CacheCreation),
		CacheRead:     cmp.Or(u.CacheRead, other.CacheRead),
		Output:        cmp.Or(u.Output, other.Output),
	}
}

// prompt is the whole of it.
func (u anthropicUsage) prompt() *int64 {
	if u.Input == nil {
		return nil
	}
	sum := *u.Input
	for _, part := range []*int64{u.CacheCreation, u.CacheRead} {
		if part != nil {
			sum += *part
		}
	}
	return &sum
}

// anthropicReasons are its words for the reason of the end.
var anthropicReasons = map[string]string{
	"end_turn":                      "stop",
	"stop_sequence":                 "stop",
	"max_tokens":                    "length",
	"model_context_window_exceeded": "length",
	"tool_use":                      "tool_calls",
	"refusal":                       "content_filter",
}

// An anthropicStream decodes one answer.
type anthropicStream struct {
	*decoder
	counted anthropicUsage
	typed   bool         // there was an event with a type
	tools   map[int]bool // content blocks that call a tool of the client; true once they have arguments
}

func (anthropic) read(body io.Reader, d *decoder) error {
	s := anthropicStream{decoder: d, tools: make(map[int]bool)}
	for event, err := range Events(body) {
		if err != nil {
			return err
		}
		if whole, err := s.event(event); err != nil || whole || d.left {
			return err
		}
	}
	return io.ErrUnexpectedEOF
}

// event reports whether the answer has come to its end.
func (s *anthropicStream) event(e Event) (whole bool, err error) {
	if e.Name == "error" {
		return false, s.failure(json.RawMessage(e.Data))
	}
	var event anthropicEvent
	if err := decodeEvent([]byte(e.Data), &event); err != nil {
		return false, err
	}
	kind := cmp.Or(event.Type, e.Name)
	untyped := kind == "" && !s.typed
	s.typed = !untyped
	switch kind {
	case "message_start":
		s.counted = event.Message.Usage
		s.usage(s.counted.prompt(), nil) // of the output there is nothing yet
	case "content_block_start":
		err = s.blockBegins(event)
	case "content_block_delta":
		err = s.blockGoesOn(event)
	case "content_block_stop":
		if filled, tool := s.tools[event.Index]; tool && !filled {
			err = s.call(event.Index, "", "", jsonString("{}"))
		}
	case "message_delta":
		if reason := event.Delta.StopReason; reason != "" {
			s.ends(reason, anthropicReasons)
		}
		if event.Usage != (anthropicUsage{}) {
			s.counted = event.Usage.or(s.counted)
			s.usage(s.counted.prompt(), event.Usage.Output)
		}
	case "message_stop":
		if !s.finished {
			s.ends(session.ReasonStop, nil)
		}
		s.finish()
		return true, nil
	case "error":
		err = s.failure(json.RawMessage(e.Data))
	case "":
		switch {
		case filled(event.Error):
			err = s.failure(json.RawMessage(e.Data))
		case untyped:
			err = errUntyped
		}
	}
	return false, err
}

// blockBegins begins a content block. Tools that the provider calls itself are
// nothing to the client, nor is what they answer.
func (s *anthropicStream) blockBegins(event anthropicEvent) error {
	if s.finished {
		return nil
	}
	switch event.Block.Type {
	case "text":
		return s.text(event.Block.Text)
	case "thinking":
		return s.think(event.Block.Thinking)
	case "tool_use":
		s.tools[event.Index] = false
		return s.call(event.Index, event.Block.ID, event.Block.Name, nil)
	}
	return nil
}

// blockGoesOn takes the kinds of deltas that are known; each has its own field.
func (s *anthropicStream) blockGoesOn(event anthropicEvent) error {
	if err := s.think(event.Delta.Thinking); err != nil {
		return err
	}
	if err := s.text(event.Delta.Text); err != nil {
		return err
	}
	if _, tool := s.tools[event.Index]; tool && len(event.Delta.Arguments) > len(`""`) {
		s.tools[event.Index] = true
		return s.call(event.Index, "", "", event.Delta.Arguments)
	}
	return nil
}
