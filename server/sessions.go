package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// What one page of a listing holds.
const (
	defaultPage = 50
	maxPage     = 200
)

// A createRequest is the body of a create.
type createRequest struct {
	Source json.RawMessage `json:"source"`
	settings
}

// A sourceRequest is the source of a create. Each type has fields of its own.
type sourceRequest struct {
	Type session.SourceType `json:"type"`
}

// decodeSource reads a source, each type with no fields but its own.
func decodeSource(data json.RawMessage) (spec session.SourceSpec, err error) {
	if len(data) == 0 {
		return spec, &session.InvalidError{Field: "source", Reason: "is missing"}
	}
	var head sourceRequest
	if err := json.Unmarshal(data, &head); err != nil {
		return spec, &session.InvalidError{Field: "source", Reason: "must be an object with a type"}
	}
	spec.Type = head.Type
	switch head.Type {
	case session.SourceText:
		var r struct {
			sourceRequest
			Text *string `json:"text"`
		}
		err = decodeStrict(data, &r, "source")
		if err == nil && r.Text == nil {
			err = &session.InvalidError{Field: "source.text", Reason: "is missing"}
		}
		if err == nil {
			spec.Text = *r.Text
		}
	case session.SourceGenerate:
		var r struct {
			sourceRequest
			Prompt string `json:"prompt"`
			Seed   uint64 `json:"seed"`
			Length int    `json:"length"`
		}
		err = decodeStrict(data, &r, "source")
		spec.Prompt, spec.Seed, spec.Length = r.Prompt, r.Seed, r.Length
	case session.SourceUpstream:
		var r struct {
			sourceRequest
			Model      string          `json:"model"`
			Dialect    session.Dialect `json:"dialect"`
			Messages   json.RawMessage `json:"messages"`
			Parameters json.RawMessage `json:"parameters"`
		}
		err = decodeStrict(data, &r, "source")
		spec.Model, spec.Dialect, spec.Messages, spec.Parameters = r.Model, r.Dialect, r.Messages, r.Parameters
	case session.SourcePush:
		err = decodeStrict(data, &head, "source")
	}
	return spec, err // any other type is refused with the rest of the spec
}

func (s *Server) create(c *gin.Context) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	var request createRequest
	if err := decodeBody(body, &request); err != nil {
		return err
	}
	spec, err := request.spec()
	if err != nil {
		return err
	}
	if spec.Source, err = decodeSource(request.Source); err != nil {
		return err
	}
	names, err := s.names(c, body)
	if err != nil {
		return err
	}
	created, again, err := s.newSession(c, names, func() (session.Spec, error) { return spec, nil })
	if err != nil {
		return err
	}
	return renderCreated(c, created, again)
}

// goOn makes a session that continues the one that the route names.
func (s *Server) goOn(c *gin.Context) error {
	id, ok := session.ParseID(pathValue(c, "id"))
	if !ok {
		return session.ErrNotFound
	}
	body, err := s.body(c)
	if err != nil {
		return err
	}
	if err := decodeBody(body, &struct{}{}); err != nil {
		return err
	}
	names, err := s.names(c, body)
	if err != nil {
		return err
	}
	created, again, err := s.opts.Manager.Continue(c.Request.Context(), principal(c), id, names)
	if err != nil {
		return err
	}
	return renderCreated(c, created, again)
}

func renderCreated(c *gin.Context, created *session.Session, again bool) error {
	c.Header("Location", pathOf(created.Info().ID))
	status := http.StatusCreated
	if again {
		replayed(c)
		status = http.StatusOK
	}
	return render(c, status, bodyOf(created))
}

// session returns the session that the route names.
func (s *Server) session(c *gin.Context) (*session.Session, error) {
	id, ok := session.ParseID(pathValue(c, "id"))
	if !ok {
		return nil, session.ErrNotFound
	}
	return s.opts.Manager.Get(c.Request.Context(), principal(c), id)
}

func (s *Server) list(c *gin.Context) error {
	limit, after := defaultPage, session.Cursor{}
	err := parameters(c, map[string]func(string) error{
		"limit": func(value string) (err error) {
			if limit, err = strconv.Atoi(value); err != nil || limit < 1 || limit > maxPage {
				return errParameter("limit", fmt.Sprintf("must be 1 to %d", maxPage))
			}
			return nil
		},
		"after": func(value string) (err error) {
			after, err = parseListCursor(value)
			return err
		},
	})
	if err != nil {
		return err
	}
	found, next, err := s.opts.Manager.List(c.Request.Context(), principal(c), after, limit)
	if err != nil {
		return err
	}
	page := struct {
		Sessions []sessionBody `json:"sessions"`
		Next     string        `json:"next,omitempty"`
	}{Sessions: make([]sessionBody, 0, len(found))}
	for _, one := range found {
		page.Sessions = append(page.Sessions, bodyOf(one))
	}
	if next != (session.Cursor{}) {
		page.Next = formatListCursor(next)
	}
	return render(c, http.StatusOK, page)
}

