package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"tokenrelay/session"
)

// maxNamed bounds how many responses one request may name: each is read whole.
const maxNamed = 16

// A composition is an input that is put together of what is in a request and
// what it names.
type composition struct {
	s     *Server
	at    *session.Seat // from which it reads
	who   session.Principal
	named map[session.ID]heldResponse // what was read
	items []json.RawMessage
	room  int64 // bytes that further items may have
}

// inputOf is the whole input that a model is given for a request: what was said
// up to the end of the response that it continues, and its own items, those
// that it names by their ids included.
func (s *Server) inputOf(ctx context.Context, at *session.Seat, who session.Principal, r responseRequest) (json.RawMessage, error) {
	in := composition{s: s, at: at, who: who, named: make(map[session.ID]heldResponse), room: s.opts.MaxBody}
	defer func() {
		for _, held := range in.named {
			held.leave()
		}
	}()
	if r.previous != "" {
		if err := in.addPrevious(ctx, r.previous); err != nil {
			return nil, err
		}
	}
	for _, item := range r.input {
		var reference struct{ Type, ID string }
		if decodeLoose(item, &reference) && reference.Type == "item_reference" {
			if err := in.addReferred(ctx, reference.ID); err != nil {
				return nil, err
			}
		} else if err := in.add(item); err != nil {
			return nil, err
		}
	}
	if len(in.items) == 0 {
		return nil, &session.InvalidError{Field: "input", Reason: "is empty"}
	}
	return appendJSON(nil, in.items), nil
}

// add takes an item, unless it is nil.
func (in *composition) add(item json.RawMessage) error {
	if item == nil {
		return nil
	}
	if in.room -= int64(len(item)); in.room < 0 {
		return &requestError{codeBody, fmt.Sprintf("the input, with what was said before, is larger than %d bytes, which --max-body of the relay sets", in.s.opts.MaxBody)}
	}
	in.items = append(in.items, item)
	return nil
}

// errNoPrevious reports a response to be continued that is not there.
func errNoPrevious(id string) error {
	return &fieldError{&requestError{codeSession, fmt.Sprintf("there is no response %q", echo(id))}, "previous_response_id"}
}

// answerID is the session of an answer that a client names as one of the
// protocols does, or by the session's id alone.
func answerID(name string) (session.ID, bool) {
	for _, prefix := range [...]string{responsePrefix, completionPrefix, itemPrefixes[session.KindText]} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return session.ParseID(rest)
		}
	}
	return session.ParseID(name)
}

// addPrevious takes what a response was given and what it answered. Instructions
// are a request's own, and not among them.
func (in *composition) addPrevious(ctx context.Context, previous string) error {
	id, ok := answerID(previous)
	if !ok {
		return errNoPrevious(previous)
	}
	found, err := in.s.opts.Manager.Get(ctx, in.who, id)
	switch {
	case session.IsNone(err):
		return errNoPrevious(previous)
	case err != nil:
		return err
	case !found.Status().State.Terminal():
		return &fieldError{&requestError{codeNotEnded, "the response has not come to its end"}, "previous_response_id"}
	}
	given, err := in.s.opts.Manager.Given(ctx, in.who, id)
	if err != nil {
		return err
	}
	answered, err := in.answerOf(ctx, id)
	if err != nil {
		return err
	}
	for _, item := range itemsGiven(given) {
		if err := in.add(item); err != nil {
			return err
		}
	}
	for _, p := range answered.parts {
		if err := in.add(answered.inputItem(p)); err != nil {
			return err
		}
	}
	return nil
}

// answerOf reads the answer of a session so far, once.
func (in *composition) answerOf(ctx context.Context, id session.ID) (heldResponse, error) {
	answered, there := in.named[id]
	if there {
		return answered, nil
	}
	found, err := in.s.opts.Manager.Get(ctx, in.who, id)
	if err != nil {
		return answered, err
	}
	if len(in.named) == maxNamed {
		return answered, &session.InvalidError{Field: "input", Reason: fmt.Sprintf("names items of more than %d responses", maxNamed)}
	}
	if answered, err = in.s.responseOf(ctx, in.at, found); err == nil {
		in.named[id] = answered
	}
	return answered, err
}

// addReferred takes the item that a client names by its id or, where that is the
// id of a whole answer that has ended, all of its items.
func (in *composition) addReferred(ctx context.Context, name string) error {
	id, whole := answerID(name)
	if !whole {
		item, err := in.itemOf(ctx, name)
		if err != nil {
			return err
		}
		return in.add(item)
	}
	answered, err := in.answerOf(ctx, id)
	switch {
	case session.IsNone(err), err == nil && answered.end == nil:
		return errNoItem(name)
	case err != nil:
		return err
	}
	for _, p := range answered.parts {
		if err := in.add(answered.inputItem(p)); err != nil {
			return err
		}
	}
	return nil
}

