package upstream

import (
	"encoding/json"
	"fmt"
	"slices"

	"tokenrelay/session"
)

// splitSystem takes the system's messages out of messages: Anthropic has a
// field for them.
func splitSystem(messages []message) (others []message, system []json.RawMessage, err error) {
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

// chatParts are the types of parts of chat completions and of Responses that
// Anthropic has in another form or not at all.
var chatParts = []string{
	"image_url", "input_audio", "file", "video_url", "refusal",
	"input_text", "output_text", "input_image", "input_file",
}

// checkParts refuses contents that Anthropic would.
func checkParts(messages []message) error {
	for _, m := range messages {
		var parts []json.RawMessage
		json.Unmarshal(m["content"], &parts) // a text has none
		for _, raw := range parts {
			var part struct{ Type string }
			if json.Unmarshal(raw, &part) == nil && slices.Contains(chatParts, part.Type) {
				return &session.InvalidError{Field: "source.messages", Reason: fmt.Sprintf("has a part of type %q, which Anthropic does not take: give it in Anthropic's form, such as {\"type\":\"image\",…}", part.Type)}
			}
		}
	}
	return nil
}

// anthropicMessages makes messages of Anthropic's of those of chat completions
// that call tools or give their results: there both are parts of a content. What
// it does not know stays as it is, Anthropic's own parts among it.
func anthropicMessages(messages []message) ([]message, error) {
	made := []message{} // an array even if empty
	var results []json.RawMessage
	for i, m := range messages {
		switch calls := m.toolCalls(); {
		case m.role() == "tool":
			results = append(results, toolResult(m))
			if i+1 < len(messages) && messages[i+1].role() == "tool" {
				continue // they are to be in one message
			}
			made, results = append(made, sayParts("user", results)), nil
		case m.role() == "assistant" && len(calls) > 0:
			parts, _ := m.parts() // there need be none
			for _, call := range calls {
				part, err := toolUse(call)
				if err != nil {
					return nil, err
				}
				parts = append(parts, part)
			}
			made = append(made, sayParts("assistant", parts))
		default:
			made = append(made, m)
		}
	}
	return made, nil
}

// toolUse makes the part of a tool call, whose arguments there are an object.
func toolUse(call message) (json.RawMessage, error) {
	var function struct{ Name, Arguments string }
	err := json.Unmarshal(call["function"], &function)
	input := make(map[string]json.RawMessage)
	if err == nil && function.Arguments != "" {
		err = json.Unmarshal([]byte(function.Arguments), &input)
	}
	if err != nil || input == nil {
		return nil, &session.InvalidError{Field: "source.messages", Reason: "must have tool calls of functions whose arguments are JSON objects"}
	}
	return json.Marshal(map[string]any{"type": "tool_use", "id": call["id"], "name": function.Name, "input": input})
}

// toolResult makes the part of a tool's message.
func toolResult(m message) json.RawMessage {
	part := message{"type": jsonString("tool_result"), "tool_use_id": m["tool_call_id"]}
	if content := m["content"]; filled(content) {
		part["content"] = content
	}
	return jsonOf(part)
}

// sayParts makes a message of parts.
func sayParts(role string, parts []json.RawMessage) message {
	return message{"role": jsonString(role), "content": jsonOf(parts)}
}
