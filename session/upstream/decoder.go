package upstream

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"tokenrelay/session"
)

// A decoder takes what an answer holds, in the order in which it comes, and
// yields deltas. Protocols call its methods with JSON values as they are on the
// wire; a value that is missing or null is nothing.
type decoder struct {
	watch   *watch
	yield   func(session.Delta, error) bool
	failure func(json.RawMessage) error // makes an error of one that the provider reports
	end     func()                      // ends the body that is read

	left     bool // yield wants no more
	begun    bool // there was something to yield
	finished bool // the finish reason has come
	reason   string
	own      string // the provider's word for it

	cursor     string // behind all that has been yielded
	next       string // behind the event that is being decoded
	holdHalves bool   // text that ends in half a character waits for the rest: no cursor stands between
	skip       string // what the beginning of the text need not repeat
	seamed     bool   // a seam has been yielded
	bytes      int64  // of all bodies

	input, output *int64 // tokens, as reported so far

	texts     halves
	reasoning halves
	arguments map[int]*halves // of each tool call
}

// at says behind which place of the answer the deltas of the next event stand.
func (d *decoder) at(cursor string) { d.next = cursor }

// text takes a piece of the text.
func (d *decoder) text(raw json.RawMessage) error {
	text, err := d.decode(&d.texts, raw)
	if err != nil {
		return malformed("a text that is not a string")
	}
	if text == "" {
		return nil
	}
	d.endReasoning()
	d.sendText(text)
	return nil
}

func (d *decoder) sendText(text string) {
	for d.skip != "" && text != "" {
		if text[0] != d.skip[0] {
			d.skip = ""
			break
		}
		text, d.skip = text[1:], d.skip[1:]
	}
	if text != "" {
		d.send(session.Delta{Kind: session.DeltaText, Text: text})
	}
}

// think takes a piece of the model's reasoning.
func (d *decoder) think(raw json.RawMessage) error {
	text, err := d.decode(&d.reasoning, raw)
	if err != nil {
		return malformed("a reasoning that is not a string")
	}
	if text != "" {
		d.send(session.Delta{Kind: session.DeltaReasoning, Text: text})
	}
	return nil
}

// call takes a fragment of a tool call.
func (d *decoder) call(index int, id, name string, arguments json.RawMessage) error {
	if d.arguments == nil {
		d.arguments = make(map[int]*halves)
	}
	of := d.arguments[index]
	if of == nil {
		of = new(halves)
		d.arguments[index] = of
	}
	text, err := d.decode(of, arguments)
	if err != nil {
		return malformed("a tool call whose arguments are not a string")
	}
	if text != "" || id != "" || name != "" {
		d.send(session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: index, ID: id, Name: name, Arguments: text}})
	}
	return nil
}

// usage takes what the provider reports, which replaces what it reported
// before; nil is what it does not.
func (d *decoder) usage(input, output *int64) {
	d.input, d.output = cmp.Or(input, d.input), cmp.Or(output, d.output)
	if d.input != nil || d.output != nil {
		d.send(session.Delta{Kind: session.DeltaUsage, Usage: session.Usage{Input: d.input, Output: d.output, Source: session.UsageReported}})
	}
}

// mark notes that the provider's answer can be read on from here.
func (d *decoder) mark() {
	if d.next != "" && d.next != d.cursor {
		d.send(session.Delta{Kind: session.DeltaCursor})
	}
}

// ends takes the reason of the end: what is still to come is not text.
func (d *decoder) ends(reason string, own map[string]string) {
	d.reason, d.own = reason, ""
	if common, known := own[reason]; known && common != reason {
		d.reason, d.own = common, reason
	}
	d.finished = true
	d.watch.ending(d.end)
}

// finish yields what was held back, and the end.
func (d *decoder) finish() {
	d.endReasoning()
	d.endText()
	d.endCalls()
	d.send(session.Delta{Kind: session.DeltaFinish, Reason: d.reason, Own: d.own})
}

func (d *decoder) endReasoning() {
	if rest := d.reasoning.end(); rest != "" {
		d.send(session.Delta{Kind: session.DeltaReasoning, Text: rest})
	}
}

func (d *decoder) endText() {
	if rest := d.texts.end(); rest != "" {
		d.sendText(rest)
	}
}

func (d *decoder) endCalls() {
	for _, index := range slices.Sorted(maps.Keys(d.arguments)) {
		if rest := d.arguments[index].end(); rest != "" {
			d.send(session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: index, Arguments: rest}})
		}
	}
}

// decode decodes the next piece of what of is for.
func (d *decoder) decode(of *halves, raw json.RawMessage) (string, error) {
	text, err := of.decode(raw)
	if text == "" && of.high == "" {
		return "", err
	}
	d.watch.token()
	if d.holdHalves {
		text, of.before = of.before+text, ""
		if of.high != "" {
			of.before, text = text, ""
		}
	}
	return text, err
}

func (d *decoder) send(delta session.Delta) {
	if d.left {
		return
	}
	if d.next != "" {
		d.cursor, delta.Cursor = d.next, d.next
	}
	switch delta.Kind {
	case session.DeltaText, session.DeltaReasoning, session.DeltaToolCall:
		d.begun = true
	}
	// What takes the deltas may wait for long: that is not the provider's silence.
	d.watch.hold(true)
	d.left = !d.yield(delta, nil)
	d.watch.hold(false)
}
