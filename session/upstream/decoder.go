package upstream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tokenrelay/session"
)

const (
	// maxCalls bounds the tool calls of an answer, and what one event has of
	// them or of other items.
	maxCalls = 1 << 10

	// maxCallWord bounds a call's id and its name, in bytes each: they stand in
	// one frame.
	maxCallWord = 1 << 10

	// maxReason bounds the reason of the end, in bytes.
	maxReason = 256
)

// A decoder takes what an answer holds, in the order in which it comes, and
// yields deltas. Protocols call its methods with JSON values as they are on the
// wire; a value that is missing or null is nothing.
type decoder struct {
	watch   *watch
	yield   func(session.Delta, error) bool
	failure func(json.RawMessage) error // makes an error of one that the provider reports
	end     func()                      // ends the body that is read

	launch *launch // of the generation that is read; nil once it has told the id, and for others

	reached time.Time // when the answer to the last try began; zero if it has not

	left     bool // yield wants no more
	dropped  bool // nobody did when the launch told the id
	begun    bool // there was something to yield
	finished bool // the finish reason has come
	reason   string
	own      string // the provider's word for it

	cursor     string // behind all that has been yielded
	before     string // behind the event before the one that is being decoded
	next       string // behind that
	holdHalves bool   // text that ends in half a character waits for the rest: no cursor stands between
	skip       string // what the beginning of the text need not repeat
	bytes      int64  // of all bodies

	seam   session.Continuation // how what comes was asked for; empty for a first answer
	seamed bool                 // that has been yielded

	input, output *int64 // tokens, as reported so far

	extras *extras // nil for clients that have no use for them

	texts     halves
	reasoning halves
	calls     map[int]*callDecoder
	held      int // of all these, those in which half a character waits
}

// A callDecoder is what is known of a tool call.
type callDecoder struct {
	arguments halves
	id, name  bool // have been yielded
}

// begin is for each body: what the one before held back is not completed by
// it. end ends it.
func (d *decoder) begin(by session.Continuation, end func()) {
	d.seam, d.end, d.before, d.next = by, end, "", ""
	d.reached = time.Now()
	d.texts, d.reasoning, d.calls, d.held = halves{}, halves{}, nil, 0
	if d.cursor == "" {
		d.input, d.output = nil, nil
	}
	if d.extras != nil {
		d.extras.usage = nil
	}
}

// at says behind which place of the answer the deltas of the next event stand.
func (d *decoder) at(cursor string) { d.before, d.next = d.next, cursor }

// text takes a piece of the text. Behind the finish reason there is none, nor
// reasoning, nor calls.
func (d *decoder) text(raw json.RawMessage) error {
	if d.finished {
		return nil
	}
	text, err := d.decode(&d.texts, raw)
	if err != nil {
		return malformed("a text that is not a string")
	}
	if text == "" {
		return nil
	}
	d.endHeld(false)
	d.sendText(text)
	return nil
}

func (d *decoder) sendText(text string) {
	for d.skip != "" && text != "" {
		_, n := utf8.DecodeRuneInString(d.skip)
		if !strings.HasPrefix(text, d.skip[:n]) {
			d.skip = ""
			break
		}
		text, d.skip = text[n:], d.skip[n:]
	}
	if text != "" {
		d.send(session.Delta{Kind: session.DeltaText, Text: text})
	}
}

// think takes a piece of the model's reasoning.
func (d *decoder) think(raw json.RawMessage) error {
	if d.finished {
		return nil
	}
	text, err := d.decode(&d.reasoning, raw)
	if err != nil {
		return malformed("a reasoning that is not a string")
	}
	if text != "" {
		d.send(session.Delta{Kind: session.DeltaReasoning, Text: text})
	}
	return nil
}

// call takes a fragment of a tool call. Some providers repeat id and name in
// each.
func (d *decoder) call(index int, id, name string, arguments json.RawMessage) error {
	switch {
	case d.finished:
		return nil
	case index < 0:
		return errNegative
	case len(id) > maxCallWord || len(name) > maxCallWord:
		return malformed(fmt.Sprintf("a tool call whose id or name has more than %d bytes", maxCallWord))
	case d.calls == nil:
		d.calls = make(map[int]*callDecoder)
	}
	c := d.calls[index]
	if c == nil {
		if len(d.calls) == maxCalls {
			return errManyCalls
		}
		c = new(callDecoder)
		d.calls[index] = c
	}
	text, err := d.decode(&c.arguments, arguments)
	if err != nil {
		return malformed("a tool call whose arguments are not a string")
	}
	call := session.ToolCall{Index: index, Arguments: text}
	if id != "" && !c.id {
		call.ID, c.id = id, true
	}
	if name != "" && !c.name {
		call.Name, c.name = name, true
	}
	if call != (session.ToolCall{Index: index}) {
		d.watch.token()
		if d.holdHalves && (call.ID != "" || call.Name != "") {
			d.settle(&c.arguments)
			call.Arguments += d.rest(&c.arguments) // its cursor stands behind them too
		}
		d.send(session.Delta{Kind: session.DeltaToolCall, Call: call})
	}
	return nil
}

