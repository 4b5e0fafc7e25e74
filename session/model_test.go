package session_test

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tokenrelay/session"
)

// A model is a provider whose answer is always the same text, a word at a time.
// It is the opener of its sources.
type model struct {
	words   []string
	every   time.Duration // between two words
	cursors bool          // its answers go on without a reader, from any cursor
	by      session.Continuation
	fields  bool // before each word it sends a payload of its own, its number

	started atomic.Int64 // generations
	open    atomic.Int64 // that run
	still   atomic.Int64 // that are suspended

	mu     sync.Mutex // guards the fields below
	causes []error    // why contexts ended
}

func newModel(words int, every time.Duration) *model {
	m := &model{every: every, by: session.ByPrefill}
	for i := range words {
		m.words = append(m.words, fmt.Sprintf("word%d ", i))
	}
	return m
}

func (m *model) text() string { return strings.Join(m.words, "") }

func (m *model) Open(session.SourceSpec) (session.Source, error) { return &answer{m: m}, nil }

// ended returns why the contexts of all answers ended so far.
func (m *model) ended() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.causes
}

type answer struct {
	m     *model
	still bool
}

func (a *answer) SetSuspended(still bool) {
	if still != a.still {
		a.still = still
		a.m.still.Add(map[bool]int64{true: 1, false: -1}[still])
	}
}

func (a *answer) Deltas(ctx context.Context, from session.Position) iter.Seq2[session.Delta, error] {
	at := 0
	switch {
	case from.Cursor != "":
		at, _ = strconv.Atoi(from.Cursor)
	case from.Bytes > 0:
		return func(yield func(session.Delta, error) bool) { yield(session.Delta{}, session.ErrNotContinuable) }
	default:
		a.m.started.Add(1)
	}
	return a.m.say(ctx, at, "")
}

func (a *answer) Continue(ctx context.Context, text string) iter.Seq2[session.Delta, error] {
	a.m.started.Add(1)
	return func(yield func(session.Delta, error) bool) {
		by := a.m.by
		if text == "" {
			by = session.ByAnew
		}
		if !yield(session.Delta{Kind: session.DeltaSeam, By: by}, nil) {
			return
		}
		at, text := 0, text // so that it can be ranged over again
		for ; at < len(a.m.words) && len(text) >= len(a.m.words[at]); at++ {
			text = text[len(a.m.words[at]):]
		}
		a.m.say(ctx, at, text)(yield)
	}
}

// say yields the words from at on, but for given, which is there already.
func (m *model) say(ctx context.Context, at int, given string) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		m.open.Add(1)
		defer m.open.Add(-1)
		for ; at < len(m.words); at++ {
			select {
			case <-time.After(m.every):
			case <-ctx.Done():
			}
			if ctx.Err() != nil { // whichever came first
				m.mu.Lock()
				m.causes = append(m.causes, context.Cause(ctx))
				m.mu.Unlock()
				yield(session.Delta{}, context.Cause(ctx))
				return
			}
			if own := (session.Delta{Kind: session.DeltaProvider, Text: fmt.Sprintf(`{"word":%d}`, at)}); m.fields && !yield(own, nil) {
				return
			}
			d := session.Delta{Text: strings.TrimPrefix(m.words[at], given)}
			if given = ""; m.cursors {
				d.Cursor = strconv.Itoa(at + 1)
			}
			if !yield(d, nil) {
				m.mu.Lock()
				m.causes = append(m.causes, context.Cause(ctx))
				m.mu.Unlock()
				return
			}
		}
		yield(session.Delta{Kind: session.DeltaFinish, Reason: session.ReasonStop}, nil)
	}
}

// gone is a provider that has no answer any more.
type gone struct{}

func (gone) Open(session.SourceSpec) (session.Source, error) { return gone{}, nil }

func (gone) Deltas(context.Context, session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) { yield(session.Delta{}, session.ErrNotContinuable) }
}

// seamed is a source whose first answer is one delta, and then silence; the
// second is whole.
type seamed struct{ first session.Delta }

func (s *seamed) Open(session.SourceSpec) (session.Source, error) { return s, nil }

func (s *seamed) Deltas(ctx context.Context, _ session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		if yield(s.first, nil) {
			<-ctx.Done()
			yield(session.Delta{}, context.Cause(ctx))
		}
	}
}

func (s *seamed) Continue(context.Context, string) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		_ = yield(session.Delta{Kind: session.DeltaSeam, By: session.ByAnew}, nil) &&
			yield(session.Delta{Text: "Well"}, nil) &&
			yield(session.Delta{Kind: session.DeltaFinish, Reason: session.ReasonStop}, nil)
	}
}
