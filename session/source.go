package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"unicode/utf8"
)

// A SourceType names what yields a session's text.
type SourceType string

const (
	SourceText     SourceType = "text"     // given whole
	SourceGenerate SourceType = "generate" // the seeded demo generator
	SourcePush     SourceType = "push"     // clients append it
	SourceUpstream SourceType = "upstream" // a model provider
)

// A SourceSpec says where a session's text comes from. Fields of other types
// of source than Type stay zero.
type SourceSpec struct {
	Type SourceType

	Text string // text

	Prompt string // generate
	Seed   uint64 // generate
	Length int    // generate: in words, 0 means DefaultLength

	Model    string          // upstream
	Messages json.RawMessage // upstream: a JSON array, passed on as it is
}

// own reports whether the source is the relay's own, which gives the same text
// each time it is asked.
func (s SourceSpec) own() bool { return s.Type == SourceText || s.Type == SourceGenerate }

// A Source yields one text. sessiontest.TestSource holds an implementation to
// what is said here.
type Source interface {
	// Deltas yields what follows the first from bytes of the text, and ends
	// with a DeltaFinish, after which nothing comes. A source that breaks
	// yields an error instead, once and last: a *Failure, if its reason is
	// meant for clients. It is the only end without a DeltaFinish, also when
	// ctx is done. Usage comes before the finish. A source that cannot start
	// at from yields ErrNotContinuable.
	Deltas(ctx context.Context, from int64) iter.Seq2[Delta, error]
}

// ErrNotContinuable reports a source that can only be read from its start.
var ErrNotContinuable = errors.New("the source can only be read from its start")

// An Opener makes the sources of upstream sessions. It returns an
// *InvalidError for a model that it does not know or messages it cannot send.
type Opener interface {
	Open(spec SourceSpec) (Source, error)
}

// textPiece is how much of a given text is one delta at most, in bytes.
const textPiece = 4 << 10

// TextSource yields a text that is there already.
func TextSource(text string) Source {
	return ownSource(func(yield func(string) bool) {
		for rest := text; len(rest) > 0; {
			n := min(len(rest), textPiece)
			for n < len(rest) && !utf8.RuneStart(rest[n]) {
				n-- // so that whoever stops between two has whole characters
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	})
}

// GenerateSource yields the text of Generate.
func GenerateSource(prompt string, seed uint64, length int) Source {
	return ownSource(Generate(prompt, seed, length))
}

// An ownSource is a text that is the same each time it is asked for.
type ownSource iter.Seq[string]

func (s ownSource) Deltas(ctx context.Context, from int64) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		skip := from
		for piece := range s {
			if ctx.Err() != nil {
				yield(Delta{}, context.Cause(ctx))
				return
			}
			if int64(len(piece)) <= skip {
				skip -= int64(len(piece))
				continue
			}
			piece, skip = piece[skip:], 0
			if !yield(Delta{Kind: DeltaText, Text: piece}, nil) {
				return
			}
		}
		if skip > 0 {
			yield(Delta{}, io.ErrUnexpectedEOF)
			return
		}
		yield(Delta{Kind: DeltaFinish, Reason: ReasonStop}, nil)
	}
}
