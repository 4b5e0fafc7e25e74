package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

const (
	// writeSize is how many bytes of frames one write takes at most, so that
	// a slow reader that is far behind meets each write's deadline.
	writeSize = 64 << 10

	// paceSlack is how far a paced reader may lag and still catch up.
	paceSlack = 100 * time.Millisecond
)

// A followRequest is what the events route was asked for.
type followRequest struct {
	after   session.FrameID
	pace    float64                            // events a second; 0 as they come
	render  func(session.Wire) ([]byte, error) // nil for frames as they are
	written func()                             // called when what render returned is; nil for nothing
	compact bool                               // what is there already in few events
	ping    bool                               // keep-alives as named events
}

// parseFollow reads the request. The Last-Event-ID header wins over a cursor
// in the query, because EventSource repeats its URL when it reconnects.
func parseFollow(c *gin.Context) (r followRequest, err error) {
	var after, start string
	err = parameters(c, map[string]func(string) error{
		"after": func(value string) error {
			after = value
			r.after, err = parseCursor(value)
			return err
		},
		"startIndex": func(value string) error {
			start = value
			first, err := parseCursor(value)
			r.after = max(first, 1) - 1
			return err
		},
		"pace": func(value string) error {
			pace, err := strconv.ParseFloat(value, 64)
			if r.pace = pace; err != nil || pace != 0 && !(pace >= session.MinRate && pace <= session.MaxRate) { // also NaN
				return errParameter("pace", fmt.Sprintf("must be 0, or up to %d events a second and at least one an hour", session.MaxRate))
			}
			return nil
		},
		"format": func(value string) error {
			if value != "text" {
				return errParameter("format", "can only be text")
			}
			r.render = rendered(appendPlain)
			return nil
		},
		"compact": func(value string) error {
			if r.compact = value == "true"; !r.compact {
				return errParameter("compact", "can only be true")
			}
			return nil
		},
		"ping": func(value string) error {
			if r.ping = value == "event"; !r.ping {
				return errParameter("ping", "can only be event")
			}
			return nil
		},
	})
	if err != nil {
		return r, err
	}
	if after != "" && start != "" {
		return r, errParameter("startIndex", "and after are two cursors: give one")
	}
	if r.compact && r.pace > 0 {
		return r, errParameter("compact", "gives at once what pace would give bit by bit: ask for one of them")
	}
	if header := c.Request.Header.Values("Last-Event-ID"); len(header) > 0 {
		r.after, err = parseCursor(strings.Join(header, ", "))
	}
	return r, err
}

// parseCursor reads an event id: decimal digits, at most MaxFrameID.
func parseCursor(value string) (session.FrameID, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n > uint64(session.MaxFrameID) {
		return 0, &requestError{codeCursor, fmt.Sprintf("the cursor %q is not an event id, which is a number from 0 on", value)}
	}
	return session.FrameID(n), nil
}

// events follows a session.
func (s *Server) events(c *gin.Context) error {
	found, err := s.session(c)
	if errors.Is(err, session.ErrElsewhere) {
		return s.comeBack(c)
	}
	if err != nil {
		return err
	}
	request, err := parseFollow(c)
	if err != nil {
		return err
	}
	if found.Finished(request.after) {
		c.Status(http.StatusNoContent) // which tells EventSource to stop
		return nil
	}
	reader, err := found.Read(request.after)
	if err == nil {
		defer reader.Close()
		if s.streams.enter() {
			defer s.streams.leave()
			if request.compact {
				request.render = compacted(found.Status().Last, request.render)
			}
			f := &follower{server: s, session: found, reader: reader, request: request, out: s.openEvents(c)}
			return f.run(c.Request.Context())
		}
		err = session.ErrShutdown
	}
	if willPass(err) {
		return s.comeBack(c)
	}
	return err
}

// willPass reports whether an error is one of now only.
func willPass(err error) bool {
	return errors.Is(err, session.ErrOverloaded) || errors.Is(err, session.ErrShutdown) || errors.Is(err, session.ErrElsewhere)
}

