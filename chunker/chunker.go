package chunker

import (
	"fmt"
	"strings"
	"unicode"
)

// A Unit is what text is cut into.
type Unit string

const (
	// Rune is a Unicode code point.
	Rune Unit = "rune"

	// Grapheme is an extended grapheme cluster of UAX #29, what a reader takes
	// for one character. One that is longer than 256 bytes is cut at a code
	// point.
	Grapheme Unit = "grapheme"

	// Token is a token of the chosen encoding, as tiktoken gives for ordinary
	// text: what looks like a special token is none. Tokens that share a
	// character stand in one chunk. Where more than 1 KiB would have to
	// be held, they are divided as if the text ended there.
	Token Unit = "token"

	// Word is a word of UAX #29, or what stands between two: blanks, a newline,
	// a punctuation mark. No dictionary is asked, so a Han character is a word
	// of its own, and so is a letter of Hiragana or Thai. One that is longer
	// than 512 bytes, or whose end that much text does not decide, is cut there at
	// a code point.
	Word Unit = "word"

	// Line is a line with the LF, CRLF or CR that ends it, the last one
	// possibly without. One that is longer than 4 KiB is cut at a code point.
	Line Unit = "line"

	// Delta is what one Push was given, except that an incomplete character at
	// its end waits for the next one. More than 8 KiB are cut at code points.
	Delta Unit = "delta"
)

// Units returns all units, in the order in which they are documented.
func Units() []Unit {
	return []Unit{Rune, Grapheme, Token, Word, Line, Delta}
}

// ParseUnit returns the unit named s, or an *UnknownUnitError.
func ParseUnit(s string) (Unit, error) {
	for _, u := range Units() {
		if string(u) == s {
			return u, nil
		}
	}
	return "", &UnknownUnitError{Unit: s}
}

// An UnknownUnitError reports a name that is no unit's.
type UnknownUnitError struct{ Unit string }

func (e *UnknownUnitError) Error() string {
	var names []string
	for _, u := range Units() {
		names = append(names, string(u))
	}
	return fmt.Sprintf("unknown unit %q (want %s)", e.Unit, strings.Join(names, ", "))
}

// UnicodeVersion returns the version of the Unicode tables that decide where
// unit ends: the boundaries of a Grapheme or a Word, and for a Token which
// characters are letters, numbers, marks and blanks. It is empty for a unit that
// none decides. A text that is cut under another version may be cut elsewhere,
// so it is worth recording with stored chunks.
func UnicodeVersion(unit Unit) string {
	switch unit {
	case Grapheme, Word:
		return segmentUnicode
	case Token:
		return unicode.Version
	}
	return ""
}

// DefaultEncoding is the encoding of the unit Token where none is named.
const DefaultEncoding = "o200k_base"

// Encodings returns the names of all encodings of the unit Token.
// o200k_harmony, of the open models, is o200k_base as far as ordinary text goes.
func Encodings() []string {
	return []string{"cl100k_base", "o200k_base", "o200k_harmony"}
}

// ParseEncoding returns the encoding named s, or an *UnknownEncodingError. The
// empty string names DefaultEncoding.
func ParseEncoding(s string) (string, error) {
	if s == "" {
		return DefaultEncoding, nil
	}
	for _, name := range Encodings() {
		if name == s {
			return name, nil
		}
	}
	return "", &UnknownEncodingError{Encoding: s}
}

// An UnknownEncodingError reports a name that is no encoding's.
type UnknownEncodingError struct{ Encoding string }

func (e *UnknownEncodingError) Error() string {
	return fmt.Sprintf("unknown encoding %q (want %s)", e.Encoding, strings.Join(Encodings(), ", "))
}

// An EncodingUnitError reports an encoding that came with a unit other than
// Token.
type EncodingUnitError struct {
	Unit     Unit
	Encoding string
}

func (e *EncodingUnitError) Error() string {
	return fmt.Sprintf("encoding %q with unit %q (only %q has encodings)", e.Encoding, e.Unit, Token)
}

// A Chunk is a run of one or more whole units.
type Chunk struct {
	// Text is valid UTF-8 and never empty. Chunks of one chunker may
	// share memory: some hundred bytes of it, or what one Push was given and
	// what was held before it.
	Text string

	// Units is the number of units in Text. It is more than 1 only for tokens
	// that share a character.
	Units int

	// Last is the index of the last unit in Text, counted from 1 over all that
	// the chunker has cut.
	Last uint64
}

// A Chunker cuts one text. It uses no clock and starts no goroutine; its
// methods must not be called concurrently.
//
// The accepted text is what was pushed since the last Flush, with every byte
// that cannot be part of valid UTF-8 replaced by U+FFFD. Up to three bytes at
// its end that may yet become a character are part of it as they are.
//
// At any time the accepted text is the join of its chunks followed by Held.
type Chunker interface {
	// Push takes the next part of the text, which may end anywhere, and appends
	// to dst the chunks that became certain by it. It keeps neither dst nor
	// delta.
	Push(dst []Chunk, delta string) []Chunk

	// Flush ends the text: it replaces an incomplete character at the end and
	// appends what is held to dst. Then the chunker can take another text,
	// which is cut independently; the indexes of its units go on.
	Flush(dst []Chunk) []Chunk

	// Held returns the accepted text that is in no chunk yet. Its length is
	// bounded: by 3 bytes of an incomplete character for Rune and Delta, and by
	// these and 256 bytes for Grapheme, 512 for Word, 1 KiB for Token, 4 KiB
	// for Line.
	//
	// Held text does not say how the chunker came to hold it: a new chunker
	// that is given Held need not go on with the same chunks. To rebuild a
	// chunker, push the whole text.
	Held() string

	// Capped returns how often a unit was cut because of its longest length. One
	// that ends exactly there does not count, except for Token, which does not
	// wait to see whether it ends.
	Capped() uint64
}

// New returns a chunker that cuts into unit. The encoding is for Token, where
// the empty string means DefaultEncoding, and must be empty for all others. The
// error is an *UnknownUnitError, *UnknownEncodingError or *EncodingUnitError.
//
// The first chunker of an encoding decodes its vocabulary, which takes some
// tenths of a second; see Load.
func New(unit Unit, encoding string) (Chunker, error) {
	unit, err := ParseUnit(string(unit))
	if err != nil {
		return nil, err
	}
	if unit != Token && encoding != "" {
		return nil, &EncodingUnitError{Unit: unit, Encoding: encoding}
	}
	switch unit {
	case Rune:
		return &cutter{splitter: runeSplitter{}}, nil
	case Grapheme:
		return &cutter{splitter: new(graphemeSplitter)}, nil
	case Word:
		return &cutter{splitter: new(wordSplitter)}, nil
	case Line:
		return &cutter{splitter: new(lineSplitter)}, nil
	case Delta:
		return new(deltaChunker), nil
	}
	tokens, err := newTokenSplitter(encoding)
	if err != nil {
		return nil, err
	}
	return &cutter{splitter: tokens}, nil
}

// Load decodes the vocabularies of the encodings, each once in a process, so
// that New need not. No names mean all of them. It may be called concurrently.
// The error is an *UnknownEncodingError.
func Load(encodings ...string) error {
	if len(encodings) == 0 {
		encodings = Encodings()
	}
	for _, s := range encodings {
		if _, err := load(s); err != nil {
			return err
		}
	}
	return nil
}
