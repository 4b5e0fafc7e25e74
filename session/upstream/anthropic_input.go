package upstream

import (
	"encoding/json"

	"tokenrelay/session"
)

// splitSystem takes the system's messages out of messages: Anthropic has a
// field for them.
func splitSystem(messages []message) (others []message, system []json.RawMessage, err error) {
	others = []message{} // an array even if empty
	for _, m := range messages {
		if role := m.role(); role != "system" && role != "developer" {
			others = append(others, m)
			continue
		}
		parts, ok := m.parts()
		if !ok {
			return nil, nil, &session.InvalidError{Field: "source.messages", Reason: "must have system messages of text"}
		}
		system = append(system, parts...)
	}
	return others, system, nil
}
