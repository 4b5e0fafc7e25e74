package session

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"tokenrelay/chunker"
)

const (
	// A source can be paced at MinRate to MaxRate events a second: one an hour
	// at least, and above the most nothing is gained over no pace at all.
	MinRate = 1.0 / 3600
	MaxRate = 10_000

	// MaxLength bounds a generated text, in words.
	MaxLength = 100_000

	// MaxModel bounds the name of a model, in bytes: some protocols repeat it in
	// each event.
	MaxModel = 256

	// What a session's metadata may hold: pairs, and bytes of each half.
	MaxMetadata      = 16
	MaxMetadataKey   = 64
	MaxMetadataValue = 512
)

// A Spec says what a new session is to be.
type Spec struct {
	Source SourceSpec
	// Unit is what the text is cut into; empty means chunker.Token.
	Unit chunker.Unit
	// Encoding is that of the unit token, and empty with every other unit.
	// Empty with token means that of the model of an upstream source, if
	// chunker.EncodingForModel knows it, and else chunker.DefaultEncoding.
	Encoding string
	// Rate is how many events a second the source gives, for text and
	// generate; 0 means as fast as it comes.
	Rate float64
	// Retain is how long the session stays readable after its end. Zero means
	// Options.Retain, which is also the most.
	Retain time.Duration
	// OnPause is what becomes of an upstream while the session is paused; empty
	// means Hold.
	OnPause OnPause
	// OnNoReader is what becomes of the session while nobody reads it. Zero
	// fields mean those of Options.NoReader.
	OnNoReader NoReader
	// Continues is the session whose text this one goes on from; zero for none.
	// The text is that of Source, and the beginning of this session's own.
	Continues ID `json:",omitzero"`
	// Metadata is the client's own; it comes back with the state.
	Metadata map[string]string
	// Projection is what the log is to be shown with in other protocols than
	// the native one.
	Projection Projection `json:",omitzero"`
	// Digest is of what was asked for under Names.Key; empty without one.
	Digest string `json:",omitempty"`
}

// A Projection is what protocols show of a session beside its log. It is for
// who renders them: the session package keeps it, and nothing else.
type Projection struct {
	// Version is that of the projections at the session's creation, which show
	// its log in the same way for ever.
	Version int
	// Recorded are the parameters of the request, as its protocol shows them
	// again: a JSON object, or nil.
	Recorded json.RawMessage `json:",omitempty"`
}

// An OnPause says what becomes of an upstream while its session is paused.
type OnPause string

const (
	// Hold reads it on, as far as there is room, and shows it after resume.
	Hold OnPause = "hold"
	// Release closes its connection, so that the model stops; resume asks it to
	// go on from the text so far. One that has begun to call a tool is held: a
	// part of a call cannot be gone on from.
	Release OnPause = "release"
)

// A NoReader says what becomes of a session while nobody reads it.
type NoReader struct {
	Policy NoReaderPolicy
	// After is how long nobody must have read it, from its creation on.
	After time.Duration
}

// A NoReaderPolicy is what a NoReader does.
type NoReaderPolicy string

const (
	// PolicyContinue goes on. An upstream does so within Options.MaxUnread and
	// Options.MaxUnreadTime.
	PolicyContinue NoReaderPolicy = "continue"
	PolicyPause    NoReaderPolicy = "pause" // until somebody reads
	PolicyStop     NoReaderPolicy = "stop"
)

// MaxNoReader bounds NoReader.After.
const MaxNoReader = 24 * time.Hour

// withDefaults fills in what s leaves open.
func (s Spec) withDefaults(o Options) Spec {
	s.Unit = cmp.Or(s.Unit, chunker.Token)
	s.Retain = cmp.Or(s.Retain, o.Retain)
	s.OnNoReader.Policy = cmp.Or(s.OnNoReader.Policy, o.NoReader.Policy)
	s.OnNoReader.After = cmp.Or(s.OnNoReader.After, o.NoReader.After)
	if s.Source.Type == SourceUpstream {
		s.OnPause = cmp.Or(s.OnPause, Hold)
	}
	return s
}

func (n NoReader) validate() error {
	switch {
	case n.Policy != PolicyContinue && n.Policy != PolicyPause && n.Policy != PolicyStop:
		return &InvalidError{"on_no_reader.policy", "must be one of continue, pause, stop"}
	case n.After <= 0 || n.After > MaxNoReader:
		return &InvalidError{"on_no_reader.after", fmt.Sprintf("must be more than 0s, up to %v", MaxNoReader)}
	}
	return nil
}

// An EncodingSource says why a session has its encoding.
type EncodingSource string

const (
	EncodingRequested EncodingSource = "request" // its creator named it
	EncodingOfModel   EncodingSource = "model"   // it is that of the upstream's model
	EncodingDefault   EncodingSource = "default" // nothing better is known: a model's own tokens may be others
)

