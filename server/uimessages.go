package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"

	"tokenrelay/session"
)

// uiMessages shows a log as the AI SDK's UI message stream, version 1
// (https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol). An event is what the SDK
// calls a chunk, so that chunks are counted as its clients do: from 0, without
// the farewell.
type uiMessages struct {
	answer
	message string         // id of the message that is written
	heads   map[*part]call // of the calls that have begun
	spans   []span         // of the parts, by their index
	shown   int            // bytes of heads and spans, and of what available takes
}

// A call is what every chunk of a tool call names it by, as JSON.
type call struct{ id, name []byte }

// A span is which events a part stands in: from its first to its last, which is
// -1 while there may be more.
type span struct{ first, last int64 }

// newUIMessages returns the projection of a session that is to show all of it.
func newUIMessages(of session.Info) *uiMessages {
	var recorded struct {
		UI uiRecord `json:"ui"`
	}
	json.Unmarshal(of.Spec.Projection.Recorded, &recorded) // of another protocol, or what this relay wrote
	return &uiMessages{
		answer:  answer{calls: calls{of: of.ID}},
		message: cmp.Or(recorded.UI.Message, "msg_"+of.ID.String()),
		heads:   make(map[*part]call),
	}
}

// A chunk is one that no text is spliced into.
type chunk struct {
	Type         string  `json:"type"`
	MessageID    string  `json:"messageId,omitempty"`
	ID           string  `json:"id,omitempty"`
	ErrorText    *string `json:"errorText,omitempty"`
	Reason       string  `json:"reason,omitempty"`
	FinishReason string  `json:"finishReason,omitempty"`
}

func (u *uiMessages) frame(f session.Frame, to *events) {
	if f.Kind == session.KindSession {
		to.addJSON("", chunk{Type: "start", MessageID: u.message})
		to.addJSON("", chunk{Type: "start-step"})
	}
	if f.Kind.Custom() {
		to.add("", func(dst []byte) []byte {
			dst = append(append(dst, `{"type":"data-`...), f.Kind...) // whose characters need no escape
			return append(append(append(dst, `","data":`...), f.Data...), '}')
		})
		return
	}
	s := u.take(f)
	for _, p := range s.ended {
		u.ends(p, to)
	}
	switch {
	case s.over:
		u.finish(to)
	case s.part != nil && s.part.kind == session.KindToolCall:
		u.input(s, to)
	case s.part != nil:
		u.text(s, to)
	}
}

// text shows a piece of text or of reasoning. The parts need not be kept: only
// the pieces are shown.
func (u *uiMessages) text(s step, to *events) {
	kind, id := uiKind(s.part), strconv.Itoa(s.part.index)
	if s.begins {
		u.begins(to)
		to.addJSON("", chunk{Type: kind + "-start", ID: id})
	}
	to.add("", func(dst []byte) []byte {
		dst = append(append(append(dst, `{"type":"`...), kind...), `-delta","id":"`...)
		dst = append(append(append(dst, id...), `","delta":"`...), s.delta...)
		return append(dst, `"}`...)
	})
	u.held -= len(s.part.text)
	s.part.text = s.part.text[:0]
}

// input shows a fragment of a tool call.
func (u *uiMessages) input(s step, to *events) {
	if s.begins {
		u.begins(to)
		c := u.head(s.part)
		to.add("", func(dst []byte) []byte { return append(c.head(dst, "tool-input-start"), '}') })
	}
	if len(s.delta) == 0 {
		return
	}
	u.shown += 3 * len(s.delta) // in available: unescaped, and before and after it is made compact
	to.add("", func(dst []byte) []byte {
		dst = append(append(dst, `{"type":"tool-input-delta","toolCallId":`...), u.heads[s.part].id...)
		return append(append(append(dst, `,"inputTextDelta":"`...), s.delta...), `"}`...)
	})
}

// head notes what the chunks of a call that begins name it by.
func (u *uiMessages) head(p *part) call {
	c := call{appendJSON(nil, p.id), appendJSON(nil, p.name)}
	u.heads[p] = c
	u.shown += 100 + len(c.id) + len(c.name)
	return c
}

func (c call) head(dst []byte, kind string) []byte {
	dst = append(append(append(dst, `{"type":"`...), kind...), `","toolCallId":`...)
	return append(append(append(dst, c.id...), `,"toolName":`...), c.name...)
}

// begins notes that the next event is a new part's first.
func (u *uiMessages) begins(to *events) {
	u.spans = append(u.spans, span{to.next, -1})
	u.shown += 16
}

// ends shows the end of a part. A call that is not followed by the whole
// answer's end may be a part of one, and stays as it is: nobody is to act on it.
func (u *uiMessages) ends(p *part, to *events) {
	if p.kind != session.KindToolCall {
		to.addJSON("", chunk{Type: uiKind(p) + "-end", ID: strconv.Itoa(p.index)})
	} else if u.state == session.Done {
		u.available(p, to)
	}
	u.spans[p.index].last = to.next - 1
}

// available shows a whole call: what it is called with, or that this is no JSON.
func (u *uiMessages) available(p *part, to *events) {
	arguments := p.text.unescaped()
	input := json.RawMessage(arguments)
	if len(bytes.TrimSpace(input)) == 0 {
		input = json.RawMessage("{}") // as the SDK has it
	}
	if json.Valid(input) {
		to.add("", func(dst []byte) []byte {
			dst = append(u.heads[p].head(dst, "tool-input-available"), `,"input":`...)
			return append(appendJSON(dst, input), '}')
		})
		return
	}
	to.add("", func(dst []byte) []byte {
		dst = append(u.heads[p].head(dst, "tool-input-error"), `,"input":`...)
		dst = append(appendJSON(dst, arguments), `,"errorText":`...)
		return append(appendJSON(dst, "The model called the tool with arguments that are not JSON."), '}')
	})
}

// finish shows how the answer ended. The chunk finish comes always, since
// clients come back for ever for a stream without it.
func (u *uiMessages) finish(to *events) {
	end := chunk{Type: "finish"}
	switch u.state {
	case session.Done:
		end.FinishReason = uiReason(u.end.Reason)
		to.addJSON("", chunk{Type: "finish-step"})
	case session.Stopped:
		to.addJSON("", chunk{Type: "abort", Reason: u.end.Reason})
	default:
		end.FinishReason = "error"
		to.addJSON("", chunk{Type: "error", ErrorText: new(failureOf(u.state, *u.end).Message)})
	}
	to.addJSON("", end)
	to.farewell("[DONE]")
}

// uiKind is what chunks call a part of text or reasoning.
func uiKind(p *part) string {
	if p.kind == session.KindReasoning {
		return "reasoning"
	}
	return "text"
}

// uiReason is the SDK's word for why an answer is done.
func uiReason(reason string) string {
	switch reason {
	case session.ReasonStop, session.ReasonFinish:
		return "stop"
	case "length":
		return "length"
	case "tool_calls":
		return "tool-calls"
	case "content_filter":
		return "content-filter"
	}
	return "other"
}

// rewound returns the first event that a reader needs to understand those from
// the given one on: where the parts begin that are open there. Parts that began
// later than those have all their events behind that.
func (u *uiMessages) rewound(from int64) int64 {
	first := from
	for _, s := range u.spans {
		if s.first < from && (s.last < 0 || s.last >= from) {
			first = min(first, s.first)
		}
	}
	return first
}

func (u *uiMessages) size() int { return u.answer.size() + u.shown }
