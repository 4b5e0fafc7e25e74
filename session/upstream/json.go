package upstream

import "encoding/json"

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
