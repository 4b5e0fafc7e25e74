package upstream

import (
	"errors"
	"io"
	"net/http"

	"tokenrelay/session"
)

// anthropic is Anthropic's Messages.
type anthropic struct{}

func (anthropic) path() string { return "/messages" }

func (anthropic) mediaType() string { return "text/event-stream" }

func (anthropic) authorize(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

func (anthropic) continuation(string) session.Continuation { return session.ByMessage }

func (anthropic) fields(q question) (map[string]any, error) { return map[string]any{}, nil }

func (anthropic) read(body io.Reader, d *decoder) error { return errors.ErrUnsupported }
