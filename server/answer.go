package server

import (
	"bytes"
	"encoding/json"
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
	calls   map[int]*part // by their index in the log
	bytes   int           // of the parts
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
}

// escaped is text as it stands between the quotes of a JSON string. Frames have
// it so, and what is shown to clients too.
type escaped []byte

// MarshalJSON makes a JSON string of it.
func (e escaped) MarshalJSON() ([]byte, error) {
	return e.appendTo(nil), nil
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
		return step{ended: a.close(func(*part) bool { return true }), over: true}
	}
	return step{}
}

// escapedText returns the text of a text or reasoning frame, whose payload is
// {"text":"…"}.
func escapedText(f session.Frame) escaped {
	text, _ := bytes.CutPrefix(f.Data, []byte(`{"text":"`))
	text, _ = bytes.CutSuffix(text, []byte(`"}`))
	return text
}

func (a *answer) add(kind session.Kind, delta escaped) step {
	s := step{delta: delta}
	if n := len(a.parts); n > 0 && a.parts[n-1].kind == kind && !a.parts[n-1].ended {
		s.part = a.parts[n-1]
	} else {
		s.ended = a.close(func(p *part) bool { return p.kind != session.KindToolCall })
		s.part, s.begins = a.begin(kind), true
	}
	s.part.text = append(s.part.text, delta...)
	a.bytes += len(delta)
	return s
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

// UnmarshalJSON takes a JSON string as it stands.
func (e *escaped) UnmarshalJSON(raw []byte) error {
	if len(raw) >= 2 && raw[0] == '"' {
		*e = append((*e)[:0], raw[1:len(raw)-1]...)
	}
	return nil
}

func (a *answer) call(f session.Frame) step {
	call, ok := fragmentOf(f)
	if !ok {
		return step{}
	}
	s := step{part: a.calls[call.Index], delta: call.Arguments}
	if s.part == nil {
		s.ended = a.close(func(p *part) bool { return p.kind != session.KindToolCall })
		s.part, s.begins = a.begin(session.KindToolCall), true
		if a.calls == nil {
			a.calls = make(map[int]*part)
		}
		a.calls[call.Index] = s.part
	}
	if call.ID != "" {
		s.part.id = call.ID
	}
	if call.Name != "" {
		s.part.name = call.Name
	}
	s.part.text = append(s.part.text, s.delta...)
	a.bytes += len(s.delta)
	return s
}

func (a *answer) begin(kind session.Kind) *part {
	p := &part{kind: kind, index: len(a.parts)}
	a.parts = append(a.parts, p)
	a.bytes += 100 // about
	return p
}

// close ends the parts that it is to, and returns those that it ended.
func (a *answer) close(which func(*part) bool) (ended []*part) {
	for _, p := range a.parts {
		if !p.ended && which(p) {
			p.ended = true
			ended = append(ended, p)
		}
	}
	return ended
}

// size is how many bytes the answer takes, about.
func (a *answer) size() int { return a.bytes }