// encoding returns the encoding that s asks for, and why it is that one; both
// are empty for a unit that has none and names none.
func (s Spec) encoding() (name string, from EncodingSource) {
	switch {
	case s.Encoding != "":
		return s.Encoding, EncodingRequested
	case s.Unit != chunker.Token:
		return "", ""
	case s.Source.Type == SourceUpstream:
		if name, known := chunker.EncodingForModel(s.Source.Model); known {
			return name, EncodingOfModel
		}
	}
	return chunker.DefaultEncoding, EncodingDefault
}

func (s Spec) validate(retain time.Duration) error {
	if _, err := chunker.ParseUnit(string(s.Unit)); err != nil {
		return &InvalidError{"unit", err.Error()}
	}
	if s.Unit != chunker.Token && s.Encoding != "" {
		return &InvalidError{"encoding", "only the unit token has one"}
	}
	if s.Unit == chunker.Token {
		if _, err := chunker.ParseEncoding(s.Encoding); err != nil {
			return &InvalidError{"encoding", err.Error()}
		}
	}
	if s.Rate != 0 && !(s.Rate >= MinRate && s.Rate <= MaxRate) { // also NaN
		return &InvalidError{"rate", fmt.Sprintf("must be 0, or up to %d events a second and at least one an hour", MaxRate)}
	}
	if s.Rate > 0 && s.Source.Type != SourceText && s.Source.Type != SourceGenerate {
		return &InvalidError{"rate", "only the sources text and generate have one; a reader sets its own with ?pace"}
	}
	switch {
	case s.OnPause != "" && s.Source.Type != SourceUpstream:
		return &InvalidError{"on_pause", "only an upstream has it; any other source stands still"}
	case s.OnPause != "" && s.OnPause != Hold && s.OnPause != Release:
		return &InvalidError{"on_pause", "must be hold or release"}
	}
	if err := s.OnNoReader.validate(); err != nil {
		return err
	}
	if s.Retain < 0 || s.Retain > retain {
		return &InvalidError{"retain", fmt.Sprintf("must be 0s to %v", retain)}
	}
	if len(s.Metadata) > MaxMetadata {
		return &InvalidError{"metadata", fmt.Sprintf("more than %d pairs", MaxMetadata)}
	}
	for key, value := range s.Metadata {
		if key == "" || len(key) > MaxMetadataKey || len(value) > MaxMetadataValue {
			return &InvalidError{"metadata", fmt.Sprintf("keys have 1 to %d bytes, values up to %d", MaxMetadataKey, MaxMetadataValue)}
		}
	}
	return s.Source.validate()
}

func (s SourceSpec) validate() error {
	switch s.Type {
	case SourceText:
		if !utf8.ValidString(s.Text) {
			return &InvalidError{"source.text", "is not valid UTF-8"}
		}
	case SourceGenerate:
		if s.Length < 0 || s.Length > MaxLength {
			return &InvalidError{"source.length", fmt.Sprintf("must be 0 to %d words", MaxLength)}
		}
	case SourcePush:
	case SourceUpstream:
		if s.Model == "" {
			return &InvalidError{"source.model", "is missing"}
		}
		if len(s.Model) > MaxModel {
			return &InvalidError{"source.model", fmt.Sprintf("is longer than %d bytes", MaxModel)}
		}
		if !bytes.HasPrefix(s.Messages, []byte("[")) {
			return &InvalidError{"source.messages", "must be an array of messages"}
		}
		if len(s.Parameters) > 0 && !bytes.HasPrefix(s.Parameters, []byte("{")) {
			return &InvalidError{"source.parameters", "must be an object"}
		}
	default:
		return &InvalidError{"source.type", "must be one of text, generate, push, upstream"}
	}
	return nil
}

// sessionSize is what a session takes beside its frames and what it was created
// with, in bytes, about: the records of it.
const sessionSize = 1 << 10

// size is what the spec takes for as long as its session is there, in bytes.
func (s Spec) size() int64 {
	n := sessionSize + len(s.Projection.Recorded) + len(s.Source.Text) + len(s.Source.Prompt) + len(s.Source.Model)
	n += 2 * (len(s.Source.Messages) + len(s.Source.Parameters)) // once more in the request
	for key, value := range s.Metadata {
		n += len(key) + len(value)
	}
	return int64(n)
}

// open makes the source. It is nil for push: clients are its source.
func (s SourceSpec) open(upstreams Opener) (Source, error) {
	switch s.Type {
	case SourceText:
		return TextSource(s.Text), nil
	case SourceGenerate:
		return GenerateSource(s.Prompt, s.Seed, s.Length), nil
	case SourcePush:
		return nil, nil
	case SourceUpstream:
		if upstreams == nil {
			return nil, NoUpstream(s.Model)
		}
		return upstreams.Open(s)
	}
	return nil, errors.ErrUnsupported
}
