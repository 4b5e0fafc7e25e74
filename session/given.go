package session

import (
	"context"
	"fmt"
)

// Given returns what the source of a session was given, as it was, whether it
// lives or has ended. Of one that continues another, Text is what it goes on
// from. Errors are those of Get and of the store.
func (m *Manager) Given(ctx context.Context, who Principal, id ID) (SourceSpec, error) {
	if _, err := m.Get(ctx, who, id); err != nil {
		return SourceSpec{}, err
	}
	given, err := m.store.Given(ctx, id)
	if err != nil {
		return SourceSpec{}, fmt.Errorf("what the source was given: %w", err)
	}
	return given, nil
}
