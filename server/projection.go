package server

import (
	"fmt"
	"strings"

	"tokenrelay/session"
)

// A projection appends frames to dst as another protocol's events, or in
// another form. It is a pure function of the log: what it makes of a frame
// depends on the frames before it alone. The native one is nil, since a frame's
// wire form is the native event.
type projection func(dst []byte, frames session.Wire) []byte

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
