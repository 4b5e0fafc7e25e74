package upstream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// responsesToChat are the parameters of Responses as chat completions have
// them.
var responsesToChat = map[string]rule{
	"instructions":        systemMessage,
	"max_output_tokens":   maxTokens,
	"parallel_tool_calls": as("parallel_tool_calls"),
	"reasoning":           reasoningEffort,
	"temperature":         as("temperature"),
	"text":                textOptions,
	"tool_choice":         chatChoice,
	"tools":               chatTools,
	"top_p":               as("top_p"),
	"user":                as("user"),
}

// responsesNames are the parameters of Responses that those of chat completions
// were made of.
var responsesNames = map[string]string{
	"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens",
	"reasoning_effort": "reasoning", "response_format": "text", "verbosity": "text",
}

func responsesName(name string) string { return cmp.Or(responsesNames[name], name) }

func systemMessage(to *request, value json.RawMessage) error {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return errors.New("must be a text")
	}
	if text != "" {
		to.system = value
	}
	return nil
}

// reasoners are the models of OpenAI that reason. They refuse max_tokens, and
// other providers do not know what came in its place.
var reasoners = regexp.MustCompile(`^(.*/)?(o[1-9]|gpt-[5-9])`)

func maxTokens(to *request, value json.RawMessage) error {
	if reasoners.MatchString(to.model) {
		to.set("max_completion_tokens", value)
	} else {
		to.set("max_tokens", value)
	}
	return nil
}

// reasoningEffort takes the effort. A summary is left out: the reasoning comes
// as the provider gives it.
func reasoningEffort(to *request, value json.RawMessage) error {
	return eachMember(value, map[string]func(json.RawMessage) error{
		"effort": func(effort json.RawMessage) error {
			to.set("reasoning_effort", effort)
			return nil
		},
		"summary":          leaveOut,
		"generate_summary": leaveOut,
	})
}

func leaveOut(json.RawMessage) error { return nil }

// textOptions takes the format, and how much is to be said.
func textOptions(to *request, value json.RawMessage) error {
	return eachMember(value, map[string]func(json.RawMessage) error{
		"format": func(raw json.RawMessage) error {
			format := fieldsOf(raw)
			if string(format["type"]) == `"json_schema"` {
				format = fields{"type": format["type"], "json_schema": jsonOf(format.without([]string{"type"}))}
			}
			if _, err := formatOf(jsonOf(format)); err != nil {
				return err
			}
			to.set("response_format", jsonOf(format))
			return nil
		},
		"verbosity": func(verbosity json.RawMessage) error {
			if !isNeutral("verbosity", verbosity) {
				to.set("verbosity", verbosity)
			}
			return nil
		},
	})
}

// eachMember hands the members of an object that are given to what takes them.
func eachMember(value json.RawMessage, takers map[string]func(json.RawMessage) error) error {
	var object fields
	if json.Unmarshal(value, &object) != nil {
		return errors.New("must be an object")
	}
	object = object.given()
	for _, name := range slices.Sorted(maps.Keys(object)) {
		take := takers[name]
		if take == nil {
			return untranslatable(fmt.Sprintf("has the field %q, which has no counterpart for this model", name))
		}
		if err := take(object[name]); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
	}
	return nil
}

func chatTools(to *request, value json.RawMessage) error {
	var tools []function
	if json.Unmarshal(value, &tools) != nil {
		return errNoTools
	}
	var made []fields
	for _, tool := range tools {
		if tool.Type != "function" {
			return errOtherTools
		}
		tool.Type = ""
		for _, member := range []*json.RawMessage{&tool.Description, &tool.Parameters, &tool.Strict} {
			if !given(*member) {
				*member = nil
			}
		}
		made = append(made, fields{"type": jsonString("function"), "function": jsonOf(tool)})
	}
	to.set("tools", jsonOf(made))
	return nil
}

