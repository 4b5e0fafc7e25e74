package session

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
)

// textOf returns the text of a session's frames up to last, and whether it has
// called tools.
func textOf(ctx context.Context, store Store, id ID, last FrameID) (text string, called bool, err error) {
	var all strings.Builder
	for f, err := range framesOf(ctx, store, id, last) {
		if err != nil {
			return "", false, err
		}
		switch f.Kind {
		case KindText:
			all.WriteString(f.Text())
		case KindToolCall:
			called = true
		}
	}
	return all.String(), called, nil
}

// pageSize is how much of a log is read from the store at once to go through
// all of it, in bytes of frames.
const pageSize = 64 << 10

// framesOf reads a session's frames up to last. An error is the last thing that
// it yields.
func framesOf(ctx context.Context, store Store, id ID, last FrameID) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for after := FrameID(0); after < last; {
			w, err := store.Read(ctx, id, after, pageSize)
			if err == nil && len(w) == 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				yield(Frame{}, fmt.Errorf("read past frame %d: %w", after, err))
				return
			}
			for f := range w.Frames() {
				if f.ID > last || !yield(f, nil) {
					return
				}
				after = f.ID
			}
		}
	}
}
