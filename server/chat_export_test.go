package server

import (
	"testing"

	"tokenrelay/session"
)

// RenderChat returns the chunks of frames.
func RenderChat(info session.Info, frames ...session.Frame) string {
	p, to := newChatProjection(info), new(events)
	for _, f := range frames {
		p.frame(f, to)
	}
	return string(to.wire)
}

// ChatAllocations returns how many allocations a chunk of text takes.
func ChatAllocations() float64 {
	p, to := newChatProjection(session.Info{}), new(events)
	p.frame(session.Frame{Kind: session.KindSession, Data: []byte("{}")}, to)
	f := session.Frame{Kind: session.KindText, Data: []byte(`{"text":"Hel"}`)}
	return testing.AllocsPerRun(100, func() {
		to.wire = to.wire[:0]
		p.frame(f, to)
	})
}

// DecodeChat reads the body of a create, and returns what the upstream and the
// generator are asked.
func DecodeChat(body []byte) (messages, parameters []byte, prompt string, err error) {
	q, _, err := decodeChat(body)
	return q.messages, q.parameters, q.prompt, err
}

// RenderCompletion returns the completion that frames come to.
func RenderCompletion(info session.Info, frames ...session.Frame) string {
	w := newCompletion(info)
	for _, f := range frames {
		w.frame(f, nil)
	}
	return string(w.appendTo(nil))
}
