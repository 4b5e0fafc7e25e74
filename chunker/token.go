package chunker

import (
	"slices"
	"unicode/utf8"
)

// maxPiece is how much of a piece is held at most, in bytes. The patterns set no
// limit, and there are pieces whose first token depends on how they end.
const maxPiece = 1 << 10

// A tokenSplitter finds the tokens of ordinary text.
type tokenSplitter struct {
	vocabulary *vocabulary
	pieces     pretokenizer

	// Of the open piece: as long as all of it is the start of a token, which
	// one; from then on the encoding of its prefixes.
	walked int
	node   node
	open   prefixes

	tokens []token // certain and not yet given, the last one first
	caps   uint64
}

func newTokenSplitter(encoding string) (*tokenSplitter, error) {
	v, err := load(encoding)
	if err != nil {
		return nil, err
	}
	return &tokenSplitter{
		vocabulary: v,
		pieces:     pretokenizer{pattern: v.pattern, classes: classes()},
		open:       prefixes{vocabulary: v},
	}, nil
}

// split gives as many tokens as make whole characters.
func (s *tokenSplitter) split(text []byte, end bool) (n, units int) {
	if len(s.tokens) == 0 {
		s.refill(text, end)
	}
	for i := len(s.tokens) - 1; i >= 0; i-- {
		n += int(s.vocabulary.lengths[s.tokens[i]])
		units++
		s.tokens = s.tokens[:i]
		if n == len(text) || utf8.RuneStart(text[n]) {
			break
		}
	}
	return n, units
}

func (s *tokenSplitter) capped() uint64 { return s.caps }

// refill looks for tokens that have become certain. It reads no more text than
// may be held, whether or not there is more, so that the text alone decides.
func (s *tokenSplitter) refill(text []byte, end bool) {
	if cap(s.tokens) > maxMerge {
		s.tokens = nil // those of a rare long piece
	}
	full := len(text) >= maxPiece
	if full {
		text, end = text[:cutPoint(text, maxPiece)], false
	}
	if n := s.pieces.next(text, end); n > 0 {
		s.close(text[:n])
		return
	}
	s.settle(text)
	if full && len(s.tokens) == 0 {
		s.caps++
		s.close(text[:s.pieces.next(text, true)])
	}
}

// close finds the tokens of a piece that is whole.
func (s *tokenSplitter) close(piece []byte) {
	v := s.vocabulary
	unfed := s.open.len() == 0
	switch {
	case unfed && s.walked <= len(piece) && s.walk(piece) && v.nodes[s.node].token != none:
		s.tokens = append(s.tokens, v.nodes[s.node].token)
	case unfed && len(piece) <= maxMerge:
		s.tokens = v.merge(s.tokens, piece)
	default:
		s.open.grow(piece)
		s.tokens = s.open.tokens(s.tokens, len(piece))
	}
	s.restart()
}

// restart prepares for the next piece.
func (s *tokenSplitter) restart() {
	s.walked, s.node = 0, 0
	s.open.reset()
}

// walk reports whether all of text is the start of a token; then node is its
// place in the vocabulary.
func (s *tokenSplitter) walk(text []byte) bool {
	for s.walked < len(text) {
		n := s.vocabulary.child(s.node, text[s.walked])
		if n == 0 {
			return false
		}
		s.node = n
		s.walked++
	}
	return true
}

// settle finds the tokens at the start of an open piece that no further text
// can change.
func (s *tokenSplitter) settle(text []byte) {
	if s.open.len() == 0 && s.walk(text) {
		return // all of it can become one token
	}
	s.open.grow(text)
	at := s.open.settled()
	if at == 0 {
		return
	}
	if fork, free := s.pieces.fork(); fork > 0 {
		// The piece may also end at the fork. Then its encoding goes through
		// there, whatever is known of the text behind it.
		at = s.open.meet(at, fork)
		switch {
		case at < fork:
		case free:
			// It goes through there in any case, so what is behind can be
			// taken for a piece of its own.
			s.tokens = s.open.tokens(s.tokens, fork)
			s.pieces.close(fork)
			s.restart()
			return
		default:
			at = s.open.before(at) // a token stays before the fork: see drop
		}
	}
	for at > 0 && !utf8.RuneStart(text[at]) {
		at = s.open.before(at)
	}
	if at > 0 {
		s.tokens = s.open.tokens(s.tokens, at)
		s.open.drop(at)
		s.pieces.drop(at)
	}
}

// AppendTokenIDs appends the ids of the tokens of a chunk of the unit Token, as
// the encoding numbers them. Of other texts the ids mean little: they are not
// divided into pieces nor made valid UTF-8. The error is an
// *UnknownEncodingError.
func AppendTokenIDs(dst []int, encoding, chunk string) ([]int, error) {
	v, err := load(encoding)
	if err != nil {
		return dst, err
	}
	p := prefixes{vocabulary: v}
	p.grow([]byte(chunk))
	for _, t := range slices.Backward(p.tokens(nil, len(chunk))) {
		dst = append(dst, int(t))
	}
	return dst, nil
}