func chatChoice(to *request, value json.RawMessage) error {
	var choice struct{ Type, Name string }
	if json.Unmarshal(value, &choice) == nil && choice.Type == "function" {
		value = jsonOf(map[string]any{"type": "function", "function": map[string]string{"name": choice.Name}})
	}
	_, _, err := choiceOf(value)
	to.set("tool_choice", value)
	return err
}

// chatOfItems makes messages of chat completions of items of Responses. What a
// model has reasoned is left out.
func chatOfItems(items []message) ([]message, error) {
	var made []message
	for _, item := range items {
		var kind string
		json.Unmarshal(item["type"], &kind)
		switch kind {
		case "", "message":
			m, err := chatOfMessage(item)
			if err != nil {
				return nil, err
			}
			if m != nil {
				made = append(made, m)
			}
		case functionCall:
			call := functionCallOf(item["call_id"], item["name"], item["arguments"])
			made = appendCall(made, call)
		case "function_call_output":
			content, err := chatContent(item["output"], "tool")
			if err != nil {
				return nil, err
			}
			m, err := message{"role": jsonString("tool"), "tool_call_id": item["call_id"], "content": content}.plain()
			if err != nil {
				return nil, err
			}
			made = append(made, m)
		case "reasoning":
		default:
			return nil, invalidMessages("have an item of type %q, which has no counterpart for this model", kind)
		}
	}
	for _, m := range made {
		if _, err := m.plainCalls(); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// appendCall appends a tool call to the answer that it belongs to.
func appendCall(messages []message, call message) []message {
	if len(messages) == 0 || messages[len(messages)-1].role() != "assistant" {
		messages = append(messages, message{"role": jsonString("assistant"), "content": json.RawMessage("null")})
	}
	last := messages[len(messages)-1]
	last["tool_calls"] = jsonOf(append(last.toolCalls(), call))
	return messages
}

// chatOfMessage makes a message of an item that is one; nil of an answer of
// nothing.
func chatOfMessage(item message) (message, error) {
	role := item.role()
	if role == "developer" {
		role = "system" // which every provider knows
	}
	content, err := chatContent(item["content"], role)
	if err != nil {
		return nil, err
	}
	return message{"role": jsonString(role), "content": content}.plain()
}

// chatContent makes a content of chat completions of one of Responses. Where a
// text is usual there, one is made of parts that are text.
func chatContent(content json.RawMessage, role string) (json.RawMessage, error) {
	var parts []fields
	if json.Unmarshal(content, &parts) != nil || parts == nil {
		return content, nil
	}
	var made []fields
	for _, part := range parts {
		converted, err := chatPart(part.given())
		if err != nil {
			return nil, err
		}
		made = append(made, converted)
	}
	plain, err := plainContent(jsonOf(made))
	if err != nil {
		return nil, err
	}
	text, isText := message{"content": plain}.joined()
	if isText && (role != "user" || len(parts) == 1) {
		return jsonString(text), nil
	}
	return plain, nil
}

// chatPart makes a part of one of Responses.
func chatPart(part fields) (fields, error) {
	var kind string
	json.Unmarshal(part["type"], &kind)
	switch kind {
	case "input_text", "output_text", "text":
		return fields{"type": jsonString("text"), "text": part["text"]}, nil
	case "input_image":
		if !given(part["image_url"]) {
			return nil, invalidMessages("have an image without image_url, which has no counterpart for this model")
		}
		image := fields{"url": part["image_url"]}
		if detail := part["detail"]; given(detail) {
			image["detail"] = detail
		}
		return fields{"type": jsonString("image_url"), "image_url": jsonOf(image)}, nil
	case "input_file":
		if given(part["file_url"]) {
			return nil, invalidMessages("have a file with file_url, which has no counterpart for this model")
		}
		return fields{"type": jsonString("file"), "file": jsonOf(part.without([]string{"type", "detail"}))}, nil
	}
	return part, nil // refusal, input_audio, and what is refused with its type
}
