package chunker

import (
	"bufio"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
	"github.com/clipperhouse/uax29/v2/words"
)

// segmentUnicode is the version of Unicode that clusters and words are of.
const segmentUnicode = "17.0.0"

// UAX #29 sets no limit to a segment, so whoever stacks marks or leaves out
// blanks could have any amount held. The limits are in bytes.
const (
	// maxCluster is the longest grapheme cluster. The longest emoji of Unicode
	// has 35 bytes.
	maxCluster = 256

	// maxWord is the longest word. As far is looked for what decides where one
	// ends: after "a." and marks, whether a letter follows.
	maxWord = 512
)

// A graphemeSplitter finds the extended grapheme clusters of UAX #29, Unicode
// Standard Annex "Unicode Text Segmentation", section 3.1.1.
type graphemeSplitter struct{ segmenter }

func (s *graphemeSplitter) split(text []byte, end bool) (n, units int) {
	// ASCII characters do not join, but for CR and LF.
	if len(text) > 1 && text[0] < utf8.RuneSelf && text[1] < utf8.RuneSelf && text[0] != '\r' {
		return 1, 1
	}
	return s.first(graphemes.SplitFunc, maxCluster, text, end)
}

// A wordSplitter finds the words of UAX #29, section 4.1.1, and what stands
// between them: every segment is a unit.
type wordSplitter struct{ segmenter }

func (s *wordSplitter) split(text []byte, end bool) (n, units int) {
	return s.first(words.SplitFunc, maxWord, text, end)
}

// A segmenter is what finding clusters and words have in common.
type segmenter struct {
	caps  uint64
	probe []byte // here, so that it is allocated once
}

// first returns what split has to, for the segment that find finds at the start
// of text. No more of the text than the longest bytes and the character after
// them has a say. That also bounds the cost: find is asked about all of an open
// segment with each delta.
func (s *segmenter) first(find bufio.SplitFunc, longest int, text []byte, end bool) (n, units int) {
	long := len(text) > longest
	n, _, _ = find(text[:min(len(text), longest)], end && !long) // gives no error
	switch {
	case n > 0:
	case long:
		cut := cutPoint(text, longest)
		_, size := utf8.DecodeRune(text[cut:])
		n, _, _ = find(text[:cut+size], false)
		if n == 0 {
			n = cut
			s.caps++
		}
	case len(text) <= utf8.UTFMax && text[len(text)-1] != '\r':
		// find waits for a next character even after a newline or another
		// control, which none joins (GB4, WB3a). A mark joins all else.
		s.probe = append(append(s.probe[:0], text...), "\u0301"...)
		n, _, _ = find(s.probe, false)
	}
	return n, min(n, 1)
}

func (s *segmenter) capped() uint64 { return s.caps }
