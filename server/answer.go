package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"tokenrelay/session"
)

// An answer is what a log says that a model wrote, as far as its frames have
// been taken: parts of text, reasoning and tool calls, in the order in which
// they began. It is the common beginning of the projections.
type answer struct {
	created time.Time
	parts   []*part
	end     *session.End // nil until it has ended
	state   session.State
	run     *part   // of text or reasoning, that is open; nil for none
	calls   calls   // which are open until the answer ends
	called  []*part // their parts, by their numbers
	held    int     // bytes of the parts
}

// A part is a run of text or of reasoning, or a tool call. Text and reasoning
// end where anything else of an answer begins. A call ends with the answer,
// since fragments of several may come by turns.
type part struct {
	kind     session.Kind // KindText, KindReasoning or KindToolCall
	index    int          // among the parts
	text     escaped      // of a call its arguments
	id, name string       // of a call
	ended    bool
	cut      bool // it ended with the answer only
}

// escaped is text as it stands between the quotes of a JSON string. Frames have
// it so, and what is shown to clients too.
type escaped []byte

// MarshalJSON makes a JSON string of it.
func (e escaped) MarshalJSON() ([]byte, error) {
	return e.appendTo(nil), nil
}

// UnmarshalJSON takes a JSON string as it stands.
func (e *escaped) UnmarshalJSON(raw []byte) error {
	if len(raw) >= 2 && raw[0] == '"' {
		*e = append((*e)[:0], raw[1:len(raw)-1]...)
	}
	return nil
}

// appendTo appends it as a JSON string.
func (e escaped) appendTo(dst []byte) []byte {
	return append(append(append(dst, '"'), e...), '"')
}

// unescaped returns what it stands for.
func (e escaped) unescaped() string {
	var text string
	quoted, _ := e.MarshalJSON()
	if json.Unmarshal(quoted, &text) != nil {
		return ""
	}
	return text
}

// A step is what one frame changes about an answer.
type step struct {
	ended  []*part // by this frame
	part   *part   // that the frame adds to; nil if to none
	begins bool    // with this frame
	delta  escaped // what it adds; shares the frame's memory
	over   bool    // the frame is the terminal one
}

// take adds a frame.
func (a *answer) take(f session.Frame) step {
	switch {
	case f.Kind == session.KindSession:
		var first struct{ Created time.Time }
		if json.Unmarshal(f.Data, &first) == nil {
			a.created = first.Created
		}
	case f.Kind == session.KindText, f.Kind == session.KindReasoning:
		return a.add(f.Kind, escapedText(f))
	case f.Kind == session.KindToolCall:
		return a.call(f)
	case f.Kind.Terminal():
		a.state, a.end = session.State(f.Kind), new(session.End)
		json.Unmarshal(f.Data, a.end) // what this relay wrote
		// In their order: a call that began behind a run has ended it.
		s := step{ended: append(a.called, a.endRun()...), over: true}
		for _, p := range s.ended {
			p.ended, p.cut = true, true
		}
		return s
	}
	return step{}
}

func (a *answer) add(kind session.Kind, delta escaped) step {
	s := step{delta: delta}
	if a.run == nil || a.run.kind != kind {
		s.ended = a.endRun()
		a.run, s.begins = a.begin(kind), true
	}
	s.part = a.run
	s.part.text = append(s.part.text, delta...)
	a.held += len(delta)
	return s
}

func (a *answer) call(f session.Frame) step {
	call, ok := fragmentOf(f)
	if !ok {
		return step{}
	}
	s := step{delta: call.Arguments}
	n, begins := a.calls.add(&call)
	if s.begins = begins; begins {
		s.ended = a.endRun()
		p := a.begin(session.KindToolCall)
		p.id, p.name = call.ID, call.Name
		a.called = append(a.called, p)
		a.held += len(p.name)
	}
	s.part = a.called[n]
	s.part.text = append(s.part.text, s.delta...)
	a.held += len(s.delta)
	return s
}

func (a *answer) begin(kind session.Kind) *part {
	p := &part{kind: kind, index: len(a.parts)}
	a.parts = append(a.parts, p)
	a.held += 100 // about
	return p
}

// endRun ends the part of text or reasoning that is open, and returns it.
func (a *answer) endRun() (ended []*part) {
	if a.run != nil {
		a.run.ended = true
		ended = append(ended, a.run)
	}
	a.run = nil
	return ended
}

// size is how many bytes the answer takes, about.
func (a *answer) size() int { return a.held + a.calls.held }

// escapedText returns the text of a text or reasoning frame, whose payload is
// {"text":"…"}.
func escapedText(f session.Frame) escaped {
	text, _ := bytes.CutPrefix(f.Data, []byte(`{"text":"`))
	text, _ = bytes.CutSuffix(text, []byte(`"}`))
	return text
}

// A fragment is what a tool call frame carries.
type fragment struct {
	Index     int
	ID, Name  string
	Arguments escaped
}

// fragmentOf reads a tool call frame.
func fragmentOf(f session.Frame) (call fragment, ok bool) {
	ok = json.Unmarshal(f.Data, &call) == nil
	return call, ok
}

// calls numbers the tool calls of an answer from 0 in the order in which they
// begin, and names them.
type calls struct {
	of      session.ID
	numbers map[int]int     // by their index in the log, which may leave numbers out
	taken   map[string]bool // their ids
	held    int             // bytes, about
}

// add returns the number of the call that a fragment is of, and whether the call
// begins with it. Then it settles the call's id, which is shown from there on:
// the provider's, or if it gave none, or gave it to another call too, one of ours.
func (c *calls) add(f *fragment) (n int, begins bool) {
	n, known := c.numbers[f.Index]
	if known {
		return n, false
	}
	if c.numbers == nil {
		c.numbers, c.taken = make(map[int]int), make(map[string]bool)
	}
	n = len(c.numbers)
	if f.ID == "" || c.taken[f.ID] {
		f.ID = fmt.Sprintf("call_%s_%d", c.of, n)
	}
	c.numbers[f.Index], c.taken[f.ID] = n, true
	c.held += 100 + 2*len(f.ID)
	return n, true
}

// tokens are what an answer has cost as OpenAI's clients have it, who expect
// numbers: one that is not known is 0, and its source, shown beside them, says
// what they are worth.
func tokens(u session.Usage) (input, output int64) {
	if u.Input != nil {
		input = *u.Input
	}
	if u.Output != nil {
		output = *u.Output
	}
	return input, output
}
