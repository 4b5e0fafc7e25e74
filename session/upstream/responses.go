package upstream

import (
	"errors"
	"io"
	"net/http"

	"tokenrelay/session"
)

// responses is OpenAI's Responses.
type responses struct{ background bool }

func (responses) path() string { return "/responses" }

func (responses) mediaType() string { return "text/event-stream" }

func (responses) authorize(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

func (responses) continuation(string) session.Continuation { return session.ByMessage }

func (responses) fields(q question) (map[string]any, error) { return nil, errors.ErrUnsupported }

func (responses) read(body io.Reader, d *decoder) error { return errors.ErrUnsupported }
