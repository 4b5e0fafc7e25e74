package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// projectionVersion is that of the projections below: sessions record it, and
// have their log shown in the same way for as long as they are kept. Whoever
// changes what a projection makes of a log raises it, and keeps what older
// sessions were shown with.
const projectionVersion = 1

// A projection shows a log as another protocol's events. It is a pure function
// of the frames and of what the session recorded: each frame is given to it
// once, in order, and what it makes of one depends on those before it alone.
// Frames that its protocol has no event for make none. One goroutine uses it.
type projection interface {
	frame(f session.Frame, to *events)
	// size is how many bytes it keeps of the frames that it was given.
	size() int
}

// events takes the events of a projection. They are numbered from 0, which is
// the id that each has on the wire; the first that are not wanted are counted
// and left out.
type events struct {
	wire []byte // what is to be written
	next int64  // number of the next event
	from int64  // number of the first that is wanted
}

// add appends an event with its name, if it has one, and its data, which fill
// appends to what it is given: one line of JSON.
func (e *events) add(name string, fill func(dst []byte) []byte) {
	e.next++
	if e.next <= e.from {
		return
	}
	e.wire = append(e.wire, "id: "...)
	e.wire = strconv.AppendInt(e.wire, e.next-1, 10)
	if name != "" {
		e.wire = append(append(e.wire, "\nevent: "...), name...)
	}
	e.wire = append(e.wire, "\ndata: "...)
	e.wire = append(fill(e.wire), "\n\n"...)
}

// addJSON is add of a value.
func (e *events) addJSON(name string, data any) {
	e.add(name, func(dst []byte) []byte { return appendJSON(dst, data) })
}

// farewell appends what a protocol ends its streams with beside events: it has
// no number, and comes whatever is wanted.
func (e *events) farewell(data string) {
	e.wire = append(append(append(e.wire, "data: "...), data...), "\n\n"...)
}

// appendJSON appends v, which must have a JSON form, on one line, as frames have
// their payloads.
func appendJSON(dst []byte, v any) []byte {
	var line bytes.Buffer
	to := json.NewEncoder(&line)
	to.SetEscapeHTML(false)
	if err := to.Encode(v); err != nil {
		panic(err) // what projections show is made of strings, numbers and JSON
	}
	raw := bytes.TrimSuffix(line.Bytes(), []byte("\n"))
	// At which some clients split lines. In raw JSON the encoder leaves them.
	for _, separator := range [...]struct{ char, escape string }{{"\u0085", `\u0085`}, {"\u2028", `\u2028`}, {"\u2029", `\u2029`}} {
		raw = bytes.ReplaceAll(raw, []byte(separator.char), []byte(separator.escape))
	}
	return append(dst, raw...)
}

// A projector runs a projection over a session's log for one reader. What it
// keeps, and what it has made until that is written, is taken of a budget.
type projector struct {
	projection
	events
	kept *budget
	took int64 // of kept
}

// render gives frames to the projection and returns the events that they make,
// which stand until written is called.
func (p *projector) render(frames session.Wire) ([]byte, error) {
	p.wire = p.wire[:0]
	if err := p.give(frames); err != nil {
		return nil, err
	}
	return p.wire, nil
}

// smallWire is how large what events are made in may be to be kept for the next.
const smallWire = 4 << 10

// written drops what was made.
func (p *projector) written() {
	if cap(p.wire) > smallWire {
		p.wire = nil
	}
	p.account() // gives back only
}

// give asks for room behind each frame, so that one's events at most are made
// without.
func (p *projector) give(frames session.Wire) error {
	for f := range frames.Frames() {
		p.frame(f, &p.events)
		if err := p.account(); err != nil {
			return err
		}
	}
	return nil
}

// whole returns what appendTo makes of all that was read, which is about as large
// as what is kept of it.
func (p *projector) whole(appendTo func(dst []byte) []byte) ([]byte, error) {
	p.wire = make([]byte, 0, p.size())
	if err := p.account(); err != nil {
		return nil, err
	}
	p.wire = appendTo(p.wire)
	return p.wire, p.account()
}

// account takes of the budget what the projector has grown by.
func (p *projector) account() error {
	grown := int64(p.size()+cap(p.wire)) - p.took
	if !p.kept.take(grown) {
		return session.ErrOverloaded
	}
	p.took += grown
	return nil
}

func (p *projector) close() { p.kept.give(p.took) }

// seek renders up to where the first event that is wanted stands, and returns
// what comes of it and whether the log is at its end. A cursor behind which the
// log has nothing yet is an *aheadError.
func (p *projector) seek(ctx context.Context, reader *session.Reader) (pending []byte, ended bool, err error) {
	for p.next <= p.from {
		frames, more, err := reader.Next(ctx, writeSize)
		switch {
		case err == io.EOF:
			ended = true
		case err != nil:
			return nil, false, err
		}
		if ended || more != nil {
			break
		}
		if err := p.give(frames); err != nil {
			return nil, false, err
		}
	}
	if p.next < p.from {
		return nil, false, &aheadError{last: p.next - 1}
	}
	return p.wire, ended, nil
}

