package server

import (
	"testing"

	"tokenrelay/session"
)

// DecodeUI reads the body of a create, and returns what the upstream and the
// generator are asked.
func DecodeUI(body []byte) (messages, parameters []byte, prompt string, err error) {
	r, err := decodeUI(body)
	return r.messages, r.parameters, r.prompt, err
}

// UIAllocations returns how many allocations a chunk of text takes.
func UIAllocations() float64 {
	p, to := newUIMessages(session.Info{}), new(events)
	p.frame(session.Frame{Kind: session.KindSession, Data: []byte("{}")}, to)
	f := session.Frame{Kind: session.KindText, Data: []byte(`{"text":"Hel"}`)}
	p.frame(f, to)
	return testing.AllocsPerRun(100, func() {
		to.wire = to.wire[:0]
		p.frame(f, to)
	})
}
