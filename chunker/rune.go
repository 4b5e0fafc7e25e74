package chunker

import "unicode/utf8"

// A runeSplitter finds code points.
type runeSplitter struct{}

func (runeSplitter) split(text []byte, end bool) (n, units int) {
	_, n = utf8.DecodeRune(text)
	return n, 1
}

func (runeSplitter) capped() uint64 { return 0 }
