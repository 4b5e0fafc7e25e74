// Package server is the HTTP side of the relay: it parses requests, calls the
// session package once, and renders what comes back. It is the only package
// that knows gin, status codes and wire formats other than a frame's own.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// Defaults of Options.
const (
	DefaultKeepAlive    = 15 * time.Second
	DefaultRetry        = time.Second
	DefaultWriteTimeout = 30 * time.Second
	DefaultBodyTimeout  = 30 * time.Second
	DefaultDrain        = 10 * time.Second
	DefaultMaxBody      = 4 << 20
	DefaultSocketBuffer = 64 << 10
	DefaultMaxProjected = 256 << 20
	DefaultChatReplay   = 5 * time.Minute
)

// Options say how to serve. Manager is needed; the zero value of every other
// field means its default.
type Options struct {
	Manager *session.Manager
	// Models are those that upstreams serve, as a request names them; the
	// generator's own comes first in the listing.
	Models []string
	// Metrics is what /metrics shows. Of nil, and of one whose Events are not
	// the Manager's, that is how much the Manager uses and little else.
	Metrics *Metrics
	// Page holds the built page; nil means the binary comes without one.
	Page fs.FS

	// KeepAlive is how long a stream is silent at the most.
	KeepAlive time.Duration
	// Retry is how long EventSource is told to wait before it reconnects.
	Retry time.Duration
	// WriteTimeout is how long one write to a reader may take before the
	// reader is given up.
	WriteTimeout time.Duration
	// BodyTimeout is how long a request's body may take to arrive.
	BodyTimeout time.Duration
	// Drain is how long streams may go on once Serve is told to end.
	Drain time.Duration
	// MaxBody bounds a request's body, in bytes.
	MaxBody int64
	// MaxProjected bounds what the readers of other protocols than the native
	// one keep of their texts together, in bytes: those protocols repeat a text
	// where it ends. What sources were given counts too, while it is shown.
	MaxProjected int64
	// SocketBuffer is what the kernel may hold of one connection's stream, in
	// bytes; left alone, it takes megabytes.
	SocketBuffer int

	// ChatModel answers chats of the AI SDK that name no model. Empty means the
	// first of Models, or the generator if there is none.
	ChatModel string
	// ChatReplay is how long after its end an answer is shown to a chat of the AI
	// SDK that is opened again. Negative means not at all.
	ChatReplay time.Duration

	// AllowHosts are the names, beside IP addresses and localhost, that a
	// request may give in its Host header; "*" allows any. It keeps pages of
	// other sites from reaching a local relay by DNS rebinding.
	AllowHosts []string
	// AllowOrigins are origins other than the relay's own whose pages may use
	// the API, such as https://app.example.com.
	AllowOrigins []string

	// Logger takes what goes wrong; nil discards it.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.KeepAlive = cmp.Or(o.KeepAlive, DefaultKeepAlive)
	o.Retry = cmp.Or(o.Retry, DefaultRetry)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, DefaultWriteTimeout)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, DefaultBodyTimeout)
	o.Drain = cmp.Or(o.Drain, DefaultDrain)
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	o.SocketBuffer = cmp.Or(o.SocketBuffer, DefaultSocketBuffer)
	o.MaxProjected = cmp.Or(o.MaxProjected, DefaultMaxProjected)
	o.ChatReplay = cmp.Or(o.ChatReplay, DefaultChatReplay)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// A Server serves the sessions of one Manager. Its methods may be called at
// the same time.
type Server struct {
	opts    Options
	engine  *gin.Engine
	guard   *guard
	started time.Time
	scrape  http.Handler // of metrics

	projected budget // of what readers of other protocols keep

	streams  gate
	draining chan struct{} // closed when nothing new is taken on
	cut      chan struct{} // closed when the streams that are left are broken off
}

func (o Options) validate() error {
	if o.Manager == nil {
		return errors.New("there is no Manager")
	}
	for name, limit := range map[string]int64{
		"KeepAlive": int64(o.KeepAlive), "Retry": int64(o.Retry / time.Millisecond), "WriteTimeout": int64(o.WriteTimeout),
		"BodyTimeout": int64(o.BodyTimeout), "Drain": int64(o.Drain), "MaxBody": o.MaxBody, "SocketBuffer": int64(o.SocketBuffer), "MaxProjected": o.MaxProjected,
	} {
		if limit <= 0 {
			return fmt.Errorf("%s must be more than 0 (Retry: a millisecond at least)", name)
		}
	}
	if o.KeepAlive > DefaultKeepAlive {
		return fmt.Errorf("KeepAlive must be %v at most: clients take a longer silence for a lost line", DefaultKeepAlive)
	}
	return nil
}

// New returns a server, or an error that names the option which is wrong.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		opts:      o,
		started:   time.Now(),
		projected: budget{most: o.MaxProjected},
		streams:   gate{empty: make(chan struct{})},
		draining:  make(chan struct{}),
		cut:       make(chan struct{}),
	}
	metrics := o.Metrics
	if metrics == nil {
		metrics = NewMetrics()
	}
	if err := metrics.watch(o.Manager, &s.projected); err != nil {
		return nil, fmt.Errorf("metrics of another server: %w", err)
	}
	s.scrape = metrics.handler(o.Logger)
	engine, err := s.newEngine()
	if err != nil {
		return nil, err
	}
	s.engine = engine
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.engine.ServeHTTP(w, r) }

// Serve answers on l until ctx is done. Then it takes on nothing new, lets
// streams of running sessions go on for Options.Drain, breaks off those that
// are left, and returns nil. Any other end is an error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if tcp, ok := c.(*net.TCPConn); ok {
				tcp.SetWriteBuffer(s.opts.SocketBuffer) // it only costs memory if it fails
			}
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.drain()
	// What is left are short requests, and streams in the middle of a write.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if srv.Shutdown(closing) != nil {
		srv.Close()
	}
	<-s.streams.empty
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// drain waits for streams to end, and for sessions that could not go on after
// a restart, at most for Options.Drain; then it tells the streams that are left
// to break off.
func (s *Server) drain() {
	close(s.draining)
	open := s.streams.close()
	s.opts.Logger.Info("draining", "streams", open, "unresumable", s.opts.Manager.Unresumable(), "at_most", s.opts.Drain)
	over := time.After(s.opts.Drain)
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for waiting := true; waiting; {
		select {
		case <-s.streams.empty:
			if waiting = s.opts.Manager.Unresumable() > 0; waiting {
				<-look.C
			}
		case <-over:
			waiting = false
		}
	}
	close(s.cut)
}

// drainLook is how often a server without streams looks whether sessions run
// that could not go on.
const drainLook = 100 * time.Millisecond

// isDraining reports whether nothing new is taken on.
func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// A gate counts who is inside, and lets nobody in once it is closed.
type gate struct {
	mu     sync.Mutex // guards the fields below
	inside int
	closed bool
	empty  chan struct{} // closed when the gate is closed and nobody is inside
}

// enter reports whether the gate is open; if so, leave must follow.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside++
	}
	return !g.closed
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// close returns how many are still inside. It must be called once.
func (g *gate) close() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed = true; g.inside == 0 {
		close(g.empty)
	}
	return g.inside
}
