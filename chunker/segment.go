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

	// maxWord is the longest word, and how far is looked for what decides
	// where one ends.
	maxWord = 1 << 10
)

// A graphemeSplitter finds the extended grapheme clusters of UAX #29, Unicode
// Standard Annex "Unicode Text Segmentation", section 3.1.1.
type graphemeSplitter struct{ segmenter }

func (s *graphemeSplitter) split(text []byte, end bool) (n, units int) {
	// ASCII characters do not join, but for CR and LF, and no control waits to
	// be joined (GB3 to GB5).
	switch c := text[0]; {
	case c < utf8.RuneSelf && c != '\r' && (c < ' ' || c == 0x7f || len(text) > 1 && text[1] < utf8.RuneSelf):
		return 1, 1
	case c == 0xc2 && text[1] < 0xa0: // U+0080 to U+009F
		return 2, 1
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
type segmenter struct{ caps uint64 }

// first returns what split has to: the length of the segment at the start of
// text, which find finds, and the number 1, or zeros. What it returns depends
// on no more of the text than the longest bytes and the character after them,
// which also keeps the cost linear.
func (s *segmenter) first(find bufio.SplitFunc, longest int, text []byte, end bool) (n, units int) {
	if n := lineBreak(text); n > 0 {
		return n, 1
	}
	if len(text) <= longest {
		n, _, _ = find(text, end) // gives no error
		return n, min(n, 1)
	}
	cut := cutPoint(text, longest)
	_, size := utf8.DecodeRune(text[cut:])
	n, _, _ = find(text[:cut+size], false)
	if n == 0 {
		n = cut
		s.caps++
	}
	return n, 1
}

func (s *segmenter) capped() uint64 { return s.caps }

// lineBreak returns the length of the LF, VT, FF, CRLF, NEL, LS or PS at the
// start of text, which is a segment whatever follows (GB3, GB4, WB3, WB3a), or
// zero. A CR alone is one only if no LF follows.
func lineBreak(text []byte) int {
	switch c := text[0]; {
	case '\n' <= c && c <= '\f':
		return 1
	case c == '\r' && len(text) > 1 && text[1] == '\n':
		return 2
	case c == 0xc2 && text[1] == 0x85: // U+0085
		return 2
	case c == 0xe2 && text[1] == 0x80 && text[2]&^1 == 0xa8: // U+2028, U+2029
		return 3
	}
	return 0
}
