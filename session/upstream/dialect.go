package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"tokenrelay/session"
)

// A question comes in the client's dialect and goes out in the provider's
// protocol. Where both are one it passes as it is. Otherwise it becomes one of
// chat completions, if it is none, and from there one of the provider's. What
// has no counterpart there and would change the answer is refused, unknown
// fields with it; what would not is left out.

// A rule gives a parameter its place in another protocol's request. Its error
// says why it has none.
type rule func(to *request, value json.RawMessage) error

// A request is what rules make: fields, some of which are objects.
type request struct {
	model  string
	fields fields
	within map[string]fields // by the name of the object

	system  json.RawMessage // a first message for chat completions
	noTools bool            // may be called, for Ollama
}

// set gives a field, or one of an object as in options.seed, a value unless it
// has one.
func (r *request) set(name string, value json.RawMessage) {
	into := r.fields
	if object, member, nested := strings.Cut(name, "."); nested {
		if r.within[object] == nil {
			r.within[object] = make(fields)
		}
		into, name = r.within[object], member
	}
	if _, there := into[name]; !there {
		into[name] = value
	}
}

// as is the rule of a parameter that has but another name there.
func as(name string) rule {
	return func(to *request, value json.RawMessage) error {
		to.set(name, value)
		return nil
	}
}

// relays are parameters that are said to the relay, which says its own to the
// provider.
var relays = map[session.Dialect][]string{
	session.DialectChat:      {"model", "messages", "stream", "stream_options"},
	session.DialectResponses: {"model", "input", "stream", "stream_options", "background"},
}

// idle are parameters that change nothing of an answer.
var idle = []string{
	"user", "safety_identifier", "metadata", "store", "include", "service_tier",
	"prompt_cache_key", "prompt_cache_retention", "prediction", "truncation", "max_tool_calls",
}

// neutral are values that say what is so anyway.
var neutral = map[string]any{
	"n": 1.0, "logprobs": false, "top_logprobs": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
	"modalities": []any{"text"}, "parallel_tool_calls": true, "verbosity": "medium",
}

// isNeutral reports whether a parameter says nothing: lists and objects without
// elements do not either.
func isNeutral(name string, raw json.RawMessage) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return false
	}
	switch value := value.(type) {
	case []any:
		if len(value) == 0 {
			return true
		}
	case map[string]any:
		if len(value) == 0 {
			return true
		}
	}
	usual, known := neutral[name]
	return known && reflect.DeepEqual(value, usual)
}

// An untranslatable is what a rule says of a value that the other protocol has no
// word for. Its other errors are of values that mean nothing in the client's own.
type untranslatable string

func (u untranslatable) Error() string { return string(u) }

// errNoCounterpart reports a parameter that the other protocol does not have.
const errNoCounterpart = untranslatable("has no counterpart")

// translated returns q in the form of protocol p.
func (q question) translated(p Protocol) (question, error) {
	if q.dialect == session.DialectNative {
		return q, nil
	}
	q.parameters = q.parameters.given().without(relays[q.dialect])
	switch {
	case q.dialect == session.DialectChat && p == Chat:
		return q, nil
	case q.dialect == session.DialectResponses && p == Responses:
		q.items = true
		return q, nil
	}
	q.composed = true
	var err error
	nameOf := func(name string) string { return name } // as the client has it
	switch q.dialect {
	case session.DialectChat:
		q.messages, err = chatMessages(q.messages)
	case session.DialectResponses:
		if q.messages, err = chatOfItems(q.messages); err == nil {
			err = q.apply(responsesToChat, p, nameOf)
		}
		nameOf = responsesName
	default:
		return q, &session.InvalidError{Field: "source.dialect", Reason: "is unknown"}
	}
	if err != nil {
		return q, err
	}
	switch p {
	case Responses:
		err = q.apply(chatToResponses, p, nameOf)
	case Anthropic:
		if err = q.apply(chatToAnthropic, p, nameOf); err == nil {
			q.messages, err = anthropicForm(q.messages)
		}
	case Ollama:
		if err = q.apply(chatToOllama, p, nameOf); err == nil {
			q.messages, err = ollamaForm(q.messages)
		}
	}
	if err == nil && len(q.messages) == 0 {
		err = invalidMessages("have nothing that the provider can be asked")
	}
	return q, err
}

// apply gives q the parameters that rules make of those that it has.
func (q *question) apply(rules map[string]rule, p Protocol, nameOf func(string) string) error {
	if tools, there := q.parameters["tools"]; !there || isNeutral("tools", tools) {
		// Who has no tools says nothing with these, and some providers refuse them.
		q.parameters = q.parameters.without([]string{"tools", "tool_choice", "parallel_tool_calls"})
	}
	to := &request{model: q.model, fields: make(fields), within: make(map[string]fields)}
	for _, name := range slices.Sorted(maps.Keys(q.parameters)) {
		value := q.parameters[name]
		take := rules[name]
		switch {
		case take == nil && (slices.Contains(idle, name) || isNeutral(name, value)):
			continue
		case take == nil:
			take = func(*request, json.RawMessage) error { return errNoCounterpart }
		}
		err := take(to, value)
		if errors.Is(err, errNoCounterpart) {
			err = untranslatable(fmt.Sprintf("cannot be translated for this model, whose provider speaks %s", p))
		}
		if err != nil {
			invalid := session.InvalidError{Field: "source.parameters." + nameOf(name), Reason: err.Error()}
			if _, ok := errors.AsType[untranslatable](err); ok {
				return &session.UnsupportedError{InvalidError: invalid}
			}
			return &invalid
		}
	}
	for name, object := range to.within {
		to.set(name, jsonOf(object))
	}
	q.parameters = to.fields
	if to.system != nil {
		first := message{"role": jsonString("system"), "content": to.system}
		q.messages = append([]message{first}, q.messages...)
	}
	return nil
}

func invalidMessages(reason string, args ...any) error {
	return &session.InvalidError{Field: "source.messages", Reason: fmt.Sprintf(reason, args...)}
}
