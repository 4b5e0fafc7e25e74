package chunker

import "bytes"

// maxLine is the longest line with its end, in bytes.
const maxLine = 4 << 10

// A lineSplitter finds lines, with the LF, CRLF or CR that ends them.
type lineSplitter struct {
	scanned int // bytes at the start of the open line that hold no end
	caps    uint64
}

func (s *lineSplitter) split(text []byte, end bool) (n, units int) {
	window := text[:min(len(text), maxLine)]
	i := bytes.IndexAny(window[s.scanned:], "\r\n")
	if i >= 0 {
		i += s.scanned
		switch {
		case text[i] == '\n':
			n = i + 1
		case i+1 < len(text) && text[i+1] != '\n':
			n = i + 1
		case i+1 < len(text) && i+2 <= maxLine:
			n = i + 2
		case i+1 < len(text): // the LF would be past the limit
			n = i
			s.caps++
		case end:
			n = i + 1
		}
		s.scanned = i
	} else {
		s.scanned = len(window)
		switch {
		case len(text) > maxLine:
			n = cutPoint(text, maxLine)
			s.caps++
		case end:
			n = len(text)
		}
	}
	if n > 0 {
		s.scanned = 0
	}
	return n, min(n, 1)
}

func (s *lineSplitter) capped() uint64 { return s.caps }
