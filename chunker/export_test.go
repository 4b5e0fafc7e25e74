package chunker

import (
	"path"
	"strings"
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

// LoadAgain decodes a vocabulary and forgets it.
func LoadAgain(encoding string) error {
	_, err := readVocabulary(strings.TrimSuffix(encoding, "_harmony"), o200k)
	return err
}
