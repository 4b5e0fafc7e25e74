package upstreamtest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// errEnded reports an answer that ends early, as its behavior wants.
var errEnded = errors.New("answer ends here")

// A conn writes one answer, with the faults of its connection.
type conn struct {
	Behavior
	w       http.ResponseWriter
	control *http.ResponseController
	request *Request
	tokens  int
}

// head writes the head of a stream, in its time.
func (c *conn) head(ctx context.Context) error {
	if err := sleep(ctx, c.Headers); err != nil {
		return err
	}
	kind := "text/event-stream; charset=utf-8"
	if c.request.Dialect == Ollama {
		kind = "application/x-ndjson"
	}
	return c.writeHead(http.StatusOK, kind)
}

func (c *conn) writeHead(status int, kind string) error {
	header := c.w.Header()
	header.Set("Content-Type", kind)
	for name, values := range c.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	c.request.status.Store(int64(status))
	c.w.WriteHeader(status)
	return c.control.Flush()
}

// whole writes an answer that is no stream.
func (c *conn) whole(ctx context.Context, status int, json string) {
	if sleep(ctx, c.Headers) != nil {
		return
	}
	c.request.unwatch()
	c.writeHead(status, "application/json")
	io.WriteString(c.w, json)
}

// refuse writes an error as the dialect has it.
func (c *conn) refuse(ctx context.Context, status int, message string) {
	c.whole(ctx, status, c.request.Dialect.refusal(status, message))
}

// refused gives no answer, or an error, if the behavior wants that.
func (c *conn) refused(ctx context.Context) bool {
	switch {
	case c.Fault == NoAnswer:
		<-ctx.Done()
	case c.Fault == Hangup:
		panic(http.ErrAbortHandler)
	case c.Status != 0:
		c.refuse(ctx, c.Status, c.Message)
	default:
		return false
	}
	return true
}

// send writes one event of a stream.
func (c *conn) send(ctx context.Context, e event) error {
	if e.token {
		if err := c.fault(ctx); err != nil {
			return err
		}
	}
	if e.last {
		c.request.unwatch()
	}
	if err := c.write(e.wire); err != nil || !e.token {
		return err
	}
	c.tokens++
	c.request.tokens.Add(1)
	return c.fault(ctx)
}

func (c *conn) write(wire string) error {
	if _, err := io.WriteString(c.w, wire); err != nil {
		return err
	}
	return c.control.Flush()
}

// fault does what is to happen after so many tokens, once.
func (c *conn) fault(ctx context.Context) error {
	if c.tokens != c.After {
		return nil
	}
	fault := c.Fault
	switch fault {
	case Silent, Cut, Reset, CleanEnd, Malformed:
		c.Fault = None
	}
	switch fault {
	case Silent:
		<-ctx.Done()
		return ctx.Err()
	case Cut:
		panic(http.ErrAbortHandler)
	case Reset:
		return c.reset()
	case CleanEnd:
		return errEnded
	case Malformed:
		return c.write(c.request.Dialect.malformed())
	}
	return nil
}

func (c *conn) reset() error {
	raw, _, err := c.control.Hijack()
	if err != nil {
		return err
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	raw.Close()
	return errEnded
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return ctx.Err()
}
