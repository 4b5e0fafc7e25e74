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
	if q.text == "" {
		return q.messages
	}
	messages := append(q.messages[:len(q.messages):len(q.messages)], say("assistant", q.text))
	if q.by == session.ByMessage {
		messages = append(messages, say("user", goOn))
	}
	return messages
}

// say makes a message.
func say(role, text string) message {
	quote := func(s string) json.RawMessage {
		raw, err := json.Marshal(s)
		if err != nil {
			panic(err) // a string
		}
		return raw
	}
	return message{"role": quote(role), "content": quote(text)}
}
