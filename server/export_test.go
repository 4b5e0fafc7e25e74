package server

import (
	"context"

	"tokenrelay/session"
)

// What fuzzing reaches.
var (
	ParseCursor = parseCursor
)

func DecodeStrict(data []byte, v any) error { return decodeStrict(data, v, "") }

// DecodeSource reads the source of a create.
func DecodeSource(data []byte) (session.SourceSpec, error) { return decodeSource(data) }

// ShowSource is what is answered of a source.
func ShowSource(given session.SourceSpec) []byte { return appendSource(nil, given) }

// Codes of broken answers that say what the client is to do.
const (
	CodeRefused = string(codeRefused)
	CodeLimited = string(codeLimited)
	CodeBusy    = string(codeBusy)
)

func Statuses() map[code]int { return statuses }

// Compact merges frames up to head.
func Compact(frames session.Wire, head session.FrameID) []byte {
	merged, _ := compacted(head, nil)(frames)
	return merged
}

// A panicking is a projection that keeps something, and panics at the end of an
// answer.
type panicking struct{}

func (panicking) frame(f session.Frame, _ *events) {
	if f.Kind.Terminal() {
		panic("at the end")
	}
}

func (panicking) size() int { return 100 }

// KeptAfterPanic reads a session with a projection that panics, and returns how
// much is kept for it then.
func KeptAfterPanic(ctx context.Context, found *session.Session) (kept int64) {
	s := &Server{projected: budget{most: 1 << 20}}
	defer func() {
		recover()
		kept = s.projected.used.Load()
	}()
	s.read(ctx, nil, found, panicking{})
	return -1
}
