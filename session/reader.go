package session

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// fetchSize is how much a reader that is behind takes from the store at once,
// in bytes of frames, when it is asked for less.
const fetchSize = 4 << 10

// A Reader is a position in a session's log. A slow one falls behind; nobody
// waits for it, and nothing is kept for it but what it took from the store
// last. One goroutine may use it.
type Reader struct {
	log   *Log
	fetch func(ctx context.Context, after FrameID, size int) (Wire, error) // from the store
	at    FrameID
	ahead Wire // what was fetched and not returned yet
	leave func()
}

// At returns the id of the last frame that Next returned.
func (r *Reader) At() FrameID { return r.at }

// Next returns the frames past the position and moves past them: as many as
// size bytes hold, and at least one if there is one. When there is none it
// returns a channel that closes as soon as there may be one. The error is
// io.EOF past the terminal frame, and any other if the log was broken off or
// the store does not give what memory does not hold any more: a *GoneError, if
// the session was removed meanwhile.
func (r *Reader) Next(ctx context.Context, size int) (Wire, <-chan struct{}, error) {
	for {
		if len(r.ahead) == 0 {
			w, last, more, err := r.log.After(r.at, size)
			if err != ErrPassed {
				r.at = last
				return w, more, err
			}
			if r.ahead, err = r.fetch(ctx, r.at, max(size, fetchSize)); err != nil {
				return nil, nil, err
			}
		}
		// The store may be a commit ahead of what is shown.
		shown := r.log.Last()
		w, rest, last := r.ahead.until(shown, size)
		r.ahead = rest
		if len(rest) == 0 {
			r.ahead = nil
		}
		switch {
		case len(w) > 0:
			r.at = last
			return w, nil, nil
		case r.at < shown:
			return nil, nil, fmt.Errorf("read past frame %d from the store: %w", r.at, io.ErrUnexpectedEOF)
		}
		r.ahead = nil
	}
}

// Close ends the reading. It must be called once, and may be called again.
func (r *Reader) Close() { r.leave() }

// newReader counts the reader in until its Close.
func newReader(s *Session, at FrameID, leave func()) *Reader {
	fetch := func(ctx context.Context, after FrameID, size int) (Wire, error) {
		return s.store.Read(ctx, s.info.ID, after, size)
	}
	return &Reader{log: s.log, fetch: fetch, at: at, leave: sync.OnceFunc(leave)}
}
