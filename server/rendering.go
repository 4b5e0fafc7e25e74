package server

import (
	"fmt"
	"strings"

	"tokenrelay/session"
)

// A rendering appends frames to dst in another form. That of the native
// protocol is nil, since a frame's wire form is the native event.
type rendering func(dst []byte, frames session.Wire) []byte

// rendered gives frames to r and keeps its bytes until the next.
func rendered(r rendering) func(session.Wire) ([]byte, error) {
	var dst []byte
	return func(frames session.Wire) ([]byte, error) {
		dst = r(dst[:0], frames)
		return dst, nil
	}
}

// appendPlain writes the text of text frames as it is, for the eye: server-sent
// events cannot carry a carriage return, so that a reader cannot tell one from
// a line feed.
func appendPlain(dst []byte, frames session.Wire) []byte {
	for f := range frames.Frames() {
		if f.Kind != session.KindText {
			dst = f.AppendWire(dst)
			continue
		}
		dst = fmt.Appendf(dst, "id: %d\n", f.ID)
		for line := range strings.SplitSeq(plainLines.Replace(f.Text()), "\n") {
			dst = append(dst, "data: "...)
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
		dst = append(dst, '\n')
	}
	return dst
}

var plainLines = strings.NewReplacer("\r\n", "\n", "\r", "\n")
