package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
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

	// Text is that of a text source, and what an upstream goes on from when its
	// session continues another.
	Text string

	Prompt string // generate
	Seed   uint64 // generate
	Length int    // generate: in words, 0 means DefaultLength

	Model string // upstream
	// Dialect is the form that Messages and Parameters of an upstream have.
	Dialect  Dialect
	Messages json.RawMessage // upstream: a JSON array
	// Parameters is a JSON object whose fields the request to the upstream has
	// beside those that the relay sets; nil for none.
	Parameters json.RawMessage
}

// A Dialect is whose form a question to an upstream has, which may speak
// another.
type Dialect string

const (
	// DialectNative has messages as chat completions have them, and parameters
	// in the upstream's own form.
	DialectNative Dialect = ""
	// DialectChat has both as OpenAI's chat completions have them.
	DialectChat Dialect = "chat"
	// DialectResponses has items of the input of OpenAI's Responses, and the
	// parameters of those.
	DialectResponses Dialect = "responses"
)

// own reports whether the source is the relay's own, which gives the same text
// each time it is asked.
func (s SourceSpec) own() bool { return s.Type == SourceText || s.Type == SourceGenerate }

// A Source yields one text. sessiontest.TestSource holds an implementation to
// what is said here.
type Source interface {
	// Deltas yields what follows from, and ends with a DeltaFinish, after which
	// nothing comes. A source that breaks yields an error instead, once and
	// last: a *Failure, if its reason is meant for clients. It is the only end
	// without a DeltaFinish, also when ctx is done. Usage comes before the
	// finish. A source that cannot start at from yields ErrNotContinuable.
	//
	// A ctx whose cause is ErrReleased says that nobody wants the rest: what
	// writes it elsewhere must be stopped there too. With any other cause the
	// source may be asked for the rest later, by another process. Either way
	// what Deltas returned ends within seconds; meanwhile Deltas and Continue may
	// be called again.
	Deltas(ctx context.Context, from Position) iter.Seq2[Delta, error]
}

// A Position is where a source goes on. The zero Position is its start.
type Position struct {
	// Bytes is how many bytes of the text have been taken.
	Bytes int64
	// Cursor is that of the last delta taken that had one. A source that gives
	// cursors goes by it alone, and cannot go on without one.
	Cursor string
}

// A Continuer is a Source that can be asked to go on from a text that it, or
// another source of the same spec, began. sessiontest.TestContinuer holds an
// implementation to what is said here.
type Continuer interface {
	Source
	// Continue yields, as Deltas does, what is to follow text, after a
	// DeltaSeam. It need not be what would have followed.
	Continue(ctx context.Context, text string) iter.Seq2[Delta, error]
}

// A Suspender is a Source whose limits of time stand still while its session is
// paused. SetSuspended may be called at any time, while Deltas runs too; the same
// again changes nothing.
type Suspender interface {
	SetSuspended(still bool)
}

// Errors of sources.
var (
	// ErrNotContinuable reports a source that cannot start where it was asked to.
	ErrNotContinuable = errors.New("the source can only be read from its start")
	// ErrReleased is the cause of a source's context that ends because nobody
	// wants the rest.
	ErrReleased = errors.New("the source is let go")
)

// An Opener makes the sources of upstream sessions. It returns a *ModelError for
// a model that it does not know, an *InvalidError for messages it cannot send, and
// an *UnsupportedError for parameters that the model's provider has no word for.
type Opener interface {
	Open(spec SourceSpec) (Source, error)
}

// NoUpstream reports a model that is asked for where there is no upstream.
func NoUpstream(model string) *ModelError {
	const maxName = 64 // bytes of it that are repeated
	if len(model) > maxName {
		model = strings.ToValidUTF8(model[:maxName], "") + "…"
	}
	return &ModelError{InvalidError{"source.model", fmt.Sprintf("there is no model %q: this relay has no upstream", model)}, true}
}

// textPiece is how much of a given text is one delta at most, in bytes.
const textPiece = 4 << 10

// TextSource yields a text that is there already.
func TextSource(text string) Source { return ownSource(pieces(text)) }

// pieces cuts a text into deltas.
func pieces(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := text; len(rest) > 0; {
			piece := rest[:cutAt(rest, textPiece)] // so that whoever stops between two has whole characters
			if !yield(piece) {
				return
			}
			rest = rest[len(piece):]
		}
	}
}

// GenerateSource yields the text of Generate.
func GenerateSource(prompt string, seed uint64, length int) Source {
	return ownSource(Generate(prompt, seed, length))
}

// An ownSource is a text that is the same each time it is asked for.
type ownSource iter.Seq[string]

func (s ownSource) Deltas(ctx context.Context, from Position) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		skip := from.Bytes
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
