package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// A State is where a session's life stands.
type State string

const (
	Running State = "running"
	Paused  State = "paused"

	// Terminal states: the log has its terminal frame, of the same name.
	Done        State = "done"
	Stopped     State = "stopped"
	Failed      State = "failed"
	Interrupted State = "interrupted"
)

// Terminal reports whether nothing follows in this state.
func (s State) Terminal() bool { return Kind(s).Terminal() }

// A Status is what changes about a session. It tells of committed frames only.
type Status struct {
	State     State
	Last      FrameID
	End       *End // nil until the session has ended
	Usage     Usage
	Timings   *Timings  // of an upstream
	FirstText time.Time // zero until then
	Ended     time.Time // zero until then
	Readers   int
	Producers map[string]uint64 // last sequence number of each; nil if there are none

	resumable bool // it would go on after the end of the process
}

// A Session owns one text. Its methods may be called at the same time; one
// pump goroutine applies what they ask for.
type Session struct {
	info      Info
	log       *Log
	commands  chan *command
	gone      chan struct{} // closed when the pump has left
	readers   atomic.Int64
	attention chan struct{} // gets one when the first reader comes or the last one leaves
	readUntil atomic.Int64  // when a reader left last, in Unix nanoseconds; 0 if none did
	seats     *quota        // of the readers of all sessions
	store     Store         // has the frames that log does not keep

	mu     sync.Mutex // guards the fields below; taken before the log's own
	status Status
	broken error     // why the pump left before the session's end
	left   time.Time // when it left; zero before
	asked  time.Time // when somebody asked for it last
}

// Info returns what never changes.
func (s *Session) Info() Info { return s.info }

// newSession returns a session of m whose frames, up to last, are committed.
func newSession(m *Manager, info Info, last FrameID) *Session {
	info.Spec = info.Spec.withDefaults(m.opts) // an earlier version may have known less
	return &Session{
		info:      info,
		log:       NewLog(last, m.opts.MaxLog),
		commands:  make(chan *command),
		gone:      make(chan struct{}),
		attention: make(chan struct{}, 1),
		seats:     &m.readers,
		store:     m.store,
		asked:     time.Now(),
	}
}

// Status returns the state as of the last commit.
func (s *Session) Status() Status {
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	status.Producers = maps.Clone(status.Producers)
	status.Readers = int(s.readers.Load())
	return status
}

// resumable reports whether the session would go on after the end of the process,
// or stands still anyway.
func (s *Session) resumable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.resumable || s.status.State != Running
}

// Read returns a reader of the frames past after. Errors are *AheadError, and
// ErrOverloaded when the relay has as many readers as it may.
func (s *Session) Read(after FrameID) (*Reader, error) {
	if last := s.log.Last(); after > last {
		return nil, &AheadError{After: after, Last: last}
	}
	if !s.seats.take(1) {
		return nil, ErrOverloaded
	}
	seat := &Seat{of: s.seats}
	return s.seated(after, seat.Leave), nil
}

// seated makes a reader that has been counted among those of all sessions. It
// calls leave when it is closed.
func (s *Session) seated(after FrameID, leave func()) *Reader {
	if s.readers.Add(1) == 1 {
		s.notifyReaders()
	}
	return newReader(s, after, func() {
		s.readUntil.Store(time.Now().UnixNano())
		if s.readers.Add(-1) == 0 {
			s.notifyReaders()
		}
		leave()
	})
}

// notifyReaders asks the pump to look at who reads.
func (s *Session) notifyReaders() {
	select {
	case s.attention <- struct{}{}:
	default:
	}
}

// Finished reports whether after is the id of the terminal frame.
func (s *Session) Finished(after FrameID) bool {
	return s.log.ended() && after == s.log.Last()
}

// Pause stops the session until Resume; pausing a paused one changes nothing.
func (s *Session) Pause(ctx context.Context) error {
	return s.do(ctx, &command{op: opPause})
}

// Resume goes on after Pause; resuming a running session changes nothing.
func (s *Session) Resume(ctx context.Context) error {
	return s.do(ctx, &command{op: opResume})
}

// Stop ends the session and its source; stopping an ended one changes nothing.
func (s *Session) Stop(ctx context.Context) error {
	return s.stop(ctx, ReasonStopped)
}

func (s *Session) stop(ctx context.Context, reason string) error {
	return s.do(ctx, &command{op: opStop, reason: reason})
}

// Finish is the end marker of a push session's producers; finishing one that
// is done changes nothing.
func (s *Session) Finish(ctx context.Context) error {
	return s.do(ctx, &command{op: opFinish})
}

