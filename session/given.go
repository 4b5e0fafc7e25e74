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
	r, err := m.store.Acquire(ctx, id) // it alone gives it, and no owner appends to the session any more
	if err != nil {
		return SourceSpec{}, fmt.Errorf("what the source was given: %w", err)
	}
	return r.Info.Spec.Source, nil
}
