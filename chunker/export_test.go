package chunker

import (
	"unicode/utf8"

	loader "github.com/pkoukk/tiktoken-go-loader"
)

// RankLoader lets tests give tiktoken-go the vocabularies of this package.
type RankLoader = rankLoader

// Pieces returns the pieces of text, which is given whole.
func Pieces(encoding, text string) []string {
	s, err := newTokenSplitter(encoding)
	if err != nil {
		panic(err)
	}
	var pieces []string
	for text != "" {
		n := len(s.piece([]byte(text), true))
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
			scanned := s.pieces.pos
			piece := s.piece(held, false)
			work += len(held) - scanned
			if len(piece) == 0 {
				break
			}
			held = held[len(piece):]
		}
	}
	return work
}

// LoadAgain decodes a vocabulary and forgets it.
func LoadAgain(encoding string) error {
	ranks, err := loader.NewOfflineLoader().LoadTiktokenBpe(encoding + rankSuffix)
	if err != nil {
		return err
	}
	v := &vocabulary{ranks: ranks}
	v.fillPairs()
	return nil
}
