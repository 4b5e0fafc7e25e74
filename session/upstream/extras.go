package upstream

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"tokenrelay/session"
)

// maxExtras bounds the fields of chunks that are told when they change.
const maxExtras = 64

// What other deltas have of a chunk of chat completions, of its choice and of
// that one's delta. Obfuscation pads chunks to one length, which is over where
// they are taken apart.
var (
	chunkKnown  = []string{"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"}
	choiceKnown = []string{"index", "delta", "finish_reason"}
	deltaKnown  = []string{"role", "content", "refusal", "reasoning", "reasoning_content", "tool_calls"}
	usageKnown  = []string{"prompt_tokens", "completion_tokens", "total_tokens"}
)

// extras are what chunks of chat completions have beside what other deltas
// have, for clients that speak that protocol.
type extras struct {
	told  map[string]string // fields of chunks as they were told last
	usage json.RawMessage   // is told at the end: a later one replaces it
}

// An extra is the payload of a provider frame. It has one field beside
// Protocol.
type extra struct {
	Protocol Protocol        `json:"protocol"`
	Fields   fields          `json:"fields,omitempty"`
	Choice   fields          `json:"choice,omitempty"`
	Usage    json.RawMessage `json:"usage,omitempty"`
}

// extra takes what a chunk, which is JSON, has beside the text. It comes before
// the text of the same chunk.
func (d *decoder) extra(data string) {
	if d.extras == nil {
		return
	}
	var own fields
	var choices []byte
	for name, value := range members([]byte(data)) {
		switch string(name) {
		case "choices":
			choices = value
		case "usage":
			if len(others(value, usageKnown)) > 0 {
				d.extras.usage = value
			}
		default:
			if !slices.Contains(chunkKnown, string(name)) && d.extras.changed(name, value) {
				own = own.with(name, value)
			}
		}
	}
	d.tell(extra{Fields: own})
	n := 0
	for choice := range elements(choices) {
		if n++; n > maxChoices || d.extraOfChoice(choice) {
			break
		}
	}
}

// extraOfChoice reports whether it is the choice that is read.
func (d *decoder) extraOfChoice(choice []byte) bool {
	var delta fields
	for name, value := range members(choice) {
		switch string(name) {
		case "index":
			if string(value) != "0" && given(value) {
				return false
			}
		case "delta":
			delta = others(value, deltaKnown)
		}
	}
	own := others(choice, choiceKnown)
	if len(delta) > 0 {
		d.begun = true // it is part of the answer
		own = own.with([]byte("delta"), jsonOf(delta))
	}
	d.tell(extra{Choice: own})
	return true
}

// others returns the fields of an object that have a value, beside those that
// are known.
func others(object []byte, known []string) (own fields) {
	for name, value := range members(object) {
		if given(value) && !slices.Contains(known, string(name)) {
			own = own.with(name, value)
		}
	}
	return own
}

// with returns f, which may be nil, with a field whose name stands in JSON as
// it is given.
func (f fields) with(name []byte, value json.RawMessage) fields {
	if f == nil {
		f = make(fields)
	}
	var plain string
	json.Unmarshal(slices.Concat([]byte{'"'}, name, []byte{'"'}), &plain)
	f[plain] = value
	return f
}

// changed reports whether the field of a chunk is new or has another value, and
// can be told.
func (x *extras) changed(name []byte, value json.RawMessage) bool {
	last, there := x.told[string(name)]
	if !given(value) || there && last == string(value) || !there && len(x.told) == maxExtras || len(name)+len(value) > session.MaxFrame {
		return false
	}
	if x.told == nil {
		x.told = make(map[string]string)
	}
	x.told[string(name)] = string(value)
	return true
}

// tellUsage is for when the answer is at its end.
func (d *decoder) tellUsage() {
	if d.extras != nil && d.extras.usage != nil {
		d.tell(extra{Usage: d.extras.usage})
		d.extras.usage = nil
	}
}

// tell yields an extra that has something.
func (d *decoder) tell(x extra) {
	if len(x.Fields)+len(x.Choice)+len(x.Usage) == 0 {
		return
	}
	x.Protocol = Chat
	for _, of := range []fields{x.Fields, x.Choice} {
		for name, value := range of {
			of[name] = clean(value)
		}
	}
	x.Usage = clean(x.Usage)
	var payload bytes.Buffer
	encoder := json.NewEncoder(&payload)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(x) == nil {
		d.send(session.Delta{Kind: session.DeltaProvider, Text: string(bytes.TrimSuffix(payload.Bytes(), []byte("\n")))})
	}
}

// clean returns raw with U+FFFD for what is no character: bytes that are no
// UTF-8, and halves of surrogate pairs, which strict decoders refuse.
func clean(raw json.RawMessage) json.RawMessage {
	if utf8.Valid(raw) && !slices.ContainsFunc([]string{`\ud`, `\uD`}, func(half string) bool { return bytes.Contains(raw, []byte(half)) }) {
		return raw
	}
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber() // keeps them as they are written
	var value any
	if numbers.Decode(&value) != nil {
		return nil
	}
	return jsonOf(value)
}
