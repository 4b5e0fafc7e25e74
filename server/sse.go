package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

// A stream writes a body of unknown length to one client: each write has its
// own deadline and goes out at once. It is all that stands between who reads a
// session and the connection, whatever version of HTTP that speaks. One
// goroutine uses it.
type stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	unsent  bool // the head waits for the first event, to go out with it
}

// openStream answers 200.
func (s *Server) openStream(c *gin.Context, contentType string) *stream {
	h := c.Writer.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the writes back
	return s.answered(c)
}

// answered answers 200 with the headers that are set.
func (s *Server) answered(c *gin.Context) *stream {
	c.Status(http.StatusOK)
	c.Writer.WriteHeaderNow()
	// Below gin's writer, whose Flush keeps errors to itself.
	var w http.ResponseWriter = c.Writer
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	return &stream{w: w, rc: http.NewResponseController(w), timeout: s.opts.WriteTimeout, unsent: true}
}

// openEvents answers with server-sent events, and says when to reconnect.
func (s *Server) openEvents(c *gin.Context) *stream {
	out := s.openStream(c, "text/event-stream; charset=utf-8")
	// One newline: an empty line would end an event, and some clients would
	// take it for one.
	out.w.Write(append(strconv.AppendInt([]byte("retry: "), s.opts.Retry.Milliseconds(), 10), '\n'))
	return out
}

// renderBody answers with an object that may be as large as a log, in writes of
// which each has its own deadline.
func (s *Server) renderBody(c *gin.Context, object []byte) error {
	h := c.Writer.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(object)))
	if s.answered(c).write(object) != nil {
		return errAbort
	}
	return nil
}

// write sends p, and returns once the kernel has it. Each writeSize bytes have
// a deadline of their own.
func (s *stream) write(p []byte) error {
	for {
		piece := p[:min(len(p), writeSize)]
		p = p[len(piece):]
		if err := s.rc.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return err
		}
		if _, err := s.w.Write(piece); err != nil {
			return err
		}
		if len(p) == 0 {
			s.unsent = false
			return s.rc.Flush()
		}
	}
}

// begin sends the head if no event has taken it along.
func (s *stream) begin() error {
	if !s.unsent {
		return nil
	}
	return s.write(nil)
}
