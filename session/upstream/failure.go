package upstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokenrelay/session"
)

const (
	// maxPlainBody is how much of an answer that is no stream is read, in bytes.
	maxPlainBody = 64 << 10

	// errorBodyTimeout is how long the body of an error may take. Its status
	// says what matters.
	errorBodyTimeout = 5 * time.Second

	// maxErrorMessage is how much of a failure's message is shown, in bytes.
	maxErrorMessage = 1 << 10

	// statusOverloaded is Anthropic's status of an overloaded provider.
	statusOverloaded = 529
)

var (
	// errNoAnswer reports a connection that ended before an answer began.
	errNoAnswer = errors.New("no answer")
	// errTruncated reports an answer that ended before its end marker.
	errTruncated = errors.New("the answer ended before its end marker")
	// errOutOfReach reports a generation that may live on, where nobody can
	// attach to it.
	errOutOfReach = &session.Failure{Code: CodeTruncated, Message: fmt.Sprintf("the provider's stream broke off, and it could not be reached for %v", attachPatience)}
	// errNotItsJSON reports what cannot be decoded at all.
	errNotItsJSON = malformed("a chunk that is not JSON of its protocol")
	// errUntyped reports a stream that begins as only another protocol's does.
	errUntyped = malformed("an event without a type: is its protocol chat?")
	// errNegative reports what stands nowhere in an answer.
	errNegative = malformed("an index that is negative")
	// errManyCalls reports more than anybody could use.
	errManyCalls = malformed(fmt.Sprintf("more than %d tool calls", maxCalls))
)

// A refusal is an error that the provider told.
type refusal struct {
	failure *session.Failure
	status  int           // of the answer; 0 if it came within one
	passing bool          // another try may do better
	after   time.Duration // that the provider wants to wait before it
	path    string        // that was asked for, if the status says that it may be a wrong one
}

func (r *refusal) Error() string { return r.failure.Error() }

func (r *refusal) Unwrap() error { return r.failure }

// gone reports whether what was asked for is not there, or not any more.
func (r *refusal) gone() bool {
	return r.status == http.StatusBadRequest || r.status == http.StatusNotFound || r.status == http.StatusGone
}

// passes reports whether what broke a try need not break the next one: what the
// provider says will pass, and what the network did. Anything else, such as a
// parameter that cannot be sent, would be the same again.
func passes(err error) bool {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.passing
	}
	return errors.Is(err, errNoAnswer) || errors.Is(err, errTruncated)
}

// failure says what broke an answer, in words for clients, and no more of them
// than a frame has room for. What they are not told is logged.
func (p *provider) failure(ctx context.Context, err error) error {
	if errors.Is(err, session.ErrNotContinuable) {
		return err
	}
	failure := told(err)
	message := "upstream broke"
	attributes := reasons(err)
	if _, refused := errors.AsType[*refusal](err); refused {
		message = "upstream refused"
	} else {
		attributes = append([]any{"code", failure.Code}, attributes...)
	}
	p.log(ctx).Warn(message, attributes...)
	return &session.Failure{Code: failure.Code, Message: shortened(failure.Message)}
}

func told(err error) *session.Failure {
	if failure, ok := errors.AsType[*session.Failure](err); ok {
		return failure
	}
	if invalid, ok := errors.AsType[*session.InvalidError](err); ok {
		// What a first answer may have, going on from a text may not.
		return &session.Failure{Code: CodeError, Message: invalid.Error()}
	}
	switch {
	case errors.Is(err, errNoAnswer):
		return &session.Failure{Code: CodeUnreachable, Message: "the provider cannot be reached"}
	case errors.Is(err, errTruncated):
		return &session.Failure{Code: CodeTruncated, Message: "the provider's stream ended before its end marker"}
	}
	return &session.Failure{Code: CodeError, Message: "the relay could not ask the provider"}
}

// log returns the logger for what is about the session of ctx.
func (p *provider) log(ctx context.Context) *slog.Logger {
	if id, ok := session.IDFrom(ctx); ok {
		return p.logger.With("session", id)
	}
	return p.logger
}

// reasons are what a log says of err: nothing of a provider's words, which may
// quote the prompt.
func reasons(err error) []any {
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		return []any{"error", shortened(err.Error())}
	}
	attributes := []any{"code", refused.failure.Code}
	if refused.status != 0 {
		attributes = append(attributes, "status", refused.status)
	}
	if refused.path != "" {
		attributes = append(attributes, "path", refused.path)
	}
	return attributes
}

