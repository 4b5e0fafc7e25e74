package upstream

import (
	"bytes"
	"encoding/json"
	"maps"
)

// inputItems makes items of Responses of messages as chat completions have
// them. What it does not know stays as it is, items of Responses among it.
func inputItems(messages []message) []any {
	items := []any{} // an array even if empty
	for _, m := range messages {
		switch _, typed := m["type"]; {
		case typed:
			items = append(items, m)
		case m.role() == "tool":
			items = append(items, message{
				"type":    jsonString("function_call_output"),
				"call_id": m["tool_call_id"],
				"output":  inputContent(m["content"], "input_text"),
			})
		case m.role() == "assistant":
			items = appendAnswer(items, m)
		default:
			items = append(items, inputMessage(m, "input_text"))
		}
	}
	return items
}

// appendAnswer appends an answer of a model, and each of its tool calls as an
// item of its own.
func appendAnswer(items []any, m message) []any {
	calls := m.toolCalls()
	if len(calls) == 0 {
		return append(items, inputMessage(m, "output_text"))
	}
	if content := m["content"]; filled(content) && string(content) != "[]" {
		said := maps.Clone(m)
		delete(said, "tool_calls")
		items = append(items, inputMessage(said, "output_text"))
	}
	for _, call := range calls {
		var function message
		if json.Unmarshal(call["function"], &function) != nil || function == nil {
			items = append(items, call)
			continue
		}
		items = append(items, message{
			"type":      jsonString(functionCall),
			"call_id":   call["id"],
			"name":      function["name"],
			"arguments": function["arguments"],
		})
	}
	return items
}

// inputMessage is m with the parts of its content as Responses call them.
// Fields without a value, such as answers of chat completions have, are left
// out: Responses refuse those that they do not know.
func inputMessage(m message, text string) message {
	item := make(message)
	for name, value := range m {
		if given(value) {
			item[name] = value
		}
	}
	if content, there := item["content"]; there {
		item["content"] = inputContent(content, text)
	}
	return item
}

// inputContent renames the parts of a content that is a list: texts become
// parts of the type text.
func inputContent(content json.RawMessage, text string) json.RawMessage {
	var parts []json.RawMessage
	if !bytes.HasPrefix(content, []byte("[")) || json.Unmarshal(content, &parts) != nil {
		return content
	}
	for i, raw := range parts {
		var part message
		if json.Unmarshal(raw, &part) != nil || part == nil {
			continue
		}
		switch string(part["type"]) {
		case `"text"`:
			part["type"] = jsonString(text)
		case `"image_url"`:
			part = inputImage(part)
		case `"file"`:
			part = inputFile(part)
		}
		if renamed, err := json.Marshal(part); err == nil {
			parts[i] = renamed
		}
	}
	renamed, err := json.Marshal(parts)
	if err != nil {
		return content
	}
	return renamed
}

// inputImage flattens a part with an image: {"image_url":{"url":…,"detail":…}}.
func inputImage(part message) message {
	part["type"] = jsonString("input_image")
	var image message
	if json.Unmarshal(part["image_url"], &image) != nil || image == nil {
		return part // an address already
	}
	part["image_url"] = image["url"]
	if detail, there := image["detail"]; there {
		part["detail"] = detail
	}
	return part
}

// inputFile flattens a part with a file: {"file":{"file_data":…}}.
func inputFile(part message) message {
	file := message(fieldsOf(part["file"]))
	if file == nil {
		return part
	}
	file["type"] = jsonString("input_file")
	return file
}
