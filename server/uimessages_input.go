package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"tokenrelay/session"
)

// maxChat bounds the id of a chat, and that of a message that is recorded, in
// bytes.
const maxChat = 255

// uiParameters are the fields of a request of the AI SDK that go on to the
// model, since they mean there what they mean in chat completions. All others
// are the application's own.
var uiParameters = [...]string{
	"temperature", "top_p", "max_tokens", "max_completion_tokens", "frequency_penalty", "presence_penalty", "stop", "seed",
	"reasoning_effort", "verbosity", "response_format", "tools", "tool_choice", "parallel_tool_calls",
}

// A uiRequest is a question of the AI SDK.
type uiRequest struct {
	chat string // id of the chat; empty if there is none
	question
	extension
}

// uiRecord is what is recorded of a uiRequest.
type uiRecord struct {
	// Message is the message of an assistant that the answer goes on with.
	Message string `json:"message_id"`
}

// decodeUI reads the body of a transport of the AI SDK.
func decodeUI(body []byte) (r uiRequest, err error) {
	f, err := decodeFields(body)
	if err != nil {
		return r, err
	}
	r.dialect, r.streams = session.DialectChat, true
	var messages []json.RawMessage
	err = cmp.Or(f.take("id", &r.chat), f.take("model", &r.model), f.takeExtension(&r.extension), f.take("messages", &messages))
	if err != nil {
		return r, err
	}
	if len(r.chat) > maxChat {
		return r, &session.InvalidError{Field: "id", Reason: fmt.Sprintf("is longer than %d bytes", maxChat)}
	}
	if r.messages, err = r.converted(messages); err != nil {
		return r, err
	}
	parameters := make(fields)
	for _, name := range uiParameters {
		if value, there := f[name]; there && value.Kind() != 'n' {
			parameters[name] = value
		}
	}
	var seed int64
	json.Unmarshal(parameters["seed"], &seed) // 0 if it is no whole number
	r.seed = uint64(seed)
	r.parameters = parameters.rest()
	return r, nil
}

// A uiMessage is a message of the AI SDK's user interfaces. It may have any
// other fields.
type uiMessage struct {
	ID    string            `json:"id"`
	Role  string            `json:"role"`
	Parts []json.RawMessage `json:"parts"`
}

// A uiPart is any part of one.
type uiPart struct {
	Type string  `json:"type"`
	Text *string `json:"text"` // of text

	MediaType string `json:"mediaType"` // of file
	URL       string `json:"url"`

	ToolName         string          `json:"toolName"` // of dynamic-tool; others have it in their type
	ToolCallID       string          `json:"toolCallId"`
	State            string          `json:"state"`
	Input            json.RawMessage `json:"input"`
	RawInput         json.RawMessage `json:"rawInput"`
	Output           json.RawMessage `json:"output"`
	ErrorText        string          `json:"errorText"`
	ProviderExecuted bool            `json:"providerExecuted"`
	Approval         struct {
		Approved *bool  `json:"approved"`
		Reason   string `json:"reason"`
	} `json:"approval"`
}

// A chatMessage is a message of chat completions.
type chatMessage struct {
	Role       string     `json:"role"`
	Content    any        `json:"content"` // a string, or []chatPart
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type chatPart struct {
	Type     string     `json:"type"`
	Text     *string    `json:"text,omitempty"`
	ImageURL *chatImage `json:"image_url,omitempty"`
}

type chatImage struct {
	URL string `json:"url"`
}

type chatCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// converted makes messages of chat completions of the AI SDK's, and notes what
// else they say of the question.
func (r *uiRequest) converted(messages []json.RawMessage) (json.RawMessage, error) {
	if messages != nil && len(messages) == 0 {
		return nil, &session.InvalidError{Field: "messages", Reason: "is empty: give one message or more"}
	}
	if messages == nil {
		return nil, &session.InvalidError{Field: "messages", Reason: "must be an array of the AI SDK's UI messages"}
	}
	var all []chatMessage
	for i, raw := range messages {
		at := fmt.Sprintf("messages.%d", i)
		var m uiMessage
		if json.Unmarshal(raw, &m) != nil || m.Parts == nil {
			return nil, &session.InvalidError{Field: at, Reason: "must be an object with a role and an array of parts, as the AI SDK's UI messages are"}
		}
		parts, err := uiParts(at, m.Parts)
		if err != nil {
			return nil, err
		}
		switch m.Role {
		case "system":
			if text := joined(parts); text != "" {
				all = append(all, chatMessage{Role: m.Role, Content: text})
			}
		case "user":
			content, err := userContent(at, parts)
			if err != nil {
				return nil, err
			}
			if content != nil {
				all = append(all, chatMessage{Role: m.Role, Content: content})
			}
			r.prompt = joined(parts)
		case "assistant":
			all = append(all, assistantMessages(parts)...)
			if i < len(messages)-1 || m.ID == "" {
				break
			}
			if len(m.ID) > maxChat {
				return nil, &session.InvalidError{Field: at + ".id", Reason: fmt.Sprintf("is longer than %d bytes", maxChat)}
			}
			r.recorded = map[string]uiRecord{"ui": {m.ID}}
		default:
			return nil, &session.InvalidError{Field: at + ".role", Reason: "must be system, user or assistant"}
		}
	}
	if all == nil {
		return nil, &session.InvalidError{Field: "messages", Reason: "have nothing in them that a model could answer"}
	}
	return appendJSON(nil, all), nil
}

// uiParts reads the parts of a message.
func uiParts(at string, raw []json.RawMessage) ([]uiPart, error) {
	parts := make([]uiPart, len(raw))
	for i, r := range raw {
		p, at := &parts[i], fmt.Sprintf("%s.parts.%d", at, i)
		switch err := json.Unmarshal(r, p); {
		case err != nil && ignored(r):
			*p = uiPart{}
		case err != nil || p.Type == "":
			return nil, &session.InvalidError{Field: at, Reason: "must be a part of a UI message: an object with a type and what belongs to that"}
		case p.Type == "text" && p.Text == nil:
			return nil, &session.InvalidError{Field: at + ".text", Reason: "is missing"}
		case p.isTool() && (p.ToolCallID == "" || p.name() == ""):
			return nil, &session.InvalidError{Field: at, Reason: "must have a toolCallId and the name of a tool"}
		}
	}
	return parts, nil
}

// ignored reports whether nothing is read of a part but its type.
func ignored(raw []byte) bool {
	var p struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &p) != nil {
		return false
	}
	return p.Type != "" && p.Type != "text" && p.Type != "file" && !(&uiPart{Type: p.Type}).isTool()
}

