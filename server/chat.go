package server

import (
	"errors"
	"strings"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// createCompletion asks a model, and answers with the chunks as they come or
// with the whole.
func (s *Server) createCompletion(c *gin.Context) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	q, e, err := decodeChat(body)
	if err != nil {
		return err
	}
	from, err := repeatFrom(c, q.streams)
	if err != nil {
		return err
	}
	at, err := s.opts.Manager.Seat() // who could not read the answer does not ask for it
	if err != nil {
		return err
	}
	defer at.Leave()
	created, _, err := s.ask(c, body, q, e, from)
	switch {
	case err != nil:
		return err
	case q.streams:
		return afterCreate(c, s.project(c, at, created, newChatProjection(created.Info()), from))
	}
	if err := s.awaitEnd(c, at, created); err != nil {
		return afterCreate(c, err)
	}
	return afterCreate(c, s.renderCompletion(c, at, created))
}

// retrieveCompletion answers with what a create would have: the whole, or its
// chunks from where the client wants them.
func (s *Server) retrieveCompletion(c *gin.Context) error {
	streams, from := false, int64(0)
	err := parameters(c, map[string]func(string) error{
		"stream": func(value string) error {
			if streams = value == "true"; !streams && value != "false" {
				return errParameter("stream", "can only be true or false")
			}
			return nil
		},
		"starting_after": func(value string) (err error) {
			from, err = eventCursor(value)
			return err
		},
		"api-version": func(string) error { return nil }, // Azure's clients name it everywhere
	})
	if err != nil {
		return err
	}
	if last, there := c.Request.Header["Last-Event-Id"]; there { // EventSource repeats its URL
		if from, err = eventCursor(strings.Join(last, ", ")); err != nil {
			return err
		}
	}
	if from > 0 && !streams {
		return errCursorOfWhole
	}
	found, err := s.foreignSession(c, completionPrefix)
	if gone, ok := errors.AsType[*session.GoneError](err); ok && from > 0 {
		return &requestError{codeCursorGone, gone.Error()}
	}
	switch {
	case err != nil && streams:
		return s.orComeBack(c, notThere(err))
	case err != nil:
		return notThere(err)
	case streams:
		return s.project(c, nil, found, newChatProjection(found.Info()), from)
	}
	return s.renderCompletion(c, nil, found)
}

// renderCompletion answers with the whole of an answer, or with why there is
// none.
func (s *Server) renderCompletion(c *gin.Context, at *session.Seat, found *session.Session) error {
	whole := newCompletion(found.Info())
	reading, err := s.read(c.Request.Context(), at, found, whole)
	if err != nil {
		return err
	}
	defer reading.close()
	err = whole.ended()
	if failure, ok := errors.AsType[*session.Failure](err); ok {
		return brokenAnswer(c, found, failure)
	} else if err != nil {
		return err
	}
	body, err := reading.whole(whole.appendTo)
	if err != nil {
		return err
	}
	return s.renderBody(c, body)
}

// deleteCompletion stops a completion and forgets it.
func (s *Server) deleteCompletion(c *gin.Context) error {
	return s.deleteForeign(c, completionPrefix, "chat.completion.deleted")
}
