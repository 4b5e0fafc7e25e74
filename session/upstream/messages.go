package upstream

import (
	"encoding/json"

	"tokenrelay/session"
)

// A message is one of a question, with its fields as the client gave them.
type message map[string]json.RawMessage

// role returns the message's role, "" if it has none.
func (m message) role() string {
	var role string
	json.Unmarshal(m["role"], &role)
	return role
}

// goOn is what a provider that takes no prefill is asked to go on by.
const goOn = "Your answer broke off. Go on exactly where it ends, in the middle of a word if need be. " +
	"Do not repeat anything of it, do not begin anew, and do not comment on this."

// withText returns the messages of q, and those that ask to go on from its text.
func (q question) withText() []message {
	return append(q.messages[:len(q.messages):len(q.messages)], q.goOn()...)
}

// goOn returns the messages that ask to go on from the text of q.
func (q question) goOn() []message {
	switch {
	case q.text == "":
		return nil
	case q.by == session.ByMessage:
		return []message{say("assistant", q.text), say("user", goOn)}
	}
	return []message{say("assistant", q.text)}
}

// say makes a message.
func say(role, text string) message {
	return message{"role": jsonString(role), "content": jsonString(text)}
}

// toolCalls returns those of an assistant's message of chat completions.
func (m message) toolCalls() []message {
	var calls []message
	if json.Unmarshal(m["tool_calls"], &calls) != nil {
		return nil
	}
	return calls
}

// parts returns the parts of the message's content: a text is one, an empty
// text none. ok is false if the content is neither text nor parts.
func (m message) parts() (parts []json.RawMessage, ok bool) {
	var text string
	switch content := m["content"]; {
	case string(content) == `""`:
		return nil, true
	case json.Unmarshal(content, &text) == nil && given(content):
		part, err := json.Marshal(map[string]string{"type": "text", "text": text})
		return []json.RawMessage{part}, err == nil
	default:
		err := json.Unmarshal(content, &parts)
		return parts, err == nil && parts != nil
	}
}

// joined returns the message's text if it stands in parts that are all text.
func (m message) joined() (text string, ok bool) {
	var parts []struct{ Type, Text string }
	if json.Unmarshal(m["content"], &parts) != nil || parts == nil {
		return "", false
	}
	for _, part := range parts {
		if part.Type != "text" {
			return "", false
		}
		text += part.Text
	}
	return text, true
}
