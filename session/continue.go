package session

import (
	"context"
	"fmt"
)

// Continue makes a new session that goes on from the text of one that was
// stopped, failed or was interrupted, with the same settings. Errors are those
// of Get, Create and the store, ErrNotUpstream, ErrNotEnded, ErrToolCall, and an
// *EndedError for one that is done.
func (m *Manager) Continue(ctx context.Context, who Principal, id ID) (*Session, error) {
	s, err := m.Get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	status := s.Status()
	switch {
	case s.info.Spec.Source.Type != SourceUpstream:
		return nil, ErrNotUpstream
	case !status.State.Terminal():
		return nil, ErrNotEnded
	case status.State == Done:
		return nil, &EndedError{State: Done}
	}
	m.mu.Lock()
	size := m.ended[id].bytes
	m.mu.Unlock()
	if !m.bytes.take(size) { // the text is kept twice, and is in memory before
		return nil, ErrOverloaded
	}
	text, called, err := textOf(ctx, m.store, id, status.Last)
	m.bytes.add(-size)
	if err != nil {
		return nil, fmt.Errorf("continue a session: %w", err)
	}
	if called {
		return nil, ErrToolCall
	}
	r, err := m.store.Acquire(ctx, id) // it alone gives what the source was given
	if err != nil {
		return nil, fmt.Errorf("continue a session: %w", err)
	}
	spec := r.Info.Spec
	spec.Source.Text, spec.Continues = text, id
	if r.Info.EncodingSource != EncodingRequested {
		spec.Encoding = "" // as the model has it
	}
	spec.Retain = min(spec.Retain, m.opts.Retain)
	return m.Create(ctx, who, spec)
}
