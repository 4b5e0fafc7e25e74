package upstream

import "encoding/json"

// chatToAnthropic are the parameters of chat completions as Anthropic has them.
var chatToAnthropic = map[string]rule{
	"max_completion_tokens": as("max_tokens"),
	"max_tokens":            as("max_tokens"),
	"parallel_tool_calls":   anthropicParallel,
	"reasoning_effort":      anthropicEffort,
	"response_format":       anthropicFormat,
	"stop":                  anthropicStop,
	"temperature":           anthropicTemperature,
	"tool_choice":           anthropicChoice,
	"tools":                 anthropicTools,
	"top_k":                 as("top_k"),
	"top_p":                 as("top_p"),
	"user":                  as("metadata.user_id"),
}

func anthropicParallel(to *request, value json.RawMessage) error {
	if string(value) == "false" {
		to.set("tool_choice.disable_parallel_tool_use", json.RawMessage("true"))
	}
	return nil
}

// anthropicEfforts are its words for how much is to be reasoned.
var anthropicEfforts = map[string]string{"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max"}

// anthropicEffort lets the model decide how long it thinks. Models up to 4.5
// want to know the tokens, and the thoughts of earlier answers.
func anthropicEffort(to *request, value json.RawMessage) error {
	var effort string
	if json.Unmarshal(value, &effort) == nil && effort == "none" {
		return nil
	}
	own := anthropicEfforts[effort]
	if own == "" || prefilled.MatchString(to.model) {
		return errNoCounterpart
	}
	to.set("output_config.effort", jsonString(own))
	to.set("thinking", json.RawMessage(`{"type":"adaptive"}`))
	return nil
}

func anthropicFormat(to *request, value json.RawMessage) error {
	f, err := formatOf(value)
	switch {
	case err != nil:
		return err
	case f.Type == "json_schema":
		to.set("output_config.format", jsonOf(fields{"type": jsonString(f.Type), "schema": f.Schema["schema"]}))
	case f.Type != "text":
		return untranslatable("can be json_schema for this model, and not json_object")
	}
	return nil
}

func anthropicStop(to *request, value json.RawMessage) error {
	to.set("stop_sequences", listOf(value))
	return nil
}

// listOf makes a list of what may stand alone.
func listOf(value json.RawMessage) json.RawMessage {
	if value[0] == '[' {
		return value
	}
	return jsonOf([]json.RawMessage{value})
}

func anthropicTemperature(to *request, value json.RawMessage) error {
	var temperature float64
	if json.Unmarshal(value, &temperature) == nil && temperature > 1 {
		return untranslatable("can be 1 at most for this model")
	}
	to.set("temperature", value)
	return nil
}

func anthropicChoice(to *request, value json.RawMessage) error {
	mode, name, err := choiceOf(value)
	switch mode {
	case "none":
		delete(to.within, "tool_choice") // which has nothing else then
	case "required":
		mode = "any"
	case "function":
		mode = "tool"
		to.set("tool_choice.name", jsonString(name))
	}
	to.set("tool_choice.type", jsonString(mode))
	return err
}

// anthropicTools leaves out whether arguments are strict, which not all of its
// models know.
func anthropicTools(to *request, value json.RawMessage) error {
	functions, err := functionsOf(value)
	made := []fields{}
	for _, f := range functions {
		tool := fields{"name": jsonString(f.Name), "input_schema": f.schema()}
		if given(f.Description) {
			tool["description"] = f.Description
		}
		made = append(made, tool)
	}
	if to.within["tool_choice"] != nil {
		to.set("tool_choice.type", jsonString("auto")) // unless it has another
	}
	to.set("tools", jsonOf(made))
	return err
}

// anthropicForm returns messages of chat completions with the parts of their
// contents as Anthropic has them.
func anthropicForm(messages []message) ([]message, error) {
	return eachPart(messages, func(part fields) (json.RawMessage, error) {
		switch string(part["type"]) {
		case `"text"`:
			return jsonOf(part), nil
		case `"image_url"`:
			image, ok := imageOf(part)
			if !ok {
				return nil, invalidMessages("have an image without an address")
			}
			source := map[string]string{"type": "url", "url": image.URL}
			if kind, base64, ok := image.data(); ok {
				source = map[string]string{"type": "base64", "media_type": kind, "data": base64}
			}
			return jsonOf(map[string]any{"type": "image", "source": source}), nil
		}
		return nil, invalidMessages("have a part of type %s, which has no counterpart for this model", part["type"])
	})
}

// eachPart returns messages with what convert makes of the parts of their
// contents.
func eachPart(messages []message, convert func(fields) (json.RawMessage, error)) ([]message, error) {
	for _, m := range messages {
		var parts []fields
		if json.Unmarshal(m["content"], &parts) != nil || parts == nil {
			continue // a text, or none
		}
		made := make([]json.RawMessage, len(parts))
		for i, part := range parts {
			var err error
			if made[i], err = convert(part); err != nil {
				return nil, err
			}
		}
		m["content"] = jsonOf(made)
	}
	return messages, nil
}
