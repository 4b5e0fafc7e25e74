package session

import (
	"context"
	"fmt"
)

// Given returns what the source of a session that has ended was given, as it
// was. Errors are those of Get and of the store, and ErrNotEnded.
func (m *Manager) Given(ctx context.Context, who Principal, id ID) (SourceSpec, error) {
	s, err := m.Get(ctx, who, id)
	if err != nil {
		return SourceSpec{}, err
	}
	if !s.Status().State.Terminal() {
		return SourceSpec{}, ErrNotEnded
	}
	return m.given(ctx, id)
}

// given is Given of a session that is known to have ended.
func (m *Manager) given(ctx context.Context, id ID) (SourceSpec, error) {
	r, err := m.store.Acquire(ctx, id) // it alone gives it, and no owner appends to the session any more
	if err != nil {
		return SourceSpec{}, fmt.Errorf("what the source was given: %w", err)
	}
	return r.Info.Spec.Source, nil
}
