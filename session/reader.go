package session

import "sync"

// A Reader is a position in a session's log. A slow one falls behind; nobody
// waits for it, and nothing is kept for it. One goroutine may use it.
type Reader struct {
	log   *Log
	at    FrameID
	leave func()
}

// At returns the id of the last frame that Next returned.
func (r *Reader) At() FrameID { return r.at }

// Next returns the frames past the position and moves past them: as many as
// size bytes hold, and at least one if there is one. When there is none it
// returns a channel that closes as soon as there may be one. The error is
// io.EOF past the terminal frame, and any other if the log was broken off.
func (r *Reader) Next(size int) (Wire, <-chan struct{}, error) {
	w, last, more, err := r.log.After(r.at, size)
	r.at = last
	return w, more, err
}

// Close ends the reading. It must be called once, and may be called again.
func (r *Reader) Close() { r.leave() }

// newReader counts the reader in until its Close.
func newReader(log *Log, at FrameID, leave func()) *Reader {
	return &Reader{log: log, at: at, leave: sync.OnceFunc(leave)}
}