// An aheadError reports a cursor past the last event of a projection.
type aheadError struct{ last int64 }

func (e *aheadError) Error() string {
	return fmt.Sprintf("the cursor is ahead of the stream, whose last event so far is %d", e.last)
}

// A budget is what something may take in all, in bytes.
type budget struct {
	most int64
	used atomic.Int64
}

// take reports whether there was room for n more. Less than 0 is given back.
func (b *budget) take(n int64) bool {
	if n <= 0 {
		b.give(-n)
		return true
	}
	if b.used.Add(n) > b.most {
		b.give(n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// open returns a reader of a session that a projection is to show. It sits at,
// or takes a seat of its own if that is nil.
func (s *Server) open(at *session.Seat, found *session.Session) (*session.Reader, error) {
	if found.Info().Spec.Projection.Version > projectionVersion {
		return nil, errLaterProjection
	}
	if at != nil {
		return at.ReadAll(found), nil
	}
	return found.Read(0)
}

// project streams a session as p shows it, from the event with that number on.
// The answer's headers are set before. An answer that has nothing left to tell
// is empty, or 204 to a client that would come back for ever.
func (s *Server) project(c *gin.Context, at *session.Seat, found *session.Session, p projection, from int64) error {
	reader, err := s.open(at, found)
	if err != nil {
		return s.orComeBack(c, err)
	}
	defer reader.Close()
	projector := &projector{projection: p, events: events{from: from}, kept: &s.projected}
	defer projector.close()
	pending, ended, err := projector.seek(c.Request.Context(), reader)
	if err != nil {
		return s.orComeBack(c, err)
	}
	if ended && projector.next == from && c.Request.Header["Last-Event-Id"] != nil {
		c.Status(http.StatusNoContent)
		return nil
	}
	if !s.streams.enter() {
		return s.orComeBack(c, session.ErrShutdown)
	}
	defer s.streams.leave()
	f := &follower{server: s, session: found, reader: reader, out: s.openEvents(c)}
	f.request.render, f.request.written = projector.render, projector.written
	if len(pending) > 0 && f.out.write(pending) != nil {
		return errAbort
	}
	projector.written()
	return f.run(c.Request.Context())
}

// orComeBack is err. If that will pass, and a stream is asked for as EventSource
// does when it comes back, with its header, the answer says so as a browser
// understands it.
func (s *Server) orComeBack(c *gin.Context, err error) error {
	if willPass(err) && c.Request.Method == http.MethodGet && c.Request.Header["Last-Event-Id"] != nil {
		return s.comeBack(c)
	}
	return err
}

// eventCursor reads the number of the last event that a client has, and returns
// that of the first which it wants.
func eventCursor(value string) (from int64, err error) {
	n, err := strconv.ParseUint(value, 10, 53)
	if err != nil {
		return 0, &requestError{codeCursor, fmt.Sprintf("the cursor %q is not the number of an event, which is 0 or more", echo(value))}
	}
	return int64(n) + 1, nil
}

// awaitEnd returns when a session that c has made, or found again, has ended.
// Meanwhile nothing is written: whatever the client is told then, be it an
// error, has a deadline of its own.
func (s *Server) awaitEnd(c *gin.Context, at *session.Seat, found *session.Session) error {
	err := s.toEnd(c.Request.Context(), at, found)
	http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	if errors.Is(err, session.ErrShutdown) {
		return fmt.Errorf("the relay is going before the answer has come to its end; the session goes on, and %s names it: %w", sessionHeader, err)
	}
	return err
}

func (s *Server) toEnd(ctx context.Context, at *session.Seat, found *session.Session) error {
	reader, err := s.open(at, found)
	if err != nil {
		return err
	}
	defer reader.Close()
	if !s.streams.enter() {
		return session.ErrShutdown
	}
	defer s.streams.leave()
	for {
		_, more, err := reader.Next(ctx, writeSize)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case more == nil:
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return errAbort
		case <-s.cut:
			return session.ErrShutdown
		}
	}
}

// read is readUpTo of all frames that there are.
func (s *Server) read(ctx context.Context, at *session.Seat, found *session.Session, p projection) (*projector, error) {
	return s.readUpTo(ctx, at, found, p, found.Status().Last)
}

// readUpTo gives p the frames of a session up to one that there is, some behind
// it too where they come together, and makes no events of them. What it returns
// holds its room until close.
func (s *Server) readUpTo(ctx context.Context, at *session.Seat, found *session.Session, p projection, upTo session.FrameID) (*projector, error) {
	reader, err := s.open(at, found)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	reading := &projector{projection: p, events: events{from: math.MaxInt64}, kept: &s.projected}
	done := false
	defer func() {
		if !done { // it may have panicked
			reading.close()
		}
	}()
	for reader.At() < upTo {
		frames, _, err := reader.Next(ctx, writeSize)
		if err == nil {
			err = reading.give(frames)
		}
		if err != nil {
			return nil, err
		}
	}
	done = true
	return reading, nil
}