// errNoItem reports an item that is not there.
func errNoItem(name string) error {
	return &fieldError{&requestError{codeSession, fmt.Sprintf("there is no item %q", echo(name))}, "input"}
}

// itemOf is the item of an answer that a client names by its id, nil for one that
// no model is given again.
func (in *composition) itemOf(ctx context.Context, name string) (json.RawMessage, error) {
	_, place, _ := strings.Cut(name, "_")
	of, number, _ := strings.Cut(place, "_")
	id, ok := session.ParseID(of)
	n, err := strconv.Atoi(number)
	if ok && err == nil {
		answered, err := in.answerOf(ctx, id)
		switch {
		case err != nil && !session.IsNone(err):
			return nil, err
		case err == nil && n >= 0 && n < len(answered.parts):
			if p := answered.parts[n]; p.ended && string(answered.appendItemID(nil, p)) == name {
				return answered.inputItem(p), nil
			}
		}
	}
	return nil, errNoItem(name)
}

// inputItem is a part of an answer as an item of an input, nil for reasoning.
func (r *responses) inputItem(p *part) json.RawMessage {
	switch p.kind {
	case session.KindText:
		return said("assistant", p.text)
	case session.KindToolCall:
		return called(p.id, p.name, p.text)
	}
	return nil
}

// said is a message as an item of an input. Its content is a text, or parts.
func said(role string, content any) json.RawMessage {
	return appendJSON(nil, struct {
		Type    string `json:"type"`
		Role    string `json:"role"`
		Content any    `json:"content"`
	}{"message", role, content})
}

func called(id, name string, arguments any) json.RawMessage {
	return appendJSON(nil, struct {
		Type      string `json:"type"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
		Arguments any    `json:"arguments"`
	}{"function_call", id, name, arguments})
}

// itemsGiven are what a source was given, as items of an input.
func itemsGiven(given session.SourceSpec) (items []json.RawMessage) {
	if given.Type == session.SourceGenerate {
		return []json.RawMessage{said("user", given.Prompt)}
	}
	var messages []json.RawMessage
	decodeLoose(given.Messages, &messages)
	if given.Dialect == session.DialectResponses {
		return messages
	}
	for _, message := range messages {
		items = appendChatItems(items, message)
	}
	return items
}

// appendChatItems appends a message of chat completions as items of an input.
// One that is none is left as it is.
func appendChatItems(items []json.RawMessage, message json.RawMessage) []json.RawMessage {
	var m struct {
		Role, Type string
		Content    json.RawMessage
		ToolCallID string `json:"tool_call_id"`
		ToolCalls  []struct {
			ID       string
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
	}
	if !decodeLoose(message, &m) || m.Type != "" || m.Role == "" {
		return append(items, message)
	}
	if m.Role == "tool" {
		return append(items, appendJSON(nil, struct {
			Type   string `json:"type"`
			CallID string `json:"call_id"`
			Output string `json:"output"`
		}{"function_call_output", m.ToolCallID, plainText(m.Content)}))
	}
	if content := string(m.Content); content != "" && content != "null" && (content != `""` || len(m.ToolCalls) == 0) {
		items = append(items, said(m.Role, inputContent(m.Role, m.Content)))
	}
	for _, call := range m.ToolCalls {
		items = append(items, called(call.ID, call.Function.Name, call.Function.Arguments))
	}
	return items
}

// inputContent is the content of a message of chat completions as Responses have
// it: parts are called otherwise.
func inputContent(role string, content json.RawMessage) any {
	var parts []json.RawMessage
	if !decodeLoose(content, &parts) {
		return content
	}
	text := "input_text"
	if role == "assistant" {
		text = "output_text"
	}
	for i, raw := range parts {
		var part struct {
			Type, Text string
			Image      struct{ URL, Detail string } `json:"image_url"`
		}
		if !decodeLoose(raw, &part) {
			continue
		}
		switch part.Type {
		case "text":
			parts[i] = appendJSON(nil, struct {
				Type string `json:"type"`
				Text string `json:"text"`
			}{text, part.Text})
		case "image_url":
			parts[i] = appendJSON(nil, struct {
				Type   string `json:"type"`
				URL    string `json:"image_url"`
				Detail string `json:"detail,omitempty"`
			}{"input_image", part.Image.URL, part.Image.Detail})
		}
	}
	return parts
}