// usage takes what the provider reports, which replaces what it reported
// before; nil is what it does not.
func (d *decoder) usage(input, output *int64) {
	d.input, d.output = cmp.Or(input, d.input), cmp.Or(output, d.output)
	if d.holdHalves {
		d.endHeld(true)
	}
	if d.input != nil || d.output != nil {
		d.send(session.Delta{Kind: session.DeltaUsage, Usage: session.Usage{Input: d.input, Output: d.output, Source: session.UsageReported}})
	}
}

// mark notes that the provider's answer can be read on from here.
func (d *decoder) mark() {
	if d.next != "" && d.next != d.cursor && d.held == 0 {
		d.send(session.Delta{Kind: session.DeltaCursor})
	}
}

// ends takes the reason of the end: what is still to come is not text.
func (d *decoder) ends(reason string, own map[string]string) {
	reason = strings.Clone(beginning(reason, maxReason)) // without all that it is the beginning of
	d.reason, d.own = reason, ""
	if common, known := own[reason]; known && common != reason {
		d.reason, d.own = common, reason
	}
	d.finished = true
	d.watch.ending(d.end)
}

// finish yields what was held back, and the end.
func (d *decoder) finish() {
	d.endHeld(true)
	d.tellUsage()
	d.send(session.Delta{Kind: session.DeltaFinish, Reason: d.reason, ProviderReason: d.own})
}

// endHeld yields what was held back of the reasoning, which ends where text
// begins, or of all. It came before the event that is being decoded.
func (d *decoder) endHeld(all bool) {
	if d.held == 0 {
		return
	}
	next := d.next
	d.next = d.before
	if rest := d.rest(&d.reasoning); rest != "" {
		d.send(session.Delta{Kind: session.DeltaReasoning, Text: rest})
	}
	if all {
		d.sendText(d.rest(&d.texts))
	}
	if all && d.held > 0 {
		for _, index := range slices.Sorted(maps.Keys(d.calls)) {
			if rest := d.rest(&d.calls[index].arguments); rest != "" {
				d.send(session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: index, Arguments: rest}})
			}
		}
	}
	d.next = next
}

// rest returns what was held back of one.
func (d *decoder) rest(of *halves) string {
	if of.high != "" {
		d.held--
	}
	return of.end()
}

// settle yields what was held back of anything but of: what comes next has a
// cursor, which must not stand behind it.
func (d *decoder) settle(of *halves) {
	goesOn := *of
	if goesOn.high != "" {
		d.held--
	}
	*of = halves{}
	d.endHeld(true)
	if *of = goesOn; goesOn.high != "" {
		d.held++
	}
}

// decode decodes the next piece of what of is for.
func (d *decoder) decode(of *halves, raw json.RawMessage) (string, error) {
	if of.high != "" {
		d.held--
	}
	text, err := of.decode(raw)
	if of.high != "" {
		d.held++
	}
	if text == "" && of.high == "" {
		return "", err
	}
	d.watch.token()
	if d.holdHalves {
		d.settle(of)
		text, of.before = of.before+text, ""
		if of.high != "" && d.next != "" {
			of.before, text = text, ""
		}
	}
	return text, err
}

func (d *decoder) send(delta session.Delta) {
	if d.launch != nil {
		d.dropped, d.launch = !d.launch.tell(), nil
	}
	if d.seam != "" && !d.seamed {
		d.seamed = true
		d.pass(session.Delta{Kind: session.DeltaSeam, By: d.seam})
	}
	if d.next != "" {
		d.cursor, delta.Cursor = d.next, d.next
	}
	switch delta.Kind {
	case session.DeltaText, session.DeltaReasoning, session.DeltaToolCall:
		d.begun = true
	}
	d.pass(delta)
}

func (d *decoder) pass(delta session.Delta) {
	if d.left || d.dropped {
		return
	}
	// What takes the deltas may wait for long: that is not the provider's silence.
	d.watch.hold(true)
	d.left = !d.yield(delta, nil)
	d.watch.hold(false)
}
