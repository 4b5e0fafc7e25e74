package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"tokenrelay/session"
)

// What breaks a try, whether another is made, and what clients are told.
func TestPasses(t *testing.T) {
	p := &provider{logger: slog.New(slog.DiscardHandler)}
	limit := &session.Failure{Code: CodeConnect, Message: "m"}
	for _, test := range []struct {
		name string
		err  error
		want bool
		code string
	}{
		{"refusal that passes", fmt.Errorf("a place: %w", refuse(errorTold{status: 429, message: "m"})), true, CodeRateLimited},
		{"refusal that stays", refuse(errorTold{status: 400, message: "m"}), false, CodeRefused},
		{"no answer", fmt.Errorf("%w: %w", errNoAnswer, io.EOF), true, CodeUnreachable},
		{"no connection in time", fmt.Errorf("%w: %w", errNoAnswer, limit), true, CodeConnect},
		{"truncated", fmt.Errorf("%w: %w", errTruncated, io.ErrUnexpectedEOF), true, CodeTruncated},
		{"malformed", errNotItsJSON, false, CodeMalformed},
		{"parameter of ours", &session.InvalidError{Field: "f", Reason: "r"}, false, CodeError},
		{"anything else", errors.New("bug"), false, CodeError},
		{"line too long", bufio.ErrTooLong, false, CodeError},
		{"context", context.Canceled, false, CodeError},
	} {
		failure, _ := errors.AsType[*session.Failure](p.failure(t.Context(), test.err))
		if passes(test.err) != test.want || failure == nil || failure.Code != test.code || failure.Message == "" {
			t.Errorf("%s: passes %v, told as %+v; want %v and %s", test.name, passes(test.err), failure, test.want, test.code)
		}
	}
	if passes(session.ErrNotContinuable) || p.failure(t.Context(), session.ErrNotContinuable) != session.ErrNotContinuable {
		t.Error("a source that cannot be continued says so")
	}
}

// A message is cut between two characters, and a code that is missing is none.
func TestErrorMessage(t *testing.T) {
	for _, test := range []struct{ raw, message, kind string }{
		{`{"error":{"message":"` + strings.Repeat("x", maxErrorMessage-1) + `€"}}`, strings.Repeat("x", maxErrorMessage-1) + "…", " "},
		{`{"message":"` + strings.Repeat("x", maxErrorMessage-3) + `€"}`, strings.Repeat("x", maxErrorMessage-3) + "€", " "},
		{`{"message":"m","type":"t","code":null}`, "m", "t "},
		{`{"message":"m","type":"t","code":"c"}`, "m", "t c"},
		{`{"message":"m","code":429}`, "m", " "},
	} {
		if got := new(provider).errorMessage([]byte(test.raw), ""); got.message != test.message || got.kind != test.kind {
			t.Errorf("%.60s: %+v, want %q and %q", test.raw, got, test.message, test.kind)
		}
	}
}
