package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"tokenrelay/session"
)

// A bounded is an array of what a provider sent. More than maxCalls elements
// are malformed, and not decoded: each may take a hundred times its JSON.
type bounded[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (b *bounded[T]) UnmarshalJSON(raw []byte) error {
	*b = nil
	if !given(raw) {
		return nil
	}
	elements := json.NewDecoder(bytes.NewReader(raw))
	if first, err := elements.Token(); err != nil || first != json.Delim('[') {
		return &json.UnmarshalTypeError{Value: "no array", Type: reflect.TypeFor[[]T]()}
	}
	*b = []T{}
	for elements.More() {
		if len(*b) == maxCalls {
			return errManyCalls
		}
		var element T
		if err := elements.Decode(&element); err != nil {
			return err
		}
		*b = append(*b, element)
	}
	return nil
}

// decodeEvent decodes an event of a provider. Its error is a *session.Failure.
func decodeEvent(data []byte, event any) error {
	err := json.Unmarshal(data, event)
	if failure, ok := errors.AsType[*session.Failure](err); ok {
		return failure
	}
	if err != nil {
		return errNotItsJSON
	}
	return nil
}

// fields are those of a JSON object.
type fields map[string]json.RawMessage

// fieldsOf returns the fields of an object that have a value; none of anything
// else.
func fieldsOf(raw json.RawMessage) fields {
	var all fields
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all.given()
}

// given returns f without fields that are null.
func (f fields) given() fields {
	for name, value := range f {
		if !given(value) {
			delete(f, name)
		}
	}
	return f
}

// without returns what there is beside the fields of these names.
func (f fields) without(names []string) fields {
	for _, name := range names {
		delete(f, name)
	}
	return f
}

// given reports whether raw is there, if only as an empty value.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// filled reports whether raw has something.
func filled(raw json.RawMessage) bool { return given(raw) && string(raw) != `""` }

// firstOf returns the first of two that is filled, the second if neither is.
func firstOf(raw, other json.RawMessage) json.RawMessage {
	if filled(raw) {
		return raw
	}
	return other
}

func jsonString(s string) json.RawMessage { return jsonOf(s) }

// jsonOf is the JSON of strings and of what is JSON already.
func jsonOf(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // nothing of it can fail
	}
	return raw
}
