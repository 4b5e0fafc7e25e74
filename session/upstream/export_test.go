package upstream

import (
	"context"
	"net"
	"net/http"
)

// Dial makes every connection of s come from dial.
func (s *Set) Dial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	transport := s.client.Transport.(*http.Transport)
	transport.DialContext, transport.Proxy = dial, nil
}

// CloseIdle closes the connections that no request uses.
func (s *Set) CloseIdle() { s.client.CloseIdleConnections() }
