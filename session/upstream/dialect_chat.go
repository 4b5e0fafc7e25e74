package upstream

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// chatToResponses are the parameters of chat completions as Responses have them.
var chatToResponses = map[string]rule{
	"max_completion_tokens": as("max_output_tokens"),
	"max_tokens":            as("max_output_tokens"),
	"reasoning_effort":      as("reasoning.effort"),
	"response_format":       textFormat,
	"tool_choice":           responsesChoice,
	"tools":                 responsesTools,
	"verbosity":             as("text.verbosity"),

	"metadata":               as("metadata"),
	"parallel_tool_calls":    as("parallel_tool_calls"),
	"prompt_cache_key":       as("prompt_cache_key"),
	"prompt_cache_retention": as("prompt_cache_retention"),
	"safety_identifier":      as("safety_identifier"),
	"service_tier":           as("service_tier"),
	"store":                  as("store"),
	"temperature":            as("temperature"),
	"top_p":                  as("top_p"),
	"user":                   as("user"),
}

// A function is a tool of chat completions that the client itself calls.
type function struct {
	Type        string          `json:"type,omitempty"` // in Responses, where it is not nested
	Name        string          `json:"name"`
	Description json.RawMessage `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	Strict      json.RawMessage `json:"strict,omitempty"`
}

var errNoTools = errors.New("must be a list of functions")

const errOtherTools = untranslatable("must be a list of functions: tools of other types have no counterpart for this model")

// functionsOf reads the parameter tools.
func functionsOf(value json.RawMessage) ([]function, error) {
	var tools []struct {
		Type     string    `json:"type"`
		Function *function `json:"function"`
	}
	if json.Unmarshal(value, &tools) != nil {
		return nil, errNoTools
	}
	var functions []function
	for _, tool := range tools {
		switch {
		case tool.Type != "function":
			return nil, errOtherTools
		case tool.Function == nil:
			return nil, errNoTools
		}
		functions = append(functions, *tool.Function)
	}
	return functions, nil
}

// noArguments is the schema of a function that names none.
var noArguments = json.RawMessage(`{"type":"object","properties":{}}`)

// schema is that of its arguments.
func (f function) schema() json.RawMessage {
	if given(f.Parameters) {
		return f.Parameters
	}
	return noArguments
}

var errNoChoice = errors.New("must be auto, none, required or a function")

const errOtherChoice = untranslatable("must be auto, none, required or a function: others have no counterpart for this model")

// choiceOf reads the parameter tool_choice: auto, none or required, or function
// and its name.
func choiceOf(value json.RawMessage) (mode, name string, err error) {
	if json.Unmarshal(value, &mode) == nil {
		if !slices.Contains([]string{"auto", "none", "required"}, mode) {
			err = errOtherChoice
		}
		return mode, "", err
	}
	var choice struct {
		Type     string
		Function struct{ Name string }
	}
	switch {
	case json.Unmarshal(value, &choice) != nil || choice.Type == "function" && choice.Function.Name == "":
		return "", "", errNoChoice
	case choice.Type != "function":
		return "", "", errOtherChoice
	}
	return choice.Type, choice.Function.Name, nil
}

// A format is what response_format says.
type format struct {
	Type   string `json:"type"`
	Schema fields `json:"json_schema"` // name, description, schema, strict
}

func formatOf(value json.RawMessage) (f format, err error) {
	if json.Unmarshal(value, &f) != nil || !slices.Contains([]string{"text", "json_object", "json_schema"}, f.Type) ||
		f.Type == "json_schema" && !given(f.Schema["schema"]) {
		err = errors.New("must be of the type text, json_object or json_schema, with its schema")
	}
	return f, err
}

// textFormat is the rule of response_format.
func textFormat(to *request, value json.RawMessage) error {
	f, err := formatOf(value)
	if err != nil {
		return err
	}
	made := fields{"type": jsonString(f.Type)}
	if f.Type == "json_schema" {
		for _, name := range []string{"name", "description", "schema", "strict"} {
			if value := f.Schema[name]; given(value) {
				made[name] = value
			}
		}
	}
	to.set("text.format", jsonOf(made))
	return nil
}

func responsesTools(to *request, value json.RawMessage) error {
	functions, err := functionsOf(value)
	for i := range functions {
		f := &functions[i]
		f.Type, f.Parameters = "function", f.schema()
		if !given(f.Strict) {
			f.Strict = json.RawMessage("false") // there they are strict unless they say so
		}
	}
	to.set("tools", jsonOf(functions))
	return err
}

func responsesChoice(to *request, value json.RawMessage) error {
	mode, name, err := choiceOf(value)
	if name != "" {
		value = jsonOf(map[string]string{"type": mode, "name": name})
	}
	to.set("tool_choice", value)
	return err
}

// chatMessages returns messages of chat completions with nothing but what other
// protocols have of them.
func chatMessages(messages []message) ([]message, error) {
	var made []message
	for _, m := range messages {
		plain, err := m.plain()
		if err != nil {
			return nil, err
		}
		if plain != nil {
			made = append(made, plain)
		}
	}
	return made, nil
}

var chatRoles = []string{"system", "developer", "user", "assistant", "tool"}

// plain returns one of them; nil for an answer of nothing, which other
// protocols refuse.
func (m message) plain() (message, error) {
	role := m.role()
	if !slices.Contains(chatRoles, role) {
		return nil, invalidMessages("have the role %q, and must be of one of %s", role, strings.Join(chatRoles, ", "))
	}
	for _, name := range []string{"audio", "function_call"} {
		if given(m[name]) {
			return nil, invalidMessages("have %s, which has no counterpart for this model", name)
		}
	}
	plain := message{"role": jsonString(role)}
	content, err := plainContent(m["content"])
	if err != nil {
		return nil, err
	}
	if refusal := m["refusal"]; !filled(content) && role == "assistant" && filled(refusal) {
		content = refusal
	}
	if id := m["tool_call_id"]; role == "tool" {
		if !filled(id) {
			return nil, invalidMessages("have a tool's message without tool_call_id")
		}
		plain["tool_call_id"] = id
	}
	var calls []message
	if role == "assistant" {
		if calls, err = m.plainCalls(); err != nil {
			return nil, err
		}
	}
	switch {
	case len(calls) > 0:
		plain["tool_calls"] = jsonOf(calls)
	case role == "assistant" && !filled(content):
		return nil, nil
	case role == "tool" && content == nil:
		content = jsonString("")
	case content == nil:
		return nil, invalidMessages("must have a content")
	}
	plain["content"] = content // null beside calls
	return plain, nil
}

// plainCalls returns the tool calls of an answer, which are of functions.
func (m message) plainCalls() (calls []message, err error) {
	raw := m["tool_calls"]
	if !given(raw) {
		return nil, nil
	}
	var had []struct {
		ID       string `json:"id"`
		Function *struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	}
	if json.Unmarshal(raw, &had) != nil {
		return nil, invalidMessages("must have tool calls with an id, and a function with a name and arguments")
	}
	for _, call := range had {
		if call.Function == nil {
			return nil, invalidMessages("have a tool call of no function, which has no counterpart for this model")
		}
		calls = append(calls, functionCallOf(jsonString(call.ID), jsonString(call.Function.Name), jsonString(call.Function.Arguments)))
	}
	return calls, nil
}

// functionCallOf makes a tool call of chat completions.
func functionCallOf(id, name, arguments json.RawMessage) message {
	return message{"id": id, "type": jsonString("function"), "function": jsonOf(message{"name": name, "arguments": arguments})}
}

// plainContent returns a content whose parts are of types that are known, and
// that has no parts without text. An empty content is nil.
func plainContent(content json.RawMessage) (json.RawMessage, error) {
	var text string
	var parts []fields
	switch {
	case !given(content):
		return nil, nil
	case json.Unmarshal(content, &text) == nil:
		return jsonString(text), nil
	case json.Unmarshal(content, &parts) != nil:
		return nil, invalidMessages("must have a content of text or of parts")
	}
	var made []fields
	for _, part := range parts {
		var kind string
		json.Unmarshal(part["type"], &kind)
		switch kind {
		case "text", "refusal":
			if value := part[kind]; filled(value) {
				made = append(made, fields{"type": jsonString("text"), "text": value})
			}
		case "image_url", "file", "input_audio":
			if !given(part[kind]) {
				return nil, invalidMessages("have a part of type %q without %s", kind, kind)
			}
			made = append(made, fields{"type": jsonString(kind), kind: part[kind]})
		default:
			return nil, invalidMessages("have a part of type %q, which has no counterpart for this model", kind)
		}
	}
	if made == nil {
		return nil, nil
	}
	return jsonOf(made), nil
}

// An image is one of a part of chat completions.
type image struct {
	URL string `json:"url"`
}

// imageOf reads the image of a part.
func imageOf(part fields) (image, bool) {
	var i image
	if json.Unmarshal(part["image_url"], &i.URL) == nil {
		return i, i.URL != ""
	}
	return i, json.Unmarshal(part["image_url"], &i) == nil && i.URL != ""
}

// data returns what a data URL of an image holds, in base64, and its type.
func (i image) data() (kind, base64 string, ok bool) {
	head, base64, found := strings.Cut(i.URL, ",")
	kind, isData := strings.CutPrefix(head, "data:")
	kind, isBase64 := strings.CutSuffix(kind, ";base64")
	return kind, base64, found && isData && isBase64
}