func formatListCursor(at session.Cursor) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", at.Created.UnixMilli(), at.ID))
}

func parseListCursor(value string) (session.Cursor, error) {
	text, err := base64.RawURLEncoding.DecodeString(value)
	created, id, _ := strings.Cut(string(text), " ")
	ms, msErr := strconv.ParseInt(created, 10, 64)
	parsed, ok := session.ParseID(id)
	if err != nil || msErr != nil || !ok {
		return session.Cursor{}, &requestError{codeCursor, "after is not what a listing gave as next"}
	}
	return session.Cursor{Created: time.UnixMilli(ms).UTC(), ID: parsed}, nil
}

func (s *Server) state(c *gin.Context) error {
	found, err := s.session(c)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, bodyOf(found))
}

// text answers with the text so far, which it reads as any other reader.
func (s *Server) text(c *gin.Context) error {
	found, err := s.session(c)
	if err != nil {
		return err
	}
	reader, err := found.Read(0)
	if err != nil {
		return err
	}
	defer reader.Close()
	last := found.Status().Last
	// Where to follow from, to read on without a gap.
	c.Header("Last-Event-ID", strconv.FormatUint(uint64(last), 10))
	out := s.openStream(c, "text/plain; charset=utf-8")
	var text []byte
	for reader.At() < last {
		frames, _, err := reader.Next(c.Request.Context(), writeSize)
		if err != nil {
			s.complain(found, reader, err)
			return errAbort
		}
		text = text[:0]
		for f := range frames.Frames() {
			if f.Kind == session.KindText && f.ID <= last {
				text = append(text, f.Text()...)
			}
		}
		if out.write(text) != nil {
			return errAbort
		}
	}
	return nil
}

// An appendRequest is the body of an append.
type appendRequest struct {
	Text     *string         `json:"text"`
	Event    *session.Kind   `json:"event"`
	Data     json.RawMessage `json:"data"`
	Producer string          `json:"producer"`
	Seq      uint64          `json:"seq"`
}

func (r appendRequest) toAppend() (session.Append, error) {
	a := session.Append{Data: r.Data, Producer: r.Producer, Seq: r.Seq}
	switch {
	case r.Text == nil && r.Event == nil:
		return a, &session.InvalidError{Field: "text", Reason: "is missing: an append has text, or an event with data"}
	case r.Text != nil && r.Event != nil:
		return a, &session.InvalidError{Field: "event", Reason: "an append is either text or an event"}
	case r.Text != nil:
		a.Text = *r.Text
	case *r.Event == "":
		return a, &session.InvalidError{Field: "event", Reason: "is empty"}
	default:
		a.Event = *r.Event
	}
	return a, nil
}

func (s *Server) append(c *gin.Context) error {
	found, err := s.session(c)
	if err != nil {
		return err
	}
	var request appendRequest
	if err := s.decode(c, &request); err != nil {
		return err
	}
	a, err := request.toAppend()
	if err != nil {
		return err
	}
	last, repeated, err := found.Append(c.Request.Context(), a)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, struct {
		LastEventID session.FrameID `json:"last_event_id"`
		Repeated    bool            `json:"repeated,omitempty"`
	}{last, repeated})
}

func (s *Server) pause(c *gin.Context) error {
	return s.command(c, func(found *session.Session) error { return found.Pause(c.Request.Context()) })
}

func (s *Server) resume(c *gin.Context) error {
	return s.command(c, func(found *session.Session) error { return found.Resume(c.Request.Context()) })
}

func (s *Server) stop(c *gin.Context) error {
	return s.command(c, func(found *session.Session) error { return found.Stop(c.Request.Context()) })
}

func (s *Server) finish(c *gin.Context) error {
	return s.command(c, func(found *session.Session) error { return found.Finish(c.Request.Context()) })
}

// command asks something of a session and answers with its state after it.
func (s *Server) command(c *gin.Context, ask func(*session.Session) error) error {
	found, err := s.session(c)
	if err != nil {
		return err
	}
	if err := s.decode(c, &struct{}{}); err != nil {
		return err
	}
	if err := ask(found); err != nil {
		return err
	}
	return render(c, http.StatusOK, bodyOf(found))
}

