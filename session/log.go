package session

import (
	"io"
	"sort"
	"sync"
)

// A Log is the append-only frames of one session, in wire form, with the
// offset of each. It holds committed frames only, and knows none of its
// readers: they keep a position and pull. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex    // guards the fields below
	wire    Wire          // append-only, so slices of it may be shared
	ends    []uint32      // ends[i] is where frame i+1 ends in wire
	changed chan struct{} // closed and replaced by every append
	err     error         // why no frame will follow; nil while one may
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{changed: make(chan struct{})} }

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
	if last {
		l.err = io.EOF
	}
	l.wake()
}

// Break says that no frame will follow although the log has no terminal one.
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
	return FrameID(len(l.ends))
}

// After returns frames past after and the id of the last of them: as many as
// size bytes hold, and at least one if there is one. When there is none it
// returns a channel that closes as soon as that may have changed, io.EOF after
// the terminal frame, or the error that Break was given. A cursor past the end is an *AheadError.
func (l *Log) After(after FrameID, size int) (w Wire, last FrameID, more <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := FrameID(len(l.ends))
	switch {
	case after > n:
		return nil, after, nil, &AheadError{After: after, Last: n}
	case after == n && l.err != nil:
		return nil, after, nil, l.err
	case after == n:
		return nil, after, l.changed, nil
	}
	start := uint32(0)
	if after > 0 {
		start = l.ends[after-1]
	}
	ends := l.ends[after:]
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

// size returns the bytes of all frames.
func (l *Log) size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.wire))
}