func (p *uiPart) isTool() bool { return p.Type == "dynamic-tool" || strings.HasPrefix(p.Type, "tool-") }

func (p *uiPart) name() string {
	if p.Type == "dynamic-tool" {
		return p.ToolName
	}
	return strings.TrimPrefix(p.Type, "tool-")
}

// joined is the text of parts.
func joined(parts []uiPart) string {
	var text strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			text.WriteString(*p.Text)
		}
	}
	return text.String()
}

// userContent is what a user said: nil for nothing, a string if it is one text.
func userContent(at string, parts []uiPart) (any, error) {
	var content []chatPart
	for i, p := range parts {
		switch {
		case p.Type == "text":
			content = append(content, chatPart{Type: "text", Text: p.Text})
		case p.Type != "file":
		case !strings.HasPrefix(p.MediaType, "image/"):
			return nil, &requestError{codeUnsupported, fmt.Sprintf("%s.parts.%d is a file of the type %q: only images go on to a model", at, i, echo(p.MediaType))}
		case p.URL == "":
			return nil, &session.InvalidError{Field: fmt.Sprintf("%s.parts.%d.url", at, i), Reason: "is missing"}
		default:
			content = append(content, chatPart{Type: "image_url", ImageURL: &chatImage{p.URL}})
		}
	}
	switch {
	case content == nil:
		return nil, nil
	case len(content) == 1 && content[0].Text != nil:
		return *content[0].Text, nil
	}
	return content, nil
}

// assistantMessages makes messages of one of an assistant's: for each of its
// steps what it said and called, and then what its tools returned.
func assistantMessages(parts []uiPart) (all []chatMessage) {
	said := chatMessage{Role: "assistant"}
	var text strings.Builder
	var results []chatMessage
	flush := func() {
		if said.Content = text.String(); text.Len() > 0 || said.ToolCalls != nil {
			all = append(append(all, said), results...)
		}
		said, results = chatMessage{Role: "assistant"}, nil
		text.Reset()
	}
	for _, p := range parts {
		switch {
		case p.Type == "step-start":
			flush()
		case p.Type == "text":
			text.WriteString(*p.Text)
		case p.isTool():
			// A call without a result cannot be told: models take none that was
			// not answered.
			if result, ok := p.result(); ok && !p.ProviderExecuted {
				said.ToolCalls = append(said.ToolCalls, chatCall{p.ToolCallID, "function", chatFunction{p.name(), p.arguments()}})
				results = append(results, chatMessage{Role: "tool", Content: result, ToolCallID: p.ToolCallID})
			}
		}
	}
	flush()
	return all
}

// result is what a tool returned, as text.
func (p *uiPart) result() (text string, ok bool) {
	denied := p.Approval.Approved != nil && !*p.Approval.Approved
	switch {
	case p.State == "output-available":
		return textual(p.Output), true
	case p.State == "output-error":
		return p.ErrorText, true
	case p.State == "output-denied", p.State == "approval-responded" && denied:
		if p.Approval.Reason != "" {
			return p.Approval.Reason, true
		}
		return "Tool call execution denied.", true // as the SDK has it
	}
	return "", false
}

// arguments are what a tool was called with.
func (p *uiPart) arguments() string {
	input := p.Input
	if len(input) == 0 || string(input) == "null" {
		input = p.RawInput
	}
	if len(input) == 0 {
		return "{}"
	}
	return textual(input)
}

// textual is a JSON value as a model is to read it: a string as it is.
func textual(value json.RawMessage) string {
	var text string
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil {
		return text
	}
	var line bytes.Buffer
	if json.Compact(&line, value) != nil {
		return "null"
	}
	return line.String()
}
