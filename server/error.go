package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"tokenrelay/session"
)

// A code names a kind of error for programs. Codes are stable: they are part
// of the protocol.
type code string

const (
	codeJSON        code = "malformed_json"
	codeField       code = "unknown_field"
	codeInvalid     code = "invalid_field"
	codeUTF8        code = "invalid_utf8"
	codeParameter   code = "invalid_parameter"
	codeCursor      code = "malformed_cursor"
	codeKey         code = "malformed_idempotency_key"
	codeKeyReused   code = "idempotency_key_reused"
	codeLater       code = "later_projection"
	codeUnsupported code = "unsupported_parameter"
	codeModel       code = "model_not_found"
	codeCursorGone  code = "cursor_expired"
	codeOrigin      code = "cross_origin"
	codeHost        code = "unknown_host"
	codeRoute       code = "route_not_found"
	codeSession     code = "session_not_found"
	codeMethod      code = "method_not_allowed"
	codeSlowBody    code = "body_timeout"
	codeEnded       code = "session_ended"
	codePaused      code = "session_paused"
	codeNotPush     code = "not_a_push_session"
	codeNotUpstream code = "not_an_upstream_session"
	codeNotEnded    code = "session_not_ended"
	codeToolCall    code = "tool_call_begun"
	codeOrder       code = "append_out_of_order"
	codeExpired     code = "session_expired"
	codeDeleted     code = "session_deleted"
	codeEvicted     code = "session_evicted"
	codeBody        code = "body_too_large"
	codeEvent       code = "event_too_large"
	codeFull        code = "session_full"
	codeAhead       code = "cursor_ahead"
	codeOverload    code = "overloaded"
	codeShutdown    code = "shutting_down"
	codeUnavailable code = "unavailable"
	codeNoSpace     code = "storage_full"
	codeInternal    code = "internal_error"
)

// Codes of failures of an upstream whose answer says what the client is to do, as
// package upstream has them.
const (
	codeRefused code = "upstream_refused"
	codeLimited code = "upstream_rate_limited"
	codeBusy    code = "upstream_overloaded"
)

// statuses is the only place that knows status codes of errors. Only how an answer
// broke off can have another one (see brokenError).
var statuses = map[code]int{
	codeJSON:        http.StatusBadRequest,
	codeField:       http.StatusBadRequest,
	codeInvalid:     http.StatusBadRequest,
	codeUTF8:        http.StatusBadRequest,
	codeParameter:   http.StatusBadRequest,
	codeCursor:      http.StatusBadRequest,
	codeKey:         http.StatusBadRequest,
	codeKeyReused:   http.StatusConflict,
	codeLater:       http.StatusConflict,
	codeUnsupported: http.StatusBadRequest,
	codeModel:       http.StatusNotFound,
	codeCursorGone:  http.StatusBadRequest,
	codeOrigin:      http.StatusForbidden,
	codeHost:        http.StatusMisdirectedRequest,
	codeRoute:       http.StatusNotFound,
	codeSession:     http.StatusNotFound,
	codeMethod:      http.StatusMethodNotAllowed,
	codeSlowBody:    http.StatusRequestTimeout,
	codeEnded:       http.StatusConflict,
	codePaused:      http.StatusConflict,
	codeNotPush:     http.StatusConflict,
	codeNotUpstream: http.StatusConflict,
	codeNotEnded:    http.StatusConflict,
	codeToolCall:    http.StatusConflict,
	codeOrder:       http.StatusConflict,
	codeExpired:     http.StatusGone,
	codeDeleted:     http.StatusGone,
	codeEvicted:     http.StatusGone,
	codeBody:        http.StatusRequestEntityTooLarge,
	codeEvent:       http.StatusRequestEntityTooLarge,
	codeFull:        http.StatusRequestEntityTooLarge,
	codeAhead:       http.StatusRequestedRangeNotSatisfiable,
	codeOverload:    http.StatusTooManyRequests,
	codeShutdown:    http.StatusServiceUnavailable,
	codeUnavailable: http.StatusServiceUnavailable,
	codeNoSpace:     http.StatusInsufficientStorage,
	codeInternal:    http.StatusInternalServerError,
	codeRefused:     http.StatusBadRequest,
	codeLimited:     http.StatusTooManyRequests,
	codeBusy:        http.StatusServiceUnavailable,
}

// goneCodes are those of sessions that are no more.
var goneCodes = map[session.GoneReason]code{
	session.Expired: codeExpired,
	session.Deleted: codeDeleted,
	session.Evicted: codeEvicted,
}

// retryAfter is when to come back after an error that will pass.
const retryAfter = 2 * time.Second

// A requestError is an error of the request itself.
type requestError struct {
	code   code
	detail string
}

func (e *requestError) Error() string { return e.detail }