// Append gives a push session text or an event. When it returns without an
// error both are committed, even if they stand in no frame yet. It returns the
// id of the session's last frame, and whether the append was a repeated one
// and was not applied. Errors are *InvalidError, *TooLargeError,
// *SequenceError, *EndedError, ErrPaused, ErrNotPush, ErrFull, ErrStore and
// ErrShutdown.
func (s *Session) Append(ctx context.Context, a Append) (last FrameID, repeated bool, err error) {
	if err := a.prepare(); err != nil {
		return 0, false, err
	}
	c := &command{op: opAppend, append: a}
	err = s.do(ctx, c)
	return c.last, c.repeated, err
}

const (
	// MaxProducers bounds how many producers a session remembers.
	MaxProducers = 64
	// MaxProducer bounds a producer's name, in bytes.
	MaxProducer = 128
)

// An Append is what a client gives to a push session: Text, or an Event of
// its own with Data.
type Append struct {
	Text  string
	Event Kind
	Data  json.RawMessage

	// Producer, if not empty, names who appends; its appends are numbered by
	// Seq from 1, without a gap, and each is applied once however often it
	// comes.
	Producer string
	Seq      uint64
}

var eventName = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// prepare checks what can be checked without the session, and brings Data
// into the form of a frame.
func (a *Append) prepare() error {
	switch {
	case a.Data != nil && a.Event == "":
		return &InvalidError{"event", "is missing: data needs a name"}
	case a.Event != "" && a.Text != "":
		return &InvalidError{"event", "an append is either text or an event"}
	case a.Event != "" && !a.Event.Custom():
		return &InvalidError{"event", fmt.Sprintf("%q is one of the relay's own names", a.Event)}
	case a.Event != "" && !eventName.MatchString(string(a.Event)):
		return &InvalidError{"event", "must be 1 to 64 letters, digits, or any of _ . : -"}
	case a.Event != "" && a.Data == nil:
		return &InvalidError{"data", "is missing"}
	case !utf8.ValidString(a.Text) || !utf8.Valid(a.Data):
		return &InvalidError{"text", "is not valid UTF-8"}
	case a.Producer == "" && a.Seq != 0:
		return &InvalidError{"producer", "is missing: seq numbers a producer's appends"}
	case a.Producer != "" && a.Seq == 0:
		return &InvalidError{"seq", "must be 1 or more: it numbers the producer's appends"}
	case len(a.Producer) > MaxProducer:
		return &InvalidError{"producer", fmt.Sprintf("is longer than %d bytes", MaxProducer)}
	}
	if a.Event == "" {
		return nil
	}
	line, err := lineOf(a.Data)
	if err != nil {
		return &InvalidError{"data", "is not JSON"}
	}
	// Its id is not known yet: reckon with the longest.
	if len(Frame{MaxFrameID, a.Event, line}.AppendWire(nil)) > MaxFrame {
		return &TooLargeError{Max: MaxFrame}
	}
	a.Data = line
	return nil
}

// A command asks the pump for something. The pump answers each that it takes
// exactly once, after its outcome is committed.
type command struct {
	op     op
	reason string // of opStop
	append Append // of opAppend

	// The answer of opAppend, set before reply.
	last     FrameID
	repeated bool

	reply chan error // buffered, so that the pump never waits
}

type op uint8

const (
	opPause op = iota
	opResume
	opStop
	opFinish
	opAppend
)

// do hands c to the pump and waits for its answer.
func (s *Session) do(ctx context.Context, c *command) error {
	if (c.op == opFinish || c.op == opAppend) && s.info.Spec.Source.Type != SourcePush {
		return ErrNotPush
	}
	c.reply = make(chan error, 1)
	select {
	case s.commands <- c:
	case <-s.gone:
		return s.late(c)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-c.reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx) // it may have been applied all the same
	}
}

// late answers a command to a session that has no pump any more.
func (s *Session) late(c *command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	return c.late(s.status)
}

// late answers a command to a session that has ended.
func (c *command) late(ended Status) error {
	switch c.op {
	case opStop:
		return nil
	case opFinish:
		if ended.State == Done {
			return nil
		}
	case opAppend:
		// The answer to the first try may have been lost.
		if c.append.Producer != "" && c.append.Seq <= ended.Producers[c.append.Producer] {
			c.last, c.repeated = ended.Last, true
			return nil
		}
	}
	return &EndedError{State: ended.State}
}

// commit makes visible what the store has committed, frames and status at once:
// who has seen the one finds the other.
func (s *Session) commit(w Wire, ends []uint32, status Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
	if len(ends) > 0 {
		s.log.Append(w, ends, status.State.Terminal())
	}
}

// leave says that nothing more will be appended, and why if the session has
// not ended.
func (s *Session) leave(broken error) {
	s.mu.Lock()
	s.broken = broken
	if s.left = s.status.Ended; s.left.IsZero() {
		s.left = now()
	}
	s.mu.Unlock()
	if broken != nil {
		s.log.Break(broken)
	}
	close(s.gone)
}
