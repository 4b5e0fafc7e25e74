package session

import (
	"context"
	"fmt"
)

// Continue makes a new session that goes on from the text of one that was
// stopped, failed or was interrupted, with the same settings and with names, as
// CreateNamed does. Errors are those of Get, CreateNamed and the store,
// ErrNotUpstream, ErrNotEnded, ErrToolCall, and an *EndedError for one that is
// done.
func (m *Manager) Continue(ctx context.Context, who Principal, id ID, names Names) (s *Session, again bool, err error) {
	return m.CreateNamed(ctx, who, names, func() (Spec, error) { return m.continued(ctx, who, id) })
}

// continued is the Spec of what Continue makes.
func (m *Manager) continued(ctx context.Context, who Principal, id ID) (Spec, error) {
	s, err := m.Get(ctx, who, id)
	if err != nil {
		return Spec{}, err
	}
	status := s.Status()
	switch {
	case s.info.Spec.Source.Type != SourceUpstream:
		return Spec{}, ErrNotUpstream
	case !status.State.Terminal():
		return Spec{}, ErrNotEnded
	case status.State == Done:
		return Spec{}, &EndedError{State: Done}
	}
	m.mu.Lock()
	size := m.ended[id].bytes
	m.mu.Unlock()
	if !m.bytes.take(size) { // the text is kept twice, and is in memory before
		return Spec{}, ErrOverloaded
	}
	text, called, err := textOf(ctx, m.store, id, status.Last)
	m.bytes.add(-size)
	if err != nil {
		return Spec{}, fmt.Errorf("continue a session: %w", err)
	}
	if called {
		return Spec{}, ErrToolCall
	}
	spec := s.info.Spec
	if spec.Source, err = m.Given(ctx, who, id); err != nil {
		return Spec{}, err
	}
	spec.Source.Text, spec.Continues = text, id
	if s.info.EncodingSource != EncodingRequested {
		spec.Encoding = "" // as the model has it
	}
	spec.Retain = min(spec.Retain, m.opts.Retain)
	return spec, nil
}
