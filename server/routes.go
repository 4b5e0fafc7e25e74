package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// A route is one line of the table. Its handler parses, calls the domain once,
// and renders; an error it returns becomes a problem document.
type route struct {
	method, path string
	handle       func(*gin.Context) error
	query        query
}

// A query says what a route does with one.
type query int

const (
	noQuery    query = iota // it is an error: nothing is ignored
	takesQuery              // the handler reads it
	anyQuery                // it is ignored: other vendors' clients add to it, such as an api-version
)

// routes is all that the relay answers, its page apart.
func (s *Server) routes() []route {
	return []route{
		{"POST", "/v1/sessions", s.create, noQuery},
		{"GET", "/v1/sessions", s.list, takesQuery},
		{"GET", "/v1/sessions/:id", s.state, noQuery},
		{"HEAD", "/v1/sessions/:id", s.state, noQuery},
		{"DELETE", "/v1/sessions/:id", s.delete, noQuery},
		{"GET", "/v1/sessions/:id/events", s.events, takesQuery},
		{"GET", "/v1/sessions/:id/text", s.text, noQuery},
		{"GET", "/v1/sessions/:id/source", s.source, noQuery},
		{"GET", "/v1/sessions/:id/cursors", s.cursors, takesQuery},
		{"POST", "/v1/sessions/:id/append", s.append, noQuery},
		{"POST", "/v1/sessions/:id/pause", s.pause, noQuery},
		{"POST", "/v1/sessions/:id/resume", s.resume, noQuery},
		{"POST", "/v1/sessions/:id/stop", s.stop, noQuery},
		{"POST", "/v1/sessions/:id/finish", s.finish, noQuery},
		{"POST", "/v1/sessions/:id/continue", s.goOn, noQuery},
		{"GET", "/v1/models", s.models, anyQuery},
		{"GET", "/v1/models/*model", s.model, anyQuery},
		{"POST", "/v1/responses", s.seated(s.createResponse), anyQuery},
		{"GET", "/v1/responses/:id", s.retrieveResponse, takesQuery},
		{"POST", "/v1/responses/:id/cancel", s.cancelResponse, anyQuery},
		{"DELETE", "/v1/responses/:id", s.deleteResponse, anyQuery},
		{"POST", "/v1/chat/completions", s.seated(s.createCompletion), anyQuery},
		{"GET", "/v1/chat/completions/:id", s.retrieveCompletion, takesQuery},
		{"DELETE", "/v1/chat/completions/:id", s.deleteCompletion, anyQuery},
		{"POST", "/api/chat", s.seated(s.createChat), anyQuery},
		{"GET", "/api/chat/:id/stream", s.followChat, takesQuery},
		{"POST", "/api/chat/:id/stop", s.stopChat, anyQuery},
		{"GET", "/healthz", s.healthz, noQuery},
		{"HEAD", "/healthz", s.healthz, noQuery},
		{"GET", "/readyz", s.readyz, noQuery},
		{"HEAD", "/readyz", s.readyz, noQuery},
		{"GET", "/metrics", s.metrics, noQuery},
	}
}

func (s *Server) newEngine() (*gin.Engine, error) {
	var err error
	if s.guard, err = newGuard(s.opts); err != nil {
		return nil, err
	}
	page, err := newPage(s.opts.Page)
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.UseRawPath = true          // the id of a chat may have an escaped slash
	e.UnescapePathValues = false // it would take + for a blank, as in a query: see pathValue
	e.Use(s.recover, s.begin, s.try(s.guard.check))
	for _, r := range s.routes() {
		e.Handle(r.method, r.path, s.try(func(c *gin.Context) error {
			if r.query == noQuery {
				if err := parameters(c, nil); err != nil {
					return err
				}
			}
			return r.handle(c)
		}))
	}
	e.NoRoute(s.try(page.serve))
	e.NoMethod(s.try(func(c *gin.Context) error { return notHere(c.Request, codeMethod) }))
	return e, nil
}

// notHere says what there is not, and where a client of OpenAI's is to look.
func notHere(r *http.Request, is code) error {
	method, at := echo(r.Method), echo(r.URL.Path)
	asked := method + " " + at
	switch {
	case isOpenAI(r.URL.Path):
		return &requestError{codeRoute, asked + " is not here: the base URL of this relay ends in /v1, as in http://127.0.0.1:8080/v1"}
	case strings.HasPrefix(at, "/v1/") && !strings.HasPrefix(at, "/v1/sessions"):
		return &requestError{is, asked + " is not here: of OpenAI's API this relay has responses, chat completions and models, in the routes that docs/protocol.md lists"}
	case is == codeMethod:
		return &requestError{is, method + " is not for " + at}
	}
	return &requestError{is, "there is nothing at " + at}
}

// isOpenAI reports whether a path would be OpenAI's behind the right base URL.
func isOpenAI(at string) bool {
	first, rest, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	return first == "responses" || first == "models" || first == "chat" && strings.HasPrefix(rest, "completions")
}

// pathValue returns what a parameter of the route's path stands for (RFC 3986,
// section 2.1).
func pathValue(c *gin.Context, parameter string) string {
	value := c.Param(parameter)
	if c.Request.URL.RawPath == "" {
		return value // it is of the path, not of the raw one
	}
	name, err := url.PathUnescape(value)
	if err != nil {
		return value // which names nothing
	}
	return name
}

// errAbort says that a stream stops before its terminal event. The connection
// is reset, because an orderly end would say that all has been sent.
var errAbort = errors.New("stream broken off")

// try turns a handler's error into what the client gets.
func (s *Server) try(handle func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		err := handle(c)
		switch {
		case err == nil:
		case errors.Is(err, errAbort), errors.Is(err, context.Canceled):
			abort(c.Request) // or nobody waits for the answer any more
		default:
			s.renderError(c, err)
			c.Abort()
		}
	}
}

// connKey is under which a request's context has its connection.
type connKey struct{}

// abort ends a request without ending its answer properly. A body of HTTP/1.0
// has no end but that of its connection (nginx asks so by default), so there
// the connection must be reset.
func abort(r *http.Request) {
	if tcp, ok := r.Context().Value(connKey{}).(*net.TCPConn); ok && !r.ProtoAtLeast(1, 1) {
		tcp.SetLinger(0)
	}
	panic(http.ErrAbortHandler)
}

// begin gives the answer a deadline, which streams renew with each write: the
// one of the connection's last request would stand otherwise. A body has one
// too, and unless decode reads it to its end the connection ends with the
// answer, since net/http would wait for the rest of the body before it.
func (s *Server) begin(c *gin.Context) {
	rc := http.NewResponseController(c.Writer)
	rc.SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	if c.Request.ContentLength != 0 {
		rc.SetReadDeadline(time.Now().Add(s.opts.BodyTimeout))
		c.Header("Connection", "close")
	}
	c.Header("Cache-Control", "no-store")
	c.Header("X-Content-Type-Options", "nosniff")
}

// recover keeps a panic from ending more than its own request. Unlike gin's
// own it lets http.ErrAbortHandler pass, which resets the connection.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause == http.ErrAbortHandler {
			panic(cause) // which resets the connection
		}
		s.opts.Logger.Error("panic", "path", c.FullPath(), "cause", cause, "stack", string(debug.Stack()))
		if c.Writer.Written() {
			abort(c.Request)
		}
		s.renderError(c, errors.New("panic"))
		c.Abort()
	}()
	c.Next()
}
