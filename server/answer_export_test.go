package server

import "tokenrelay/session"

// A Projected is what a projection has made of frames.
type Projected struct {
	Wire, Object []byte // of the projections that have no object it is nil
	Events       int64
}

// Project shows frames from an event on in each protocol.
func Project(info session.Info, from int64, frames ...session.Frame) map[string]Projected {
	shown := make(map[string]Projected)
	for name, p := range map[string]projection{"responses": newResponses(info), "chat": newChatProjection(info), "ui": newUIMessages(info)} {
		to := &events{from: from}
		for _, f := range frames {
			p.frame(f, to)
		}
		made := Projected{Wire: to.wire, Events: to.next}
		if r, ok := p.(*responses); ok {
			made.Object = r.appendObject(nil, r.status())
		}
		shown[name] = made
	}
	return shown
}