// A fieldError is a requestError that a field of the body is to blame for.
type fieldError struct {
	*requestError
	field string
}

func (e *fieldError) Unwrap() error { return e.requestError }

// unsupported says that a field wants what the relay cannot do, and why.
func unsupported(field, why string) error {
	return &fieldError{&requestError{codeUnsupported, field + " " + why}, field}
}

// errLaterProjection reports a session that a later version of the relay has
// shown in a way that this one does not know.
var errLaterProjection = &requestError{codeLater, "a later version of the relay made this session: only its native protocol is shown by this one"}

// A brokenError is how an answer broke off that a client waited for as a whole.
type brokenError struct {
	failure *session.Failure
	// again says that nothing has come and been paid for, and that the request,
	// once more, would be asked once more.
	again bool
}

// untouched is the last frame of a session to which nothing has come, be it text
// or anything else: there is one behind its first, which is its end.
const untouched session.FrameID = 2

// brokenAnswer returns it for the answer to c, whose session has ended so.
func brokenAnswer(c *gin.Context, found *session.Session, failure *session.Failure) error {
	create := c.Request.Method == http.MethodPost && c.Request.Header["Idempotency-Key"] == nil
	return &brokenError{failure, create && found.Status().Last == untouched}
}

func (e *brokenError) Error() string { return e.failure.Error() }

func (e *brokenError) Unwrap() error { return e.failure }

// status tells clients that know nothing but the status whether to repeat the
// request: they do at 429 and 5xx. It is the code's own where that is right, and
// else 502.
func (e *brokenError) status() int {
	switch code := code(e.failure.Code); code {
	case codeRefused:
		return statuses[code]
	case codeLimited, codeBusy:
		if e.again {
			return statuses[code]
		}
	}
	return http.StatusBadGateway
}

// A problem is an error as clients get it (RFC 9457); type is about:blank, so
// title is the status's own phrase.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   code   `json:"code"`
	Detail string `json:"detail"`

	Field       string           `json:"field,omitempty"`
	State       session.State    `json:"state,omitempty"`
	LastEventID *session.FrameID `json:"last_event_id,omitempty"`
	ExpectedSeq uint64           `json:"expected_seq,omitempty"`

	noModel bool // the model is not there, for which some clients know a code
}

// modelAdvice follows what is said of a model where no upstream is.
const modelAdvice = ", and only " + DemoModel + ", its built-in generator, answers (GET /v1/models lists what there is); who runs the relay adds models with --upstream"

// problemOf says what a client is told of err, who calls a session so.
func problemOf(err error, noun string) problem {
	p := problem{Code: codeInternal, Detail: err.Error()}
	var (
		request  *requestError
		refused  *session.UnsupportedError
		model    *session.ModelError
		invalid  *session.InvalidError
		ahead    *session.AheadError
		ended    *session.EndedError
		none     *noneError
		gone     *session.GoneError
		sequence *session.SequenceError
		tooLarge *session.TooLargeError
		beyond   *aheadError
		broken   *brokenError
	)
	switch {
	case errors.As(err, &request):
		p.Code = request.code
		if blamed, ok := errors.AsType[*fieldError](err); ok {
			p.Field = blamed.field
		}
	case errors.As(err, &refused):
		p.Code, p.Field = codeUnsupported, refused.Field
	case errors.As(err, &model):
		p.Code, p.Field, p.noModel = codeInvalid, model.Field, true
		if model.NoUpstream {
			p.Detail += modelAdvice
		}
	case errors.As(err, &invalid):
		p.Code, p.Field = codeInvalid, invalid.Field
	case errors.As(err, &ahead):
		p.Code, p.LastEventID = codeAhead, &ahead.Last
	case errors.As(err, &ended):
		p.Code, p.State = codeEnded, ended.State
	case errors.As(err, &none):
		p.Code, p.Detail = none.code, "the "+noun+" is gone: "+none.Why()
	case errors.As(err, &gone):
		p.Code, p.Detail = cmp.Or(goneCodes[gone.Reason], codeExpired), "the "+noun+" is gone: "+gone.Why()
	case errors.As(err, &sequence):
		p.Code, p.ExpectedSeq = codeOrder, sequence.Want
	case errors.As(err, &tooLarge):
		p.Code = codeEvent
	case errors.As(err, &beyond):
		p.Code, p.LastEventID = codeAhead, new(session.FrameID(beyond.last)) // a number in the projection
	case errors.As(err, &broken):
		p.Code, p.Status, p.Detail = code(broken.failure.Code), broken.status(), broken.failure.Message
	case errors.Is(err, session.ErrKeyReused):
		p.Code = codeKeyReused
	case errors.Is(err, session.ErrNotFound):
		p.Code, p.Detail = codeSession, "no such "+noun
	case errors.Is(err, session.ErrPaused):
		p.Code = codePaused
	case errors.Is(err, session.ErrNotPush):
		p.Code = codeNotPush
	case errors.Is(err, session.ErrNotUpstream):
		p.Code = codeNotUpstream
	case errors.Is(err, session.ErrNotEnded):
		p.Code = codeNotEnded
	case errors.Is(err, session.ErrToolCall):
		p.Code = codeToolCall
	case errors.Is(err, session.ErrFull):
		p.Code = codeFull
	case errors.Is(err, session.ErrOverloaded):
		p.Code = codeOverload
	case errors.Is(err, session.ErrShutdown):
		p.Code = codeShutdown
	case errors.Is(err, session.ErrNoSpace):
		p.Code, p.Detail = codeNoSpace, "the disk that keeps the sessions is full"
	case errors.Is(err, session.ErrElsewhere):
		p.Code = codeUnavailable
	case errors.Is(err, session.ErrStore):
		p.Code, p.Detail = codeUnavailable, "the store takes nothing at the moment"
	default:
		p.Detail = "something went wrong in the relay; its log says what"
	}
	p.Status = cmp.Or(p.Status, statuses[p.Code])
	p.Title = http.StatusText(p.Status)
	return p
}

