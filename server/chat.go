package server

import (
	"errors"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// createCompletion asks a model, and answers with the chunks as they come or
// with the whole.
func (s *Server) createCompletion(c *gin.Context, body []byte, at *session.Seat) error {
	q, e, err := decodeChat(body)
	if err != nil {
		return err
	}
	from, err := repeatFrom(c, q.streams)
	if err != nil {
		return err
	}
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
	var asked retrieval
	err := parameters(c, map[string]func(string) error{
		"stream":         asked.setStream,
		"starting_after": asked.setAfter,
		"api-version":    func(string) error { return nil }, // Azure's clients name it everywhere
	})
	if err != nil {
		return err
	}
	if err := asked.settle(c.Request); err != nil {
		return err
	}
	return s.retrieve(c, completionPrefix, asked, func(of session.Info) projection { return newChatProjection(of) }, s.renderCompletion)
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
