package session

import (
	"bytes"
	"errors"
	"io"
	"sort"
	"sync"
)

// A Log is the newest frames of one session, in wire form, with the offset of
// each. It holds committed frames only, and no more of them than it may; the
// store has them all. It knows none of its readers: they keep a position and
// pull. It is safe for concurrent use.
type Log struct {
	room int // bytes of frames that are always kept; up to twice as much is

	mu      sync.Mutex    // guards the fields below
	base    FrameID       // the frames up to here are not kept any more
	wire    Wire          // append-only, so slices of it may be shared
	ends    []uint32      // ends[i] is where frame base+i+1 ends in wire
	changed chan struct{} // closed and replaced by every append
	err     error         // why no frame will follow; nil while one may
}

// ErrPassed reports a cursor below what a Log keeps: the store has the rest.
var ErrPassed = errors.New("only the store has these frames")

// NewLog returns a log whose frames up to base are in the store alone. Of those
// that follow it keeps at least the last, and as many before it as room bytes
// hold.
func NewLog(base FrameID, room int) *Log {
	return &Log{base: base, room: room, changed: make(chan struct{})}
}

// Append makes committed frames visible. ends says where each ends in w;
// last says that the last of them is terminal.
func (l *Log) Append(w Wire, ends []uint32, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	base := uint32(len(l.wire))
	l.wire = append(l.wire, w...)
	for _, end := range ends {
		l.ends = append(l.ends, base+end)
	}
	if len(l.wire) > 2*l.room {
		l.trim()
	}
	if last {
		l.err = io.EOF
	}
	l.wake()
}

// trim lets go of the oldest frames. It copies the others, because readers may
// hold slices of what they were in. It needs mu.
func (l *Log) trim() {
	size, most := uint32(len(l.wire)), len(l.ends)-1
	n := 1 + sort.Search(most, func(i int) bool { return int(size-l.ends[i]) <= l.room })
	if n = min(n, most); n == 0 {
		return
	}
	start := l.ends[n-1]
	l.wire = bytes.Clone(l.wire[start:])
	kept := make([]uint32, len(l.ends)-n)
	for i := range kept {
		kept[i] = l.ends[n+i] - start
	}
	l.ends = kept
	l.base += FrameID(n)
}

// Break says that no frame will follow, and why: io.EOF if the last one is
// terminal.
func (l *Log) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		l.wake()
	}
}

// wake needs mu.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Last returns the id of the last frame, 0 if there is none.
func (l *Log) Last() FrameID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base + FrameID(len(l.ends))
}

// After returns frames past after and the id of the last of them: as many as
// size bytes hold, and at least one if there is one. When there is none it
// returns a channel that closes as soon as that may have changed, io.EOF after
// the terminal frame, or the error that Break was given. A cursor past the end
// is an *AheadError, one below what the log keeps ErrPassed.
func (l *Log) After(after FrameID, size int) (w Wire, last FrameID, more <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.base + FrameID(len(l.ends))
	switch {
	case after > n:
		return nil, after, nil, &AheadError{After: after, Last: n}
	case after == n && l.err != nil:
		return nil, after, nil, l.err
	case after == n:
		return nil, after, l.changed, nil
	case after < l.base:
		return nil, after, nil, ErrPassed
	}
	start := uint32(0)
	if after > l.base {
		start = l.ends[after-l.base-1]
	}
	ends := l.ends[after-l.base:]
	fit := sort.Search(len(ends), func(i int) bool { return int(ends[i]-start) > size })
	fit = max(fit, 1)
	end := ends[fit-1]
	return l.wire[start:end:end], after + FrameID(fit), nil, nil
}

// ended reports whether the log has its terminal frame.
func (l *Log) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == io.EOF
}
