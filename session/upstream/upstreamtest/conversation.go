package upstreamtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// A body is what is read of a request's, in any dialect.
type body struct {
	Model        string          `json:"model"`
	Messages     []message       `json:"messages"`
	Input        json.RawMessage `json:"input"`        // Responses
	Instructions string          `json:"instructions"` // Responses
	System       content         `json:"system"`       // Messages
	Stream       *bool           `json:"stream"`       // Ollama streams unless it is false
	Background   bool            `json:"background"`
	MaxTokens    int             `json:"max_tokens"`

	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	ContinueFinalMessage bool  `json:"continue_final_message"` // vLLM
	AddGenerationPrompt  *bool `json:"add_generation_prompt"`  // vLLM, true by default
}

type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
	Prefix  bool    `json:"prefix"` // Mistral, DeepSeek
}

// A content is the text of a string, or of the parts of an array.
type content string

func (c *content) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*c = content(text)
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	err := json.Unmarshal(data, &parts)
	*c = ""
	for _, p := range parts {
		*c += content(p.Text)
	}
	return err
}

// parse reads the body of a request of dialect d.
func (d Dialect) parse(data []byte) (b body, err error) {
	if err := json.Unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("the body is not JSON of this protocol: %w", err)
	}
	if d == Responses {
		var text string
		if json.Unmarshal(b.Input, &text) == nil {
			b.Messages = []message{{Role: "user", Content: content(text)}}
		} else if err := json.Unmarshal(b.Input, &b.Messages); err != nil {
			return b, fmt.Errorf("input: %w", err)
		}
	}
	if system := string(b.System) + b.Instructions; system != "" {
		b.Messages = append([]message{{Role: "system", Content: content(system)}}, b.Messages...)
	}
	return b, nil
}

// check reports what the real providers of d refuse.
func (d Dialect) check(r *Request, b body) error {
	last := r.last()
	switch {
	case b.Model == "":
		return errors.New("you must provide a model parameter")
	case len(b.Messages) == 0:
		return errors.New("messages: at least one is required")
	case d == Messages && r.Header.Get("Anthropic-Version") == "":
		return errors.New("anthropic-version: header is required")
	case d == Messages && b.MaxTokens <= 0:
		return errors.New("max_tokens: Field required")
	case d == Messages && last.Role == "assistant" && last.Content != strings.TrimRightFunc(last.Content, unicode.IsSpace):
		return errors.New("messages: final assistant content cannot end with trailing whitespace")
	case d == Chat && b.ContinueFinalMessage && (b.AddGenerationPrompt == nil || *b.AddGenerationPrompt):
		return errors.New("continue_final_message and add_generation_prompt are not compatible: set add_generation_prompt to false")
	case d == Chat && b.ContinueFinalMessage && last.Role != "assistant":
		return errors.New("continue_final_message requires a final assistant message")
	case !r.Stream && !(d == Responses && r.Background):
		return errors.New("this provider only streams")
	}
	return nil
}

// prefills reports whether an assistant's message at the end is to be gone on
// with. Without it the models of OpenAI answer anew.
func (d Dialect) prefills(b body) bool {
	switch d {
	case Messages, Ollama:
		return true
	case Chat:
		return b.ContinueFinalMessage || len(b.Messages) > 0 && b.Messages[len(b.Messages)-1].Prefix
	}
	return false
}

// last returns the last message, or an empty one.
func (r *Request) last() Message {
	if len(r.Messages) == 0 {
		return Message{}
	}
	return r.Messages[len(r.Messages)-1]
}

// continuation finds which prompt the messages want answered, and what they hold of
// the answer. A user's message that follows part of an answer asks to go on
// with it; after a whole answer it is the next prompt, unless isContinue says
// otherwise.
func continuation(messages []Message, prefills bool, isContinue func(string) bool) (prompt, prefix string, err error) {
	wanted := false // the last message asks to go on with prefix
	for _, m := range messages {
		switch m.Role {
		case "user":
			wanted = prefix != "" && (len(prefix) < len(Text(prompt)) || isContinue(m.Content))
			if !wanted {
				prompt, prefix = m.Content, ""
			}
		case "assistant":
			prefix += m.Content
			wanted = prefills
			if !strings.HasPrefix(Text(prompt), prefix) {
				return prompt, "", fmt.Errorf("assistant content %q is no prefix of the answer to %q", prefix, prompt)
			}
		}
	}
	if !wanted {
		prefix = ""
	}
	return prompt, prefix, nil
}
