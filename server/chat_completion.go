package server

import (
	"slices"

	"tokenrelay/session"
)

// A completion is a log as the chat completion that it comes to
// (https://platform.openai.com/docs/api-reference/chat/object).
type completion struct {
	info session.Info
	answer
	provider chatProvider
}

func newCompletion(info session.Info) *completion {
	return &completion{info: info, answer: answer{calls: calls{of: info.ID}}}
}

// frame makes no event.
func (w *completion) frame(f session.Frame, _ *events) {
	if f.Kind == session.KindProvider {
		w.provider.take(f)
		return
	}
	w.take(f)
}

func (w *completion) size() int { return w.answer.size() + w.provider.size() }

// ended returns an error unless the answer has come to its own end: a client
// would take a part for the whole.
func (w *completion) ended() error {
	if w.end == nil {
		return &requestError{codeNotEnded, "the completion has not come to its end: ask again later, or with stream=true for what there is"}
	}
	if failure := failureOf(w.state, *w.end); failure != nil {
		return failure
	}
	return nil
}

// appendTo appends the object.
func (w *completion) appendTo(b []byte) []byte {
	b = appendChatHead(b, w.info, "chat.completion", w.created)
	b = append(w.provider.fields.appendMembers(b, true), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if !w.has(session.KindText) && (len(w.called) > 0 || w.provider.delta["function_call"] != nil) {
		b = append(b, "null"...)
	} else {
		b = w.appendParts(b, session.KindText)
	}
	if w.has(session.KindReasoning) {
		b = w.appendParts(append(b, `,"reasoning_content":`...), session.KindReasoning)
	}
	for i, call := range w.called {
		if i == 0 {
			b = append(b, `,"tool_calls":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendJSON(append(b, `{"id":`...), call.id)
		b = appendJSON(append(b, `,"type":"function","function":{"name":`...), call.name)
		b = append(call.text.appendTo(append(b, `,"arguments":`...)), "}}"...)
		if i == len(w.called)-1 {
			b = append(b, ']')
		}
	}
	b = append(b, `,"refusal":null`...)
	b = w.provider.delta.appendMembers(b, true)
	b = appendJSON(append(b, `},"finish_reason":`...), finishReason(*w.end, len(w.called)))
	b = w.provider.choice.appendMembers(b, true)
	b = append(b, `}],"usage":`...)
	return append(w.provider.appendUsage(b, w.end.Usage), "}\n"...)
}

// has reports whether there is any text in the parts of a kind.
func (w *completion) has(kind session.Kind) bool {
	return slices.ContainsFunc(w.parts, func(p *part) bool { return p.kind == kind && len(p.text) > 0 })
}

// appendParts appends the parts of a kind as one JSON string.
func (w *completion) appendParts(dst []byte, kind session.Kind) []byte {
	dst = append(dst, '"')
	for _, p := range w.parts {
		if p.kind == kind {
			dst = append(dst, p.text...)
		}
	}
	return append(dst, '"')
}
