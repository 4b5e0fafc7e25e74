package upstreamtest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Listen serves p over TCP until the test ends, and returns its base URL
// without a path.
func (p *Provider) Listen(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	serve(t, l, p)
	return "http://" + l.Addr().String()
}

// Pipe serves p over net.Pipe until the test ends, and returns the DialContext
// of an http.Transport that reaches it by any address.
func (p *Provider) Pipe(t testing.TB) func(ctx context.Context, network, address string) (net.Conn, error) {
	t.Cleanup(p.Close)
	return Pipe(t, p)
}

// Pipe serves h as Provider.Pipe does.
func Pipe(t testing.TB, h http.Handler) func(ctx context.Context, network, address string) (net.Conn, error) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	serve(t, l, h)
	return l.dial
}

// serve serves h until the test ends, and then waits for its handlers.
func serve(t testing.TB, l net.Listener, h http.Handler) {
	var serving sync.WaitGroup
	server := &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew: // within Serve, which is one of those waited for
			serving.Add(1)
		case http.StateClosed, http.StateHijacked:
			serving.Done()
		}
	}}
	serving.Go(func() { server.Serve(l) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
}

// A pipeListener accepts what dial connects.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
