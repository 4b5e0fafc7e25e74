package server

import (
	"bytes"

	"tokenrelay/session"
)

// maxMerged bounds the payload of a merged event, in bytes: what stands around
// it on the wire is less than the difference.
const maxMerged = session.MaxFrame - 64

// A compactor merges the frames up to head: text with the text that follows it,
// reasoning with reasoning, and fragments of a tool call with those that follow
// them. A merged event has the id of its last frame, so that a reader goes on
// behind it as behind any other. All other frames, and those past head, stay as
// they are. Payloads are spliced as they stand: their texts are escaped one
// character at a time.
type compactor struct {
	head session.FrameID
	then func(session.Wire) ([]byte, error) // given what is merged; nil for nothing more

	// The frame that others may be merged with; Data is without its end, and
	// nil if there is none.
	run session.Frame
	// more is how payloads begin that the run can take, up to their text.
	more []byte
	dst  session.Wire
	over bool // all that is merged has been
}

// payloadEnd is how all payloads end that can be merged.
var payloadEnd = []byte(`"}`)

// compacted gives what it makes of the frames up to head, and then of those that
// follow, to then, which may be nil.
func compacted(head session.FrameID, then func(session.Wire) ([]byte, error)) func(session.Wire) ([]byte, error) {
	return (&compactor{head: head, then: then}).render
}

// render returns what can be told by these frames: the last of them may wait for
// the next, which are there already.
func (m *compactor) render(frames session.Wire) ([]byte, error) {
	if !m.over {
		m.dst = m.dst[:0]
		for f := range frames.Frames() {
			m.take(f)
			m.over = f.ID >= m.head
		}
		frames = m.dst
		if m.over {
			m.dst, m.run.Data = nil, nil // nothing is kept for who reads on
		}
	}
	if m.then != nil {
		return m.then(frames)
	}
	return frames, nil
}

func (m *compactor) take(f session.Frame) {
	if m.joins(f) {
		m.run.ID = f.ID
		m.run.Data = append(m.run.Data, f.Data[len(m.more):len(f.Data)-len(payloadEnd)]...)
	} else {
		m.flush()
		if m.more = more(f); m.more == nil || f.ID > m.head {
			m.dst = f.AppendWire(m.dst)
			return
		}
		m.run.ID, m.run.Kind = f.ID, f.Kind
		m.run.Data = append(m.run.Data, f.Data[:len(f.Data)-len(payloadEnd)]...)
	}
	if f.ID == m.head {
		m.flush()
	}
}

// joins reports whether f can be merged with the run.
func (m *compactor) joins(f session.Frame) bool {
	return len(m.run.Data) > 0 && f.ID <= m.head && f.Kind == m.run.Kind &&
		bytes.HasPrefix(f.Data, m.more) && bytes.HasSuffix(f.Data, payloadEnd) &&
		len(m.run.Data)+len(f.Data)-len(m.more) <= maxMerged
}

// flush ends the run.
func (m *compactor) flush() {
	if len(m.run.Data) == 0 {
		return
	}
	m.run.Data = append(m.run.Data, payloadEnd...)
	m.dst = m.run.AppendWire(m.dst)
	m.run.Data = m.run.Data[:0]
}

var textBegin = []byte(`{"text":"`)

// more returns how payloads begin that go on from f, nil if none can.
func more(f session.Frame) []byte {
	if !bytes.HasSuffix(f.Data, payloadEnd) {
		return nil
	}
	switch f.Kind {
	case session.KindText, session.KindReasoning:
		if bytes.HasPrefix(f.Data, textBegin) {
			return textBegin
		}
	case session.KindToolCall:
		// {"index":7,"id":"…","name":"…","arguments":"…"}, and in fragments that
		// follow without id and name.
		if index, rest, ok := bytes.Cut(f.Data, []byte(",")); ok && bytes.HasPrefix(index, []byte(`{"index":`)) && bytes.Contains(rest, []byte(`"arguments":"`)) {
			return append(bytes.Clone(index), `,"arguments":"`...)
		}
	}
	return nil
}
