package upstream

import (
	"io"
	"net/http"
)

// CloseIdle closes the connections that no request uses.
func (s *Set) CloseIdle() {
	for _, p := range s.providers {
		p.client.CloseIdleConnections()
	}
}

// Answer makes every answer of s one of the media type that its protocol has,
// with what body returns.
func (s *Set) Answer(body func() io.Reader) {
	for _, p := range s.providers {
		p.client.Transport = answering(func(r *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusOK, Request: r,
				Header: http.Header{"Content-Type": {p.protocol.mediaType()}},
				Body:   io.NopCloser(body()),
			}, nil
		})
	}
}

type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }
