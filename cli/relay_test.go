package cli

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// newRelay runs the real server on l until the end of the test.
func newRelay(t *testing.T, l net.Listener) *session.Manager {
	t.Helper()
	return newRelayOf(t, l, nil)
}

// newRelayOf is newRelay with upstreams.
func newRelayOf(t *testing.T, l net.Listener, upstreams session.Opener) *session.Manager {
	t.Helper()
	manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: upstreams})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Manager: manager, Drain: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { manager.Run(ctx) })
	running.Go(func() {
		if err := srv.Serve(ctx, l); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return manager
}

// newSession creates a session whose text is given.
func newSession(t *testing.T, m *session.Manager, spec session.Spec) *session.Session {
	t.Helper()
	s, err := m.Create(t.Context(), session.Anonymous, spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func textSpec(text string, rate float64) session.Spec {
	return session.Spec{Unit: "rune", Rate: rate, Source: session.SourceSpec{Type: session.SourceText, Text: text}}
}

// A pipes is a network of net.Pipe: a listener, and what dials it.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	// cut, if not nil, returns after how many bytes of answer the next
	// connection breaks; negative means never.
	cut func() int
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// client returns a client that speaks over p, and closes with the test.
func (p *pipes) client(t *testing.T) *client {
	transport := &http.Transport{DialContext: p.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{base: "http://localhost", http: &http.Client{Transport: transport}}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	if p.cut != nil {
		near = &cutConn{Conn: near, left: p.cut()}
	}
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// A cutConn breaks once left bytes have been read from it.
type cutConn struct {
	net.Conn
	left int // negative: never
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		c.Conn.Close()
		return 0, &net.OpError{Op: "read", Net: "pipe", Err: syscall.ECONNRESET}
	}
	if c.left > 0 {
		p = p[:min(len(p), c.left)]
	}
	n, err := c.Conn.Read(p)
	if c.left > 0 {
		c.left -= n
	}
	return n, err
}

// A screen is what a command writes to. It may be looked at meanwhile.
type screen struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}
