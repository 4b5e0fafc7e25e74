package chunker

import (
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

// maxCluster is the longest grapheme cluster, in bytes. UAX #29 sets no limit,
// and whoever stacks marks could have any amount held; the longest emoji of
// Unicode has 35 bytes.
const maxCluster = 256

// A graphemeSplitter finds the extended grapheme clusters of UAX #29, Unicode
// Standard Annex "Unicode Text Segmentation", section 3.1.1.
type graphemeSplitter struct{ caps uint64 }

func (s *graphemeSplitter) split(text []byte, end bool) (n, units int) {
	// Nothing joins a control but an LF a CR (GB3 to GB5), so it need not wait
	// for what follows. Two other ASCII characters never join.
	switch c := text[0]; {
	case c == '\r':
		switch {
		case len(text) > 1 && text[1] == '\n':
			return 2, 1
		case len(text) > 1 || end:
			return 1, 1
		}
		return 0, 0
	case c < ' ' || c == 0x7f:
		return 1, 1
	case c < utf8.RuneSelf && len(text) > 1 && text[1] < utf8.RuneSelf:
		return 1, 1
	case c == 0xc2 && text[1] < 0xa0: // U+0080 to U+009F
		return 2, 1
	}

	// At the longest length it makes no difference what follows, so a cluster
	// is looked for in that much text only, which also keeps the cost linear.
	long := len(text) >= maxCluster
	window := text[:min(len(text), maxCluster)]
	n, _, _ = graphemes.SplitFunc(window, end && !long) // gives no error
	if n == 0 && long {
		n = cutPoint(text, maxCluster)
		s.caps++
	}
	return n, min(n, 1)
}

func (s *graphemeSplitter) capped() uint64 { return s.caps }
