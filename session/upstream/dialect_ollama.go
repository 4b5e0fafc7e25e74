package upstream

import "encoding/json"

// chatToOllama are the parameters of chat completions as Ollama has them.
var chatToOllama = map[string]rule{
	"frequency_penalty":     as("options.frequency_penalty"),
	"max_completion_tokens": as("options.num_predict"),
	"max_tokens":            as("options.num_predict"),
	"presence_penalty":      as("options.presence_penalty"),
	"reasoning_effort":      ollamaThink,
	"response_format":       ollamaFormat,
	"seed":                  as("options.seed"),
	"stop":                  ollamaStop,
	"temperature":           as("options.temperature"),
	"tool_choice":           ollamaChoice,
	"tools":                 ollamaTools,
	"top_k":                 as("options.top_k"),
	"top_p":                 as("options.top_p"),
}

// ollamaEfforts are its words for how much is to be reasoned.
var ollamaEfforts = map[string]string{
	"none": "false", "minimal": `"low"`, "low": `"low"`, "medium": `"medium"`, "high": `"high"`, "xhigh": `"high"`,
}

func ollamaThink(to *request, value json.RawMessage) error {
	var effort string
	json.Unmarshal(value, &effort)
	own, known := ollamaEfforts[effort]
	if !known {
		return errNoCounterpart
	}
	to.set("think", json.RawMessage(own))
	return nil
}

func ollamaFormat(to *request, value json.RawMessage) error {
	f, err := formatOf(value)
	switch {
	case err != nil:
		return err
	case f.Type == "json_schema":
		to.set("format", f.Schema["schema"])
	case f.Type == "json_object":
		to.set("format", jsonString("json"))
	}
	return nil
}

func ollamaStop(to *request, value json.RawMessage) error {
	to.set("options.stop", listOf(value))
	return nil
}

// ollamaChoice takes what is so there anyway, and that there are to be no
// calls: then there are no tools.
func ollamaChoice(to *request, value json.RawMessage) error {
	mode, _, err := choiceOf(value)
	switch {
	case err != nil:
		return err
	case mode == "none":
		to.noTools = true
	case mode != "auto":
		return untranslatable("can be auto or none for this model")
	}
	return nil
}

func ollamaTools(to *request, value json.RawMessage) error {
	functions, err := functionsOf(value)
	if err != nil || to.noTools { // tool_choice comes before
		return err
	}
	made := []fields{}
	for _, f := range functions {
		f.Strict, f.Parameters = nil, f.schema()
		made = append(made, fields{"type": jsonString("function"), "function": jsonOf(f)})
	}
	to.set("tools", jsonOf(made))
	return nil
}

// ollamaForm returns messages of chat completions as Ollama has them: with
// images apart, arguments as objects, and the names of tools with what they
// gave.
func ollamaForm(messages []message) ([]message, error) {
	names := make(map[string]json.RawMessage) // by the id of the call
	for _, m := range messages {
		switch m.role() {
		case "developer":
			m["role"] = jsonString("system")
		case "tool":
			if name := names[string(m["tool_call_id"])]; name != nil {
				m["tool_name"] = name
			}
		}
		if err := m.setImagesApart(); err != nil {
			return nil, err
		}
		calls := m.toolCalls()
		for _, call := range calls {
			var f struct{ Name, Arguments string }
			var arguments fields
			json.Unmarshal(call["function"], &f)
			if f.Arguments == "" {
				f.Arguments = "{}"
			}
			if json.Unmarshal([]byte(f.Arguments), &arguments) != nil || arguments == nil {
				return nil, invalidMessages("must have tool calls of functions whose arguments are JSON objects")
			}
			names[string(call["id"])] = jsonString(f.Name)
			call["function"] = jsonOf(map[string]any{"name": f.Name, "arguments": arguments})
		}
		if calls != nil {
			m["tool_calls"] = jsonOf(calls)
		}
		if !given(m["content"]) {
			m["content"] = jsonString("")
		}
	}
	return messages, nil
}

// setImagesApart makes one text of the content's parts, and a list of its
// images.
func (m message) setImagesApart() error {
	var parts []fields
	if json.Unmarshal(m["content"], &parts) != nil || parts == nil {
		return nil
	}
	var said string
	var images []string
	for _, part := range parts {
		switch string(part["type"]) {
		case `"text"`:
			var text string
			json.Unmarshal(part["text"], &text)
			said += text
		case `"image_url"`:
			image, _ := imageOf(part)
			_, base64, ok := image.data()
			if !ok {
				return invalidMessages("have an image that is no data URL in base64, which has no counterpart for this model")
			}
			images = append(images, base64)
		default:
			return invalidMessages("have a part of type %s, which has no counterpart for this model", part["type"])
		}
	}
	m["content"] = jsonString(said)
	if images != nil {
		m["images"] = jsonOf(images)
	}
	return nil
}