// renderError answers with a problem document.
func (s *Server) renderError(c *gin.Context, err error) {
	p := problemOf(err, nounOf(c.Request.URL.Path))
	if p.Status >= http.StatusInternalServerError && p.Code != codeShutdown {
		level := slog.LevelError
		if p.Code == codeNoSpace || p.Code == codeUnavailable || p.Status == http.StatusBadGateway || p.Code == codeBusy {
			level = slog.LevelDebug // the store, or the session, says once what is wrong
		}
		s.opts.Logger.Log(c.Request.Context(), level, "request failed", "route", c.FullPath(), "code", p.Code, "error", err)
	} else {
		level, about := s.guard.noteRefusal(c.Request, p.Code)
		about = append(about, "method", c.Request.Method, "route", cmp.Or(c.FullPath(), "none"), "status", p.Status, "code", p.Code)
		s.opts.Logger.Log(c.Request.Context(), level, "request refused", about...)
	}
	if p.passes() {
		c.Header("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	if p.LastEventID != nil {
		c.Header("Content-Range", fmt.Sprintf("events */%d", *p.LastEventID))
	}
	shapeOf(c.Request.URL.Path)(c, p)
}

// passes reports whether the same request may be taken later. How a session has
// ended stays, whatever its code.
func (p problem) passes() bool {
	if p.Status == http.StatusBadGateway {
		return false
	}
	return p.Code == codeLimited || p.Code == codeBusy || p.Code == codeOverload || p.Code == codeShutdown || p.Code == codeUnavailable || p.Code == codeNoSpace
}

// shapeOf returns how the clients of a path expect errors.
func shapeOf(path string) func(*gin.Context, problem) {
	switch {
	case strings.HasPrefix(path, "/v1/sessions"):
		return renderProblem
	case strings.HasPrefix(path, "/v1/"), isOpenAI(path):
		return renderOpenAI
	case strings.HasPrefix(path, "/api/"):
		return renderText
	}
	return renderProblem
}

// renderProblem answers as RFC 9457 says.
func renderProblem(c *gin.Context, p problem) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers only
	}
	c.Data(p.Status, "application/problem+json", append(body, '\n'))
}

// An openAIError is an error as OpenAI's clients get it.
type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    code    `json:"code"`
}

// renderOpenAI answers as OpenAI does
// (https://platform.openai.com/docs/guides/error-codes). Its SDKs repeat
// requests that met with 409 or 5xx, unless they are told not to.
func renderOpenAI(c *gin.Context, p problem) {
	if !p.passes() {
		c.Header("X-Should-Retry", "false")
	}
	e := openAIError{Message: p.Detail, Type: "invalid_request_error", Code: p.Code}
	switch {
	case p.Status == http.StatusTooManyRequests:
		e.Type = "rate_limit_error"
	case p.Status >= http.StatusInternalServerError:
		e.Type = "server_error"
	}
	if p.Field != "" {
		e.Param = &p.Field
	}
	if p.noModel {
		p.Status, e.Code = statuses[codeModel], codeModel
	}
	body := struct {
		Error openAIError `json:"error"`
	}{e}
	c.Data(p.Status, "application/json", append(appendJSON(nil, body), '\n'))
}

// renderText answers with a sentence: the AI SDK shows the body as it is.
func renderText(c *gin.Context, p problem) {
	c.Header("X-Error-Code", string(p.Code))
	c.Data(p.Status, "text/plain; charset=utf-8", []byte(p.Detail))
}