func (s *Server) delete(c *gin.Context) error {
	id, ok := session.ParseID(pathValue(c, "id"))
	if !ok {
		return session.ErrNotFound
	}
	if err := s.opts.Manager.Delete(c.Request.Context(), principal(c), id); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// A sessionBody is a session as clients see it.
type sessionBody struct {
	ID             session.ID             `json:"id"`
	State          session.State          `json:"state"`
	Source         sourceBody             `json:"source"`
	Unit           chunker.Unit           `json:"unit"`
	Encoding       string                 `json:"encoding,omitempty"`
	EncodingSource session.EncodingSource `json:"encoding_source,omitempty"`
	Unicode        string                 `json:"unicode,omitempty"` // version of the tables that decide where a unit ends
	Rate           float64                `json:"rate,omitempty"`
	OnPause        session.OnPause        `json:"on_pause,omitempty"` // of an upstream
	OnNoReader     noReaderBody           `json:"on_no_reader"`
	Continues      session.ID             `json:"continues,omitzero"` // the session whose text this one begins with
	LastEventID    session.FrameID        `json:"last_event_id"`
	EventsURL      string                 `json:"events_url"`
	TextURL        string                 `json:"text_url"`
	Reason         string                 `json:"reason,omitempty"`          // once it has ended
	ProviderReason string                 `json:"provider_reason,omitempty"` // the provider's own word for it
	Error          *session.Failure       `json:"error,omitempty"`
	Usage          session.Usage          `json:"usage"`
	Timings        timingsBody            `json:"timings"`
	Readers        int                    `json:"readers"`
	Producers      map[string]uint64      `json:"producers,omitempty"` // last sequence number of each
	Retain         string                 `json:"retain"`
	Metadata       map[string]string      `json:"metadata,omitempty"`
}

// A sourceBody names the source; what it was given has a route of its own.
type sourceBody struct {
	Type  session.SourceType `json:"type"`
	Model string             `json:"model,omitempty"`
}

type timingsBody struct {
	Created   time.Time  `json:"created"`
	FirstText *time.Time `json:"first_text,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`

	*session.Timings // of an upstream
}

func bodyOf(from *session.Session) sessionBody {
	info, status := from.Info(), from.Status()
	body := sessionBody{
		ID:             info.ID,
		State:          status.State,
		Source:         sourceBody{info.Spec.Source.Type, info.Spec.Source.Model},
		Unit:           info.Spec.Unit,
		Encoding:       info.Spec.Encoding,
		EncodingSource: info.EncodingSource,
		Unicode:        info.Unicode,
		Rate:           info.Spec.Rate,
		OnPause:        info.Spec.OnPause,
		OnNoReader:     noReaderBody{info.Spec.OnNoReader.Policy, info.Spec.OnNoReader.After.String()},
		Continues:      info.Spec.Continues,
		LastEventID:    status.Last,
		EventsURL:      pathOf(info.ID) + "/events",
		TextURL:        pathOf(info.ID) + "/text",
		Usage:          status.Usage,
		Timings:        timingsBody{info.Created, moment(status.FirstText), moment(status.Ended), status.Timings},
		Readers:        status.Readers,
		Producers:      status.Producers,
		Retain:         info.Spec.Retain.String(),
		Metadata:       info.Spec.Metadata,
	}
	if status.End != nil {
		body.Reason, body.ProviderReason, body.Error = status.End.Reason, status.End.ProviderReason, status.End.Error
	}
	return body
}

// moment is t in milliseconds UTC, nil if it has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

func pathOf(id session.ID) string { return "/v1/sessions/" + id.String() }

// render answers with JSON.
func render(c *gin.Context, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.Data(status, "application/json", append(body, '\n'))
	return nil
}

// parameters reads the query, with one function for each name that there is.
// Other names and names given twice are errors: a misspelt cursor must not
// read as none.
func parameters(c *gin.Context, known map[string]func(string) error) error {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return &requestError{codeParameter, "the query is malformed"}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) { // so that it is always the same that is refused
		take, values := known[name], query[name]
		if take == nil {
			return errParameter(echo(name), "is not known here")
		}
		if len(values) != 1 {
			return errParameter(name, "is given more than once")
		}
		if err := take(values[0]); err != nil {
			return err
		}
	}
	return nil
}

func errParameter(name, reason string) error {
	return &requestError{codeParameter, fmt.Sprintf("parameter %q %s", name, reason)}
}
