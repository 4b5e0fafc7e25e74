package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// A retrieval is what a session is asked for with by clients of OpenAI's protocols.
type retrieval struct {
	streams bool
	from    int64 // number of the first event that is wanted; 0 without streams
}

// errCursorOfWhole reports a cursor where none is of use.
var errCursorOfWhole = &requestError{codeParameter, "starting_after and Last-Event-ID are for a stream: give stream=true too"}

// setStream reads the parameter stream.
func (r *retrieval) setStream(value string) error {
	if r.streams = value == "true"; !r.streams && value != "false" {
		return errParameter("stream", "can only be true or false")
	}
	return nil
}

// setAfter reads the parameter starting_after.
func (r *retrieval) setAfter(value string) (err error) {
	r.from, err = eventCursor(value)
	return err
}

// settle lets the header of EventSource win, which repeats its URL, and checks
// what has come together.
func (r *retrieval) settle(request *http.Request) error {
	if last, there := request.Header["Last-Event-Id"]; there {
		if err := r.setAfter(strings.Join(last, ", ")); err != nil {
			return err
		}
	}
	if r.from > 0 && !r.streams {
		return errCursorOfWhole
	}
	return nil
}

// retrieve answers with the session that a route names by its id with the prefix:
// with its events as show has them, or with the whole, as render does.
func (s *Server) retrieve(c *gin.Context, prefix string, asked retrieval, show func(session.Info) projection, render func(*gin.Context, *session.Seat, *session.Session) error) error {
	found, err := s.foreignSession(c, prefix)
	if gone, ok := errors.AsType[*session.GoneError](err); ok && asked.from > 0 {
		return &noneError{codeCursorGone, gone}
	}
	switch {
	case err != nil && asked.streams:
		return s.orComeBack(c, notThere(err))
	case err != nil:
		return notThere(err)
	case asked.streams:
		return s.project(c, nil, found, show(found.Info()), asked.from)
	}
	return render(c, nil, found)
}

// deleteForeign deletes a session that a route of OpenAI's names by its id with
// the prefix, as an object of that kind.
func (s *Server) deleteForeign(c *gin.Context, prefix, object string) error {
	found, err := s.foreignSession(c, prefix)
	if err != nil {
		return notThere(err)
	}
	id := found.Info().ID
	if err := s.opts.Manager.Delete(c.Request.Context(), principal(c), id); err != nil {
		return notThere(err)
	}
	return s.renderBody(c, fmt.Appendf(nil, "{\"id\":\"%s%s\",\"object\":\"%s\",\"deleted\":true}\n", prefix, id, object))
}

// foreignSession returns the session that a route of another protocol names: by its
// id, or by that with the protocol's prefix.
func (s *Server) foreignSession(c *gin.Context, prefix string) (*session.Session, error) {
	id, ok := session.ParseID(strings.TrimPrefix(pathValue(c, "id"), prefix))
	if !ok {
		return nil, session.ErrNotFound
	}
	found, err := s.opts.Manager.Get(c.Request.Context(), principal(c), id)
	if err == nil {
		c.Header(sessionHeader, id.String())
	}
	return found, err
}
