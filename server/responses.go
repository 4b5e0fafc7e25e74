package server

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// createResponse asks a model, and answers with the events as they come, with
// the whole, or in the background with what there is at once.
func (s *Server) createResponse(c *gin.Context, body []byte, at *session.Seat) error {
	r, err := parseResponse(body)
	if err != nil {
		return err
	}
	from, err := repeatFrom(c, r.streams)
	if err != nil {
		return err
	}
	r.compose = func() (json.RawMessage, error) { return s.inputOf(c.Request.Context(), at, principal(c), r) }
	created, again, err := s.ask(c, body, r.question, r.extension, from)
	switch {
	case err != nil:
		return err
	case r.streams:
		return afterCreate(c, s.project(c, at, created, newResponses(created.Info()), from))
	case r.background && !again:
		object := newResponses(created.Info())
		return s.renderBody(c, append(object.appendObject(nil, statusQueued), '\n'))
	case r.background:
		return s.renderResponse(c, at, created)
	}
	if err := s.awaitEnd(c, at, created); err != nil {
		return afterCreate(c, err)
	}
	if status := created.Status(); status.State == session.Failed || status.State == session.Interrupted {
		return brokenAnswer(c, created, failureOf(status.State, *status.End))
	}
	return afterCreate(c, s.renderResponse(c, at, created))
}

// A heldResponse is one that has been read, within what readers may keep.
type heldResponse struct {
	*responses
	reading *projector
}

// leave gives its room back. It must be called once.
func (h heldResponse) leave() { h.reading.close() }

// responseOf reads a session so far.
func (s *Server) responseOf(ctx context.Context, at *session.Seat, found *session.Session) (held heldResponse, err error) {
	held.responses = newResponses(found.Info())
	held.reading, err = s.read(ctx, at, found, held.responses)
	return held, err
}

// renderResponse answers with a session's response so far.
func (s *Server) renderResponse(c *gin.Context, at *session.Seat, found *session.Session) error {
	held, err := s.responseOf(c.Request.Context(), at, found)
	if err != nil {
		return err
	}
	defer held.leave()
	object, err := held.reading.whole(func(dst []byte) []byte { return append(held.appendObject(dst, held.status()), '\n') })
	if err != nil {
		return err
	}
	return s.renderBody(c, object)
}

// retrieveResponse answers with the response so far, or with its events.
func (s *Server) retrieveResponse(c *gin.Context) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	asked, err := parseRetrieval(c.Request, body)
	if err != nil {
		return err
	}
	return s.retrieve(c, responsePrefix, asked, func(of session.Info) projection { return newResponses(of) }, s.renderResponse)
}

// parseRetrieval reads a request's query and its body, where some clients
// write what others have in the query; that wins.
func parseRetrieval(request *http.Request, body []byte) (r retrieval, err error) {
	given := make(map[string]string)
	f, err := decodeFields(body)
	if err != nil {
		return r, err
	}
	for name, value := range f {
		switch value.Kind() {
		case 'n':
		case '"':
			var text string
			json.Unmarshal(value, &text)
			given[name] = text
		default:
			given[name] = string(value)
		}
	}
	query, err := url.ParseQuery(request.URL.RawQuery)
	if err != nil {
		return r, &requestError{codeParameter, "the query is malformed"}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) { // so that it is always the same that is refused
		values := query[name]
		if given[name] = values[0]; len(values) > 1 && !strings.HasPrefix(name, "include") {
			return r, errParameter(echo(name), "is given more than once")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch value := given[name]; name {
		case "stream":
			err = r.setStream(value)
		case "starting_after":
			err = r.setAfter(value)
		case "include", "include[]", "include_obfuscation", "api-version": // there is nothing more to include
		default:
			err = errParameter(echo(name), "is not known here")
		}
		if err != nil {
			return r, err
		}
	}
	err = r.settle(request)
	return r, err
}

// cancelResponse stops a response and answers with what there is of it.
func (s *Server) cancelResponse(c *gin.Context) error {
	found, err := s.foreignSession(c, responsePrefix)
	if err != nil {
		return notThere(err)
	}
	if err := found.Stop(c.Request.Context()); err != nil {
		return err
	}
	return s.renderResponse(c, nil, found)
}

// deleteResponse stops a response and forgets it.
func (s *Server) deleteResponse(c *gin.Context) error {
	return s.deleteForeign(c, responsePrefix, "response")
}
