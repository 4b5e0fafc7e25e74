package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// What the AI SDK's transports look for.
const (
	runHeader    = "X-Workflow-Run-Id"
	tailHeader   = "X-Workflow-Stream-Tail-Index"
	streamHeader = "X-Vercel-Ai-Ui-Message-Stream"
)

// uiAlias is the alias of a chat: the newest run of it has that name.
func uiAlias(chat string) string { return "chat:" + chat }

// createChat answers the newest message of a chat.
func (s *Server) createChat(c *gin.Context, body []byte, at *session.Seat) error {
	r, err := decodeUI(body)
	if err != nil {
		return err
	}
	if _, isRun := session.ParseID(r.chat); isRun { // whose route it would take
		return &session.InvalidError{Field: "id", Reason: "is of the form of a run's: a chat has an id of its own"}
	}
	if r.chat != "" {
		r.alias = uiAlias(r.chat)
	}
	r.model = cmp.Or(r.model, s.chatModel())
	created, _, err := s.ask(c, body, r.question, r.extension, 0)
	if err != nil {
		return err
	}
	return s.showChat(c, at, created, 0)
}

// chatModel is who answers a chat that names no model.
func (s *Server) chatModel() string {
	if s.opts.ChatModel == "" && len(s.opts.Models) > 0 {
		return s.opts.Models[0]
	}
	return cmp.Or(s.opts.ChatModel, DemoModel)
}

// showChat streams a run from a chunk on.
func (s *Server) showChat(c *gin.Context, at *session.Seat, run *session.Session, from int64) error {
	c.Header(runHeader, run.Info().ID.String())
	c.Header(streamHeader, "v1")
	return s.project(c, at, run, newUIMessages(run.Info()), from)
}

// run returns the run that a route names: the newest of a chat, or that with the
// id. byChat says that it was named by its chat.
func (s *Server) run(c *gin.Context) (run *session.Session, byChat bool, err error) {
	name := pathValue(c, "id")
	if name == "" || len(name) > maxChat {
		return nil, false, session.ErrNotFound
	}
	run, err = s.opts.Manager.Resolve(c.Request.Context(), principal(c), uiAlias(name))
	byChat = err == nil
	if id, ok := session.ParseID(name); ok && err != nil && session.IsNone(err) {
		run, err = s.opts.Manager.Get(c.Request.Context(), principal(c), id)
	}
	if err == nil {
		c.Header(sessionHeader, run.Info().ID.String())
	}
	return run, byChat, err
}

// A uiCursor is where a client wants to go on.
type uiCursor struct {
	resumes bool // it has events: from is behind the last of them
	indexed bool // it counts chunks
	from    int64
}

// parseUICursor reads a request for a run. The Last-Event-ID header wins over
// the query, because EventSource repeats its URL when it reconnects.
// Other parameters are what the application has in the address of its API.
func parseUICursor(c *gin.Context) (cursor uiCursor, err error) {
	if last, there := c.Request.Header["Last-Event-Id"]; there {
		cursor.resumes = true
		cursor.from, err = eventCursor(strings.Join(last, ", "))
		return cursor, err
	}
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return cursor, &requestError{codeParameter, "the query is malformed"}
	}
	values, there := query["startIndex"]
	if !there {
		return cursor, nil
	}
	n, err := strconv.ParseInt(values[0], 10, 54)
	if err != nil || len(values) > 1 {
		return cursor, &requestError{codeCursor, fmt.Sprintf("the startIndex %q is not the index of a chunk, nor, below 0, how many of the last are wanted", echo(strings.Join(values, ", ")))}
	}
	return uiCursor{resumes: n > 0, indexed: true, from: n}, nil
}

// followChat streams a run to who comes back to it.
func (s *Server) followChat(c *gin.Context) error {
	cursor, err := parseUICursor(c)
	if err != nil {
		return err
	}
	run, byChat, err := s.run(c)
	nothing := err != nil && session.IsNone(err) || err == nil && byChat && !s.isActive(run)
	switch {
	case nothing && !cursor.resumes && !cursor.indexed: // DefaultChatTransport
		c.Status(http.StatusNoContent)
		return nil
	case nothing && !cursor.resumes: // WorkflowChatTransport
		return s.showNothing(c)
	case err != nil:
		return s.orComeBack(c, err)
	case !cursor.indexed:
		return s.showChat(c, nil, run, cursor.from)
	}
	shown, next, err := s.chunksSoFar(c.Request.Context(), run)
	if err != nil {
		return err
	}
	from, tail := cursor.from, next-1
	if from < 0 {
		// The client reckons from the header which chunk it gets first. That is
		// to be the one that it does get.
		from = shown.rewound(max(next+from, 0))
		tail = from - cursor.from - 1
	} else if from == next && shown.end != nil {
		c.Status(http.StatusNoContent) // an empty answer would make it come back at once, for ever
		return nil
	}
	c.Header(tailHeader, strconv.FormatInt(tail, 10))
	return s.showChat(c, nil, run, from)
}

// chunksSoFar returns what there is of a run, and the number of the next chunk.
func (s *Server) chunksSoFar(ctx context.Context, run *session.Session) (shown *uiMessages, next int64, err error) {
	shown = newUIMessages(run.Info())
	p, err := s.read(ctx, nil, run, shown)
	if err != nil {
		return nil, 0, err
	}
	defer p.close()
	return shown, p.next, nil
}

// isActive reports whether a chat that is opened is to show its newest run. One
// that ended a moment ago is shown too: the client may have lost its line before.
func (s *Server) isActive(run *session.Session) bool {
	status := run.Status()
	if !status.State.Terminal() {
		return true
	}
	return status.State != session.Stopped && time.Since(status.Ended) <= s.opts.ChatReplay
}

// showNothing says that no run is active to a client that takes any other answer
// for a mistake, and comes back for ever without a finish.
func (s *Server) showNothing(c *gin.Context) error {
	c.Header(streamHeader, "v1")
	c.Header(tailHeader, "-1")
	var e events
	e.farewell(`{"type":"finish"}`)
	e.farewell("[DONE]")
	if s.openEvents(c).write(e.wire) != nil {
		return errAbort
	}
	return nil
}

// stopChat stops a run. It is answered once all readers are to see that.
func (s *Server) stopChat(c *gin.Context) error {
	run, _, err := s.run(c)
	if err != nil {
		return err
	}
	if err := run.Stop(c.Request.Context()); err != nil {
		return err
	}
	id := run.Info().ID
	c.Header(runHeader, id.String())
	return render(c, http.StatusOK, struct {
		ID    session.ID    `json:"id"`
		State session.State `json:"state"`
	}{id, run.Status().State})
}
