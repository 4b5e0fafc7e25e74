package server

import (
	"cmp"
	"errors"
	"strings"

	"tokenrelay/session"
)

// Errors of sessions name things as the native protocol does. Here they get the
// words of other protocols' clients, by the error's type and the field it is of.

// nouns are what the clients of a path call a session.
var nouns = []struct{ path, noun string }{
	{"/v1/responses", "response"}, {"/v1/chat/", "completion"}, {"/api/", "run"},
}

func nounOf(path string) string {
	for _, n := range nouns {
		if strings.HasPrefix(path, n.path) {
			return n.noun
		}
	}
	return "session"
}

// A noneError reports a session that is no more to clients that know another code
// for that.
type noneError struct {
	code code
	*session.GoneError
}

func (e *noneError) Unwrap() error { return e.GoneError }

// inWords returns why a question makes no session in words of who asks, who calls
// the relay's own settings so.
func (q question) inWords(err error, settings string) error {
	in := func(e session.InvalidError) session.InvalidError {
		return session.InvalidError{Field: q.fieldOf(e.Field, settings), Reason: e.Reason}
	}
	if e, ok := errors.AsType[*session.UnsupportedError](err); ok {
		return &session.UnsupportedError{InvalidError: in(e.InvalidError)}
	}
	if e, ok := errors.AsType[*session.ModelError](err); ok {
		return &session.ModelError{InvalidError: in(e.InvalidError), NoUpstream: e.NoUpstream}
	}
	if e, ok := errors.AsType[*session.InvalidError](err); ok {
		return new(in(*e))
	}
	return err
}

// fieldOf is the name in the request of what the native protocol calls so.
func (q question) fieldOf(native, settings string) string {
	switch setting, _, _ := strings.Cut(native, "."); setting {
	case "unit", "encoding", "rate", "on_pause", "on_no_reader", "retain", "metadata":
		return settings + "." + native
	}
	field, ofSource := strings.CutPrefix(native, "source.")
	if !ofSource {
		return native
	}
	switch name, within, _ := strings.Cut(field, "."); name {
	case "seed", "length":
		return settings + "." + field
	case "parameters":
		return cmp.Or(within, name)
	case "messages":
		if q.dialect == session.DialectResponses {
			return "input" + strings.TrimPrefix(field, name)
		}
	}
	return field
}
