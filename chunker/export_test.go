package chunker

import (
	"path"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"
	loader "github.com/pkoukk/tiktoken-go-loader"
)

// A RankLoader gives tiktoken-go the embedded vocabularies, so that it fetches
// nothing.
type RankLoader struct{}

var _ tiktoken.BpeLoader = RankLoader{}

func (RankLoader) LoadTiktokenBpe(file string) (map[string]int, error) {
	return loader.NewOfflineLoader().LoadTiktokenBpe(path.Base(file))
}

// Pieces returns the pieces of text, which is given whole.
func Pieces(encoding, text string) []string {
	v, err := load(encoding)
	if err != nil {
		panic(err)
	}
	p := pretokenizer{pattern: v.pattern, classes: classes()}
	var pieces []string
	for text != "" {
		n := p.next([]byte(text), true)
		pieces, text = append(pieces, text[:n]), text[n:]
	}
	return pieces
}

// PieceWork returns how many bytes the pretokenizer scans if text comes one
// character at a time.
func PieceWork(encoding, text string) int {
	s, err := newTokenSplitter(encoding)
	if err != nil {
		panic(err)
	}
	work := 0
	var held []byte
	for _, r := range text {
		held = utf8.AppendRune(held, r)
		for len(held) > 0 {
			if len(s.tokens) == 0 { // else split need not look at the text
				work += len(held) - s.pieces.pos
			}
			n, _ := s.split(held, false)
			if n == 0 {
				break
			}
			held = held[n:]
		}
	}
	return work
}

// LoadAgain decodes a vocabulary once more.
func LoadAgain(encoding string) any {
	v, err := readVocabulary(encoding, o200k)
	if err != nil {
		panic(err)
	}
	return v
}

// A Toy is a vocabulary of a test's own: the ranks of its tokens, of which the
// 256 lowest are the single bytes.
type Toy struct{ v *vocabulary }

func NewToy(ranks map[string]int) Toy { return Toy{newVocabulary(o200k, ranks)} }

// Ends returns where the tokens of text end, and how many of them are settled,
// when the text comes a byte at a time.
func (t Toy) Ends(text string) (ends []int, settled int) {
	p := prefixes{vocabulary: t.v}
	for i := range len(text) {
		p.grow([]byte(text[:i+1]))
	}
	for end := len(text); end > 0; end = p.before(end) {
		ends = append([]int{end}, ends...)
	}
	return ends, p.settled()
}

// Merge returns where the tokens of text end, by looking at all pairs for each
// join.
func (t Toy) Merge(text string) (ends []int) {
	tokens := t.v.merge(nil, []byte(text))
	end := 0
	for i := len(tokens) - 1; i >= 0; i-- {
		end += int(t.v.lengths[tokens[i]])
		ends = append(ends, end)
	}
	return ends
}
