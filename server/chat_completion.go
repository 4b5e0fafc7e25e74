package server

import (
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

func (w *completion) take(f session.Frame) {
	if f.Kind == session.KindProvider {
		w.provider.take(f)
		return
	}
	w.answer.take(f)
}

func (w *completion) size() int { return w.answer.size() + w.provider.size() }

// render returns the object. An answer that has not come to its own end is an
// error: a client would take a part for the whole.
func (w *completion) render() ([]byte, error) {
	if w.end == nil {
		return nil, &requestError{codeNotEnded, "the completion has not come to its end: ask again later, or with stream=true for what there is"}
	}
	if failure := failureOf(w.state, *w.end); failure != nil {
		return nil, failure
	}
	var text, reasoning escaped
	for _, p := range w.parts {
		switch p.kind {
		case session.KindText:
			text = append(text, p.text...)
		case session.KindReasoning:
			reasoning = append(reasoning, p.text...)
		}
	}
	b := appendChatHead(nil, w.info, "chat.completion", w.created)
	b = append(w.provider.fields.appendMembers(b, true), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if len(text) == 0 && (len(w.called) > 0 || w.provider.delta["function_call"] != nil) {
		b = append(b, "null"...)
	} else {
		b = text.appendTo(b)
	}
	if len(reasoning) > 0 {
		b = reasoning.appendTo(append(b, `,"reasoning_content":`...))
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
	return append(w.provider.appendUsage(b, w.end.Usage), "}\n"...), nil
}