// shortened is as much of a message as is shown.
func shortened(message string) string {
	if len(message) <= maxErrorMessage {
		return message
	}
	return beginning(message, maxErrorMessage) + "…"
}

// beginning is the whole characters of the first most bytes of s.
func beginning(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

func malformed(what string) error {
	return &session.Failure{Code: CodeMalformed, Message: "the provider sent " + what}
}

// errorAnswer makes an error of an answer that is no stream, with as much of
// its body as comes in time.
func (p *provider) errorAnswer(response *http.Response) error {
	late := time.AfterFunc(errorBodyTimeout, func() { response.Body.Close() })
	defer late.Stop()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxPlainBody))
	status := response.StatusCode
	told := p.errorMessage(body, cmp.Or(http.StatusText(status), "no reason given"))
	told.status, told.kind = status, "" // the status says it better
	r := refuse(told)
	r.status, r.after = status, retryAfter(response.Header, time.Now())
	if status/100 == 3 || status == http.StatusNotFound || status == http.StatusMethodNotAllowed {
		r.path = response.Request.URL.Path
	}
	if slices.Contains([]string{CodeError, CodeRefused, CodeOverloaded}, r.failure.Code) || status == http.StatusForbidden {
		r.failure.Message = fmt.Sprintf("%d: %s", status, r.failure.Message)
	}
	return r
}

// reported makes an error of one that came within an answer.
func (p *provider) reported(raw json.RawMessage) error {
	return refuse(p.errorMessage(raw, "the provider reported an error"))
}

// refuse says what an error means that a provider told.
func refuse(t errorTold) *refusal {
	is := func(status int, kinds ...string) bool {
		return t.status == status || slices.ContainsFunc(kinds, func(kind string) bool { return strings.Contains(t.kind, kind) })
	}
	r := &refusal{failure: &session.Failure{Code: CodeError, Message: t.message}}
	switch {
	case is(http.StatusTooManyRequests, "rate_limit"):
		r.failure.Code, r.passing = CodeRateLimited, true
	case is(http.StatusUnauthorized, "authentication_error", "invalid_api_key"):
		// Providers repeat parts of the key.
		r.failure.Code, r.failure.Message = CodeUnauthorized, "the provider refused the relay's key"
	case is(http.StatusForbidden, "permission_error"): // the key is known, but not for all
		r.failure.Code = CodeUnauthorized
	case is(http.StatusServiceUnavailable, "overloaded"), is(statusOverloaded):
		r.failure.Code, r.passing = CodeOverloaded, true
	case t.status >= http.StatusInternalServerError || is(http.StatusRequestTimeout, "server_error", "api_error") || is(http.StatusConflict):
		r.passing = true
	case t.status/100 == 4 || strings.Contains(t.kind, "invalid_request"):
		r.failure.Code = CodeRefused
	}
	return r
}

// retryAfter is how long the provider wants to be left alone (RFC 9110, section
// 10.2.3, and OpenAI's retry-after-ms); 0 if it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(min(ms, 1e9) * float64(time.Millisecond))
	}
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1e6) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// An errorTold is what is read of an error.
type errorTold struct {
	message string
	kind    string // the provider's words for it
	status  int    // 0 if it has none
}

// errorMessage reads an error: {"error":…} around an object with a message or,
// with some providers, a string; or either of these alone. The message is
// otherwise if there is none.
func (p *provider) errorMessage(raw json.RawMessage, otherwise string) errorTold {
	var outer struct{ Error json.RawMessage }
	if json.Unmarshal(raw, &outer) == nil && given(outer.Error) {
		raw = outer.Error
	}
	var object struct {
		Message string
		Type    string
		Code    json.RawMessage // a word or, with some providers, a status
	}
	var text string
	if json.Unmarshal(raw, &object) != nil {
		json.Unmarshal(raw, &text)
	}
	message := cmp.Or(object.Message, text, otherwise)
	if p.key != "" {
		message = strings.ReplaceAll(message, p.key, "…")
	}
	var status float64
	var word string
	if json.Unmarshal(object.Code, &status) != nil {
		json.Unmarshal(object.Code, &word)
	}
	return errorTold{message: shortened(message), kind: object.Type + " " + word, status: int(status)}
}
