package upstream

import (
	"errors"
	"io"
	"net/http"

	"tokenrelay/session"
)

// ollama is Ollama's chat.
type ollama struct{}

func (ollama) path() string { return "/api/chat" }

func (ollama) mediaType() string { return "application/x-ndjson" }

func (ollama) authorize(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

func (ollama) continuation(string) session.Continuation { return session.ByMessage }

func (ollama) fields(q question) (map[string]any, error) { return map[string]any{}, nil }

func (ollama) read(body io.Reader, d *decoder) error { return errors.ErrUnsupported }
