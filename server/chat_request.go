package server

import (
	"encoding/json"
	"slices"

	"tokenrelay/session"
)

// decodeChat reads the body of a chat completion's create
// (https://platform.openai.com/docs/api-reference/chat/create). Fields that it
// does not know are for the model's provider.
func decodeChat(body []byte) (q question, e extension, err error) {
	q.dialect = session.DialectChat
	f, err := decodeFields(body)
	if err != nil {
		return q, e, err
	}
	q.messages = json.RawMessage(f["messages"])
	var record chatRecord
	var messages []json.RawMessage
	for _, read := range []func() error{
		func() error { return f.take("model", &q.model) },
		func() error { return f.take("messages", &messages) },
		func() error { return f.take("stream", &q.streams) },
		func() error { return f.takeExtension(&e) },
		func() error { return takeStreamOptions(f, &record) },
		func() error { return refuseChoices(f) },
	} {
		if err := read(); err != nil {
			return q, e, err
		}
	}
	if q.model == "" {
		return q, e, &session.InvalidError{Field: "model", Reason: "is missing: it names what is to answer"}
	}
	switch {
	case messages == nil:
		return q, e, &session.InvalidError{Field: "messages", Reason: "is missing"}
	case len(messages) == 0:
		return q, e, &session.InvalidError{Field: "messages", Reason: "is empty: give one message or more"}
	case slices.ContainsFunc(messages, func(m json.RawMessage) bool { return m[0] != '{' }):
		return q, e, &session.InvalidError{Field: "messages", Reason: "must be an array of objects, each with a role"}
	}
	q.prompt = lastSaid(messages)
	if q.model == DemoModel {
		var seed int64
		if err := f.take("seed", &seed); err != nil {
			return q, e, err
		}
		q.seed = uint64(seed)
	}
	q.parameters = f.rest()
	if record != (chatRecord{}) {
		q.recorded = map[string]chatRecord{"chat": record}
	}
	return q, e, nil
}

// takeStreamOptions reads how the stream is to be. Obfuscation, which pads
// chunks, is optional for a server.
func takeStreamOptions(f fields, record *chatRecord) error {
	var options fields
	if err := f.take("stream_options", &options); err != nil {
		return err
	}
	for name, value := range options {
		switch kind := value.Kind(); {
		case name == "include_usage":
			if err := decodeStrict(value, &record.IncludeUsage, "stream_options.include_usage"); err != nil {
				return err
			}
		case name == "include_obfuscation", kind == 'n', kind == 'f':
		default:
			return unsupported("stream_options."+echo(name), "is not supported")
		}
	}
	return nil
}

// refuseChoices refuses more than one answer to a question.
func refuseChoices(f fields) error {
	n := 1
	if err := f.take("n", &n); err != nil {
		return err
	}
	switch {
	case n < 1:
		return &session.InvalidError{Field: "n", Reason: "must be 1"}
	case n > 1:
		return unsupported("n", "can only be 1: a session has one text")
	}
	return nil
}
