package chunker

import (
	"unicode"
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
	// What follows a control cannot join it (GB4); a CR waits for its LF (GB3).
	// Two ASCII characters never join but for CR LF.
	if c := text[0]; c < utf8.RuneSelf && c != '\r' {
		if c < ' ' || c == 0x7f || len(text) > 1 && text[1] < utf8.RuneSelf {
			return 1, 1
		}
	} else if c == 0xc2 {
		if r, n := utf8.DecodeRune(text); unicode.IsControl(r) {
			return n, 1
		}
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
