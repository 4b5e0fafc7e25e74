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

// extra takes what a chunk has beside the text. It comes before the text of the
// same chunk.
func (d *decoder) extra(data string) {
	if d.extras == nil {
		return
	}
	chunk := fieldsOf(json.RawMessage(data))
	var choices [maxChoices]json.RawMessage
	json.Unmarshal(chunk["choices"], &choices) // none, if it fails
	if usage := chunk["usage"]; len(fieldsOf(usage).without(usageKnown)) > 0 {
		d.extras.usage = usage
	}
	d.tell(extra{Fields: d.extras.changed(chunk.without(chunkKnown))})
	for _, raw := range choices {
		choice := fieldsOf(raw)
		if index, there := choice["index"]; choice == nil || there && string(index) != "0" {
			continue
		}
		delta := fieldsOf(choice["delta"]).without(deltaKnown)
		choice = choice.without(choiceKnown)
		if len(delta) > 0 {
			d.begun = true // it is part of the answer
			choice["delta"] = jsonOf(delta)
		}
		d.tell(extra{Choice: choice})
		break
	}
}

// changed returns those of f that are new or have another value.
func (x *extras) changed(f fields) fields {
	for name, value := range f {
		last, there := x.told[name]
		if there && last == string(value) || !there && len(x.told) == maxExtras || len(value) > session.MaxFrame {
			delete(f, name)
			continue
		}
		if x.told == nil {
			x.told = make(map[string]string)
		}
		x.told[name] = string(value)
	}
	return f
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
