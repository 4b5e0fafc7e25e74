package upstream

import (
	"context"
	"net"
	"net/http"
)

// Dial makes every connection of s come from dial.
func (s *Set) Dial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	for _, p := range s.providers {
		transport := p.client.Transport.(*http.Transport)
		transport.DialContext, transport.Proxy = dial, nil
	}
}

// CloseIdle closes the connections that no request uses.
func (s *Set) CloseIdle() {
	for _, p := range s.providers {
		p.client.CloseIdleConnections()
	}
}
