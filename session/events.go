package session

import (
	"time"

	"tokenrelay/chunker"
)

// Events tell of what becomes of sessions, for metrics. Functions that are nil
// are not called.
//
// A session's own pump calls them, one at a time, in the order of its life:
// Started or Recovered first, Ended last. Pumps of several sessions call at the same time. A
// function must return at once, for it holds its session up, and must not ask
// the Manager or a Session for anything.
type Events struct {
	// Started is called for a session that has been created.
	Started func(source SourceType)

	// Recovered is called instead for a session that another process ran before,
	// even if it is to end as interrupted.
	Recovered func(source SourceType)

	// Committed is called after each commit with what became visible by it,
	// bytes being those of the frames' wire form.
	Committed func(frames, bytes int)

	// Appended is called after each append to the store, which is one for all
	// sessions that waited: with how many they were, those that were refused
	// among them, and how long it took. It is called by none of their pumps.
	Appended func(batches int, took time.Duration)

	// Capped is called with how many units were cut at their longest length,
	// not where the text ends them, once the text around them is committed.
	// The encoding is empty for units other than the token.
	Capped func(unit chunker.Unit, encoding string, units uint64)

	// FirstToken is called with how long an upstream took for its first token,
	// once it is committed.
	FirstToken func(took time.Duration)

	// Ended is called with the state that a session ended in, or, if it was
	// broken off, with the one that it stood in, which is not terminal. The code
	// is that of its failure, empty if it has none.
	Ended func(state State, code string)
}

func (e Events) withDefaults() Events {
	if e.Started == nil {
		e.Started = func(SourceType) {}
	}
	if e.Recovered == nil {
		e.Recovered = func(SourceType) {}
	}
	if e.Committed == nil {
		e.Committed = func(int, int) {}
	}
	if e.Appended == nil {
		e.Appended = func(int, time.Duration) {}
	}
	if e.Capped == nil {
		e.Capped = func(chunker.Unit, string, uint64) {}
	}
	if e.FirstToken == nil {
		e.FirstToken = func(time.Duration) {}
	}
	if e.Ended == nil {
		e.Ended = func(State, string) {}
	}
	return e
}
