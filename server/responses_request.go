package server

import (
	"encoding/json"
	"strings"

	"tokenrelay/session"
)

// maxEchoed bounds what is recorded of a request to be repeated by its response,
// in bytes of JSON: each response has it in three or four events.
const maxEchoed = 32 << 10

// echoed are the fields of a request that its response repeats: what it says of
// one that is absent, and which kinds of JSON values it can have.
var echoed = []struct{ name, absent, kinds string }{
	{"background", "false", "tf"},
	{"instructions", "null", `"`},
	{"max_output_tokens", "null", "0"},
	{"max_tool_calls", "null", "0"},
	{"metadata", "{}", "{"},
	{"parallel_tool_calls", "true", "tf"},
	{"previous_response_id", "null", `"`},
	{"prompt_cache_key", "null", `"`},
	{"reasoning", `{"effort":null,"summary":null}`, "{"},
	{"safety_identifier", "null", `"`},
	{"service_tier", `"default"`, `"`},
	{"store", "true", "tf"},
	{"temperature", "1", "0"},
	{"text", `{"format":{"type":"text"}}`, "{"},
	{"tool_choice", `"auto"`, `"{`},
	{"tools", "[]", "["},
	{"top_logprobs", "0", "0"},
	{"top_p", "1", "0"},
	{"truncation", `"disabled"`, `"`},
	{"user", "null", `"`},
}

// large are those of which there may be too much: they are not recorded then.
var large = []string{"tools", "instructions", "text", "tool_choice"}

// A responseRequest is the body of a create.
type responseRequest struct {
	question
	extension extension
	input     []json.RawMessage
	previous  string // id of the response that this one continues; empty for none
}

// parseResponse reads a create.
func parseResponse(body []byte) (r responseRequest, err error) {
	f, err := decodeFields(body)
	if err != nil {
		return r, err
	}
	r.dialect = session.DialectResponses
	if r.recorded, err = f.record(); err != nil {
		return r, err
	}
	for _, name := range [...]string{"conversation", "prompt"} {
		var there json.RawMessage
		if f.take(name, &there); there != nil {
			return r, unsupported(name, "names what is kept at OpenAI: give the whole input, or previous_response_id")
		}
	}
	var input, ignored json.RawMessage
	for _, field := range [...]struct {
		name string
		to   any
	}{
		{"model", &r.model}, {"input", &input}, {"stream", &r.streams}, {"background", &r.background},
		{"previous_response_id", &r.previous},
		{"stream_options", &ignored}, // has nothing but obfuscation
	} {
		if err := f.take(field.name, field.to); err != nil {
			return r, err
		}
	}
	if err := f.takeExtension(&r.extension); err != nil {
		return r, err
	}
	if r.model == "" {
		return r, &session.InvalidError{Field: "model", Reason: "is missing"}
	}
	r.input, err = parseInput(input)
	r.prompt = lastSaid(r.input)
	r.parameters = f.rest()
	return r, err
}

// record returns what is to be recorded of a request, whose fields it leaves.
func (f fields) record() (any, error) {
	kept, size := make(fields), 0
	for _, field := range echoed {
		value := f[field.name]
		switch kind := value.Kind(); {
		case value == nil || kind == 'n':
			continue
		case !strings.ContainsRune(field.kinds, rune(kind)):
			return nil, &session.InvalidError{Field: field.name, Reason: "cannot be " + kindOf(kind)}
		}
		kept[field.name] = value
		size += len(field.name) + len(value)
	}
	for _, name := range large {
		if value, there := kept[name]; there && size > maxEchoed {
			size -= len(name) + len(value)
			delete(kept, name)
		}
	}
	if size > maxEchoed {
		return nil, &requestError{codeBody, "the fields of the request beside its input are too long"}
	}
	return map[string]fields{"responses": kept}, nil
}

// parseInput returns the items of an input, which can be a text.
func parseInput(input json.RawMessage) (items []json.RawMessage, err error) {
	if input == nil {
		return nil, &session.InvalidError{Field: "input", Reason: "is missing"}
	}
	var text string
	if input[0] == '"' {
		err = decodeStrict(input, &text, "input")
		return []json.RawMessage{said("user", text)}, err
	}
	if err := decodeStrict(input, &items, "input"); err != nil {
		return nil, err
	}
	for _, item := range items {
		if item[0] != '{' {
			return nil, &session.InvalidError{Field: "input", Reason: "must be a text, or an array of items"}
		}
	}
	return items, nil
}

// decodeLoose reads what it can of a value, and reports whether it was one of
// that kind.
func decodeLoose(raw json.RawMessage, v any) bool {
	return len(raw) > 0 && json.Unmarshal(raw, v) == nil
}