// comeBack answers what will pass, where a browser gives up on any status but
// 200.
func (s *Server) comeBack(c *gin.Context) error {
	s.openEvents(c).begin()
	return errAbort
}

// A follower writes a session's frames to one client.
type follower struct {
	server  *Server
	session *session.Session
	reader  *session.Reader
	request followRequest
	out     *stream
	silence *time.Timer // fires when a keep-alive is due
	next    time.Time   // when the pace allows the next event
}

// run writes until the terminal frame is written. Any other end is errAbort.
func (f *follower) run(ctx context.Context) error {
	f.silence = time.NewTimer(f.server.opts.KeepAlive)
	defer f.silence.Stop()
	size := writeSize
	if f.request.pace > 0 {
		size = 0 // one at a time
	}
	for {
		frames, more, err := f.reader.Next(ctx, size)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			f.server.complain(f.session, f.reader, err)
			f.out.begin() // when to come back
			return errAbort
		case more != nil:
			if f.out.begin() != nil || f.wait(ctx, more, f.server.draining) != nil {
				return errAbort
			}
			continue
		}
		if f.turn(ctx) != nil {
			return errAbort
		}
		body := []byte(frames)
		if f.request.render != nil {
			if body, err = f.request.render(frames); err != nil {
				return errAbort
			}
		}
		if len(body) > 0 && f.out.write(body) != nil {
			return errAbort // the client is gone, or too slow
		}
		if f.request.written != nil {
			f.request.written()
		}
		f.silence.Reset(f.server.opts.KeepAlive)
	}
}

// complain logs why reading is broken off, unless that is known elsewhere.
func (s *Server) complain(of *session.Session, at *session.Reader, err error) {
	_, gone := errors.AsType[*session.GoneError](err)
	if !gone && !errors.Is(err, session.ErrShutdown) && !errors.Is(err, session.ErrStore) && !errors.Is(err, context.Canceled) {
		s.opts.Logger.Error("reading broken off", "session", of.Info().ID, "at", at.At(), "error", err)
	}
}

// turn waits until the reader's pace allows the next event. Deadlines follow
// each other at the interval, so that waking up late does not add up; only what
// was missed while there was nothing to send is not made up for.
func (f *follower) turn(ctx context.Context) error {
	select {
	case <-f.server.cut:
		return errAbort
	default:
	}
	if f.request.pace == 0 {
		return nil
	}
	if time.Since(f.next) > paceSlack {
		f.next = time.Now()
	}
	due := make(chan struct{})
	timer := time.AfterFunc(time.Until(f.next), func() { close(due) })
	defer timer.Stop()
	f.next = f.next.Add(time.Duration(float64(time.Second) / f.request.pace))
	return f.wait(ctx, due, nil)
}

// wait returns when ready closes, and keeps the line alive until then. The
// error is errAbort: the client is gone or the relay is going. Once leaving
// closes, a paused session is not waited for, since nothing is to come of it.
func (f *follower) wait(ctx context.Context, ready, leaving <-chan struct{}) error {
	for {
		select {
		case <-ready:
			return nil
		case <-ctx.Done():
			return errAbort
		case <-f.server.cut:
			return errAbort
		case <-leaving:
			leaving = nil
			if f.session.Status().State == session.Paused {
				return errAbort
			}
		case <-f.silence.C:
			if f.out.write(f.keepAlive()) != nil {
				return errAbort
			}
			f.silence.Reset(f.server.opts.KeepAlive)
		}
	}
}

// keepAlive is a comment and one newline, since some clients take a comment
// and an empty line for an event; or an event without an id.
func (f *follower) keepAlive() []byte {
	if f.request.ping {
		return fmt.Appendf(nil, "event: ping\ndata: {\"last_event_id\":%d}\n\n", f.reader.At())
	}
	return []byte(": ka\n")
}
