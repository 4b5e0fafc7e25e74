package server

import (
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"
)

// A route is one line of the table. Its handler parses, calls the domain once,
// and renders; an error it returns becomes a problem document.
type route struct {
	method, path string
	handle       func(*gin.Context) error
}

// routes is all that the relay answers, its page apart.
func (s *Server) routes() []route {
	return []route{
		{"POST", "/v1/sessions", s.create},
		{"GET", "/v1/sessions", s.list},
		{"GET", "/v1/sessions/:id", s.state},
		{"DELETE", "/v1/sessions/:id", s.delete},
		{"GET", "/v1/sessions/:id/events", s.events},
		{"GET", "/v1/sessions/:id/text", s.text},
		{"POST", "/v1/sessions/:id/append", s.append},
		{"POST", "/v1/sessions/:id/pause", s.pause},
		{"POST", "/v1/sessions/:id/resume", s.resume},
		{"POST", "/v1/sessions/:id/stop", s.stop},
		{"POST", "/v1/sessions/:id/finish", s.finish},
		{"GET", "/v1/models", s.models},
		{"GET", "/healthz", s.healthz},
		{"GET", "/readyz", s.readyz},
	}
}

func (s *Server) newEngine() (*gin.Engine, error) {
	guard, err := newGuard(s.opts)
	if err != nil {
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
	e.Use(s.recover, s.begin, s.try(guard.check))
	for _, r := range s.routes() {
		e.Handle(r.method, r.path, s.try(r.handle))
	}
	e.NoRoute(s.try(page.serve))
	e.NoMethod(s.try(func(c *gin.Context) error {
		return &requestError{codeMethod, c.Request.Method + " is not for " + c.Request.URL.Path}
	}))
	return e, nil
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
		case errors.Is(err, errAbort):
			panic(http.ErrAbortHandler)
		default:
			s.renderError(c, err)
			c.Abort()
		}
	}
}

// begin gives the whole answer one deadline, which streams renew with each
// write. Without it the one of the connection's last request would stand.
func (s *Server) begin(c *gin.Context) {
	http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
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
			panic(cause)
		}
		s.opts.Logger.Error("panic", "path", c.FullPath(), "cause", cause, "stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		s.renderError(c, errors.New("panic"))
		c.Abort()
	}()
	c.Next()
}
