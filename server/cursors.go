package server

import (
	"errors"
	"math"
	"net/http"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// cursorsBody is the place behind a native event as the cursors of the other
// protocols: what each route that streams a session takes to go on from there.
// Those of a session that only the native protocol shows are absent.
type cursorsBody struct {
	After           session.FrameID `json:"after"`
	Responses       *eventPlace     `json:"responses,omitempty"`
	ChatCompletions *eventPlace     `json:"chat_completions,omitempty"`
	UIMessages      *indexPlace     `json:"ui_messages,omitempty"`
}

// An eventPlace is of a route that takes the last event that a client has, if it
// has one.
type eventPlace struct {
	ID            string `json:"id"`
	StartingAfter *int64 `json:"starting_after,omitempty"`
}

// An indexPlace is of a route that takes the first event that is wanted.
type indexPlace struct {
	ID         string `json:"id"`
	StartIndex int64  `json:"startIndex"`
}

// placeIn is a place before the event with that number.
func placeIn(prefix string, of session.ID, next int64) *eventPlace {
	p := &eventPlace{ID: prefix + of.String()}
	if next > 0 {
		p.StartingAfter = new(next - 1)
	}
	return p
}

// A counting counts the events that the frames up to one make in each protocol.
type counting struct {
	upTo  session.FrameID
	shown []counted
}

// A counted is a projection whose events are not wanted, only their number.
type counted struct {
	projection
	events
}

func newCounting(info session.Info, upTo session.FrameID) *counting {
	c := &counting{upTo: upTo}
	for _, p := range [...]projection{newResponses(info), newChatProjection(info), newUIMessages(info)} {
		c.shown = append(c.shown, counted{p, events{from: math.MaxInt64}})
	}
	return c
}

func (c *counting) frame(f session.Frame, _ *events) {
	if f.ID > c.upTo { // frames are read in pages
		return
	}
	for i := range c.shown {
		c.shown[i].projection.frame(f, &c.shown[i].events)
	}
}

func (c *counting) size() (n int) {
	for _, s := range c.shown {
		n += s.projection.size()
	}
	return n
}

// cursors answers with the place behind an event in the terms of each protocol.
func (s *Server) cursors(c *gin.Context) error {
	found, err := s.session(c)
	if err != nil {
		return err
	}
	after, err := parsePlace(c)
	if err != nil {
		return err
	}
	if last := found.Status().Last; after > last {
		return &session.AheadError{After: after, Last: last}
	}
	info, body := found.Info(), cursorsBody{After: after}
	count := newCounting(info, after)
	reading, err := s.readUpTo(c.Request.Context(), nil, found, count, after)
	switch {
	case errors.Is(err, errLaterProjection):
		return render(c, http.StatusOK, body)
	case err != nil:
		return err
	}
	defer reading.close()
	body.Responses = placeIn(responsePrefix, info.ID, count.shown[0].next)
	body.ChatCompletions = placeIn(completionPrefix, info.ID, count.shown[1].next)
	body.UIMessages = &indexPlace{info.ID.String(), count.shown[2].next}
	return render(c, http.StatusOK, body)
}

// parsePlace reads the parameter after, which there must be.
func parsePlace(c *gin.Context) (after session.FrameID, err error) {
	there := false
	err = parameters(c, map[string]func(string) error{
		"after": func(value string) (err error) {
			there = true
			after, err = parseCursor(value)
			return err
		},
	})
	if err == nil && !there {
		err = errParameter("after", "is missing: it is the id of the event behind which the place is")
	}
	return after, err
}
