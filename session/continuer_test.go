package session_test

import (
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
)

// The model of these tests keeps to the contract that it stands for.
func TestModelIsContinuer(t *testing.T) {
	m := newModel(12, time.Microsecond)
	sessiontest.TestContinuer(t, sessiontest.ContinuerWant{Text: m.text(), By: session.ByPrefill}, func(*testing.T) session.Continuer { return &answer{m: m} })
	m.cursors = true
	sessiontest.TestCursors(t, &answer{m: m})
}
