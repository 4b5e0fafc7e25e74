package upstream

import (
	"encoding/json"
	"io"
	"net/http"

	"tokenrelay/session"
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

// Body is that of the request that is made for spec.
func (s *Set) Body(spec session.SourceSpec) ([]byte, error) {
	source, err := s.Open(spec)
	if err != nil {
		return nil, err
	}
	g := source.(*generation)
	fields, err := g.provider.fields(g.question)
	if err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}
