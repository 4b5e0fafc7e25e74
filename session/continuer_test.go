package session_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
)

// The model of these tests keeps to the contract that it stands for.
func TestModelIsContinuer(t *testing.T) {
	m := newModel(12, time.Microsecond)
	sessiontest.TestContinuer(t, sessiontest.ContinuerWant{Text: m.text(), By: session.ByPrefill}, func(*testing.T) session.Continuer { return askedAgain{&answer{m: m}} })
	m.cursors = true
	sessiontest.TestCursors(t, &answer{m: m})
}

// askedAgain asks its answer for each range: what the answer's own Continue
// returns can be ranged over once.
type askedAgain struct{ *answer }

func (a askedAgain) Continue(ctx context.Context, text string) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) { a.answer.Continue(ctx, text)(yield) }
}
