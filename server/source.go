package server

import (
	"strconv"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// source answers with what a session's source was given, in the form of a
// create's source: who creates a session of it asks the same again.
func (s *Server) source(c *gin.Context) error {
	found, err := s.session(c)
	if err != nil {
		return err
	}
	info := found.Info()
	room := 2 * info.Size // as it was given, and as it is sent, about
	if !s.projected.take(room) {
		return session.ErrOverloaded
	}
	defer s.projected.give(room)
	given, err := s.opts.Manager.Given(c.Request.Context(), principal(c), info.ID)
	if err != nil {
		return err
	}
	return s.renderBody(c, append(appendSource(nil, given), '\n'))
}

// appendSource appends a source as decodeSource reads it. What an upstream goes
// on from is of the session that was continued, and not part of it.
func appendSource(dst []byte, given session.SourceSpec) []byte {
	dst = append(append(append(dst, `{"type":"`...), given.Type...), '"')
	switch given.Type {
	case session.SourceText:
		dst = appendJSON(append(dst, `,"text":`...), given.Text)
	case session.SourceGenerate:
		dst = appendJSON(append(dst, `,"prompt":`...), given.Prompt)
		dst = strconv.AppendUint(append(dst, `,"seed":`...), given.Seed, 10)
		dst = strconv.AppendInt(append(dst, `,"length":`...), int64(given.Length), 10)
	case session.SourceUpstream:
		dst = appendJSON(append(dst, `,"model":`...), given.Model)
		if given.Dialect != session.DialectNative {
			dst = appendJSON(append(dst, `,"dialect":`...), given.Dialect)
		}
		dst = append(append(dst, `,"messages":`...), given.Messages...)
		if given.Parameters != nil {
			dst = append(append(dst, `,"parameters":`...), given.Parameters...)
		}
	}
	return append(dst, '}')
}
