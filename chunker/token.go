package chunker

import (
	"path"
	"strings"
	"sync"

	"github.com/pkoukk/tiktoken-go"
	loader "github.com/pkoukk/tiktoken-go-loader"
)

// maxPiece is the longest piece, in bytes. The patterns set no limit: a run of
// letters or blanks goes on as long as it likes.
const maxPiece = 1 << 10

// A tokenSplitter finds the tokens of ordinary text: it closes a piece of the
// encoding's pattern, then encodes it.
type tokenSplitter struct {
	vocabulary *vocabulary
	pieces     pretokenizer
	groups     []group // of the piece closed last
	given      int     // how many of them split has returned
	caps       uint64
}

func newTokenSplitter(encoding string) (*tokenSplitter, error) {
	v, err := load(encoding)
	if err != nil {
		return nil, err
	}
	return &tokenSplitter{
		vocabulary: v,
		pieces:     pretokenizer{pattern: v.pattern, classes: classes()},
	}, nil
}

func (s *tokenSplitter) split(text []byte, end bool) (n, units int) {
	if s.given == len(s.groups) {
		piece := s.piece(text, end)
		if len(piece) == 0 {
			return 0, 0
		}
		if s.vocabulary.has(piece) {
			return len(piece), 1
		}
		if cap(s.groups) > maxShort {
			s.groups = nil // of a rare long piece
		}
		s.groups = s.vocabulary.encode(s.groups[:0], piece)
		s.given = 0
	}
	g := s.groups[s.given]
	s.given++
	return int(g.bytes), int(g.tokens)
}

func (s *tokenSplitter) capped() uint64 { return s.caps }

// piece returns the piece at the start of text, empty if its end is not
// certain. A piece that is open at the longest length is closed there as at the
// end of the text, whether or not there is more, so that the text alone
// decides.
func (s *tokenSplitter) piece(text []byte, end bool) []byte {
	if len(text) < maxPiece {
		return text[:s.pieces.next(text, end)]
	}
	text = text[:cutPoint(text, maxPiece)]
	n := s.pieces.next(text, false)
	if n == 0 {
		n = s.pieces.next(text, true)
		s.caps++
	}
	return text[:n]
}

// load returns the vocabulary of the encoding, where empty means
// DefaultEncoding. All callers share one.
func load(encoding string) (*vocabulary, error) {
	encoding, err := ParseEncoding(encoding)
	if err != nil {
		return nil, err
	}
	return vocabularies[encoding]()
}

// vocabularies holds those that were loaded. Each is immutable.
var vocabularies = map[string]func() (*vocabulary, error){
	tiktoken.MODEL_CL100K_BASE: sync.OnceValues(func() (*vocabulary, error) {
		return newVocabulary(tiktoken.MODEL_CL100K_BASE, cl100k)
	}),
	tiktoken.MODEL_O200K_BASE: sync.OnceValues(func() (*vocabulary, error) {
		return newVocabulary(tiktoken.MODEL_O200K_BASE, o200k)
	}),
}

func newVocabulary(encoding string, p pattern) (*vocabulary, error) {
	ranks, err := rankLoader{}.LoadTiktokenBpe(encoding + rankSuffix)
	if err != nil {
		return nil, err
	}
	v := &vocabulary{pattern: p, ranks: ranks}
	v.fillPairs()
	return v, nil
}

// rankSuffix ends the name of a file with a vocabulary.
const rankSuffix = ".tiktoken"

// rankFiles decodes the embedded files, each once.
var rankFiles = map[string]func() (map[string]int, error){
	tiktoken.MODEL_CL100K_BASE: sync.OnceValues(func() (map[string]int, error) {
		return loader.NewOfflineLoader().LoadTiktokenBpe(tiktoken.MODEL_CL100K_BASE + rankSuffix)
	}),
	tiktoken.MODEL_O200K_BASE: sync.OnceValues(func() (map[string]int, error) {
		return loader.NewOfflineLoader().LoadTiktokenBpe(tiktoken.MODEL_O200K_BASE + rankSuffix)
	}),
}

// A rankLoader gives tiktoken-go the vocabularies of this package, so that
// there is one of each in memory and nothing is ever fetched.
type rankLoader struct{}

var _ tiktoken.BpeLoader = rankLoader{}

// LoadTiktokenBpe returns the ranks in the file with the base name of file. They
// are shared and must not be changed.
func (rankLoader) LoadTiktokenBpe(file string) (map[string]int, error) {
	name := strings.TrimSuffix(path.Base(file), rankSuffix)
	decode, ok := rankFiles[name]
	if !ok {
		return nil, &UnknownEncodingError{Encoding: name}
	}
	return decode()
}
