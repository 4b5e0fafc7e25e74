package memstore_test

import (
	"testing"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/sessiontest"
)

func TestStore(t *testing.T) {
	sessiontest.TestStore(t, func(*testing.T) session.Store { return memstore.New() })
}

func TestTombstones(t *testing.T) {
	sessiontest.TestTombstones(t, 3, func(_ *testing.T, most int) session.Store { return memstore.NewWithTombstones(most) })
}

// A store without faults is as good as the one in it.
func TestFaulty(t *testing.T) {
	sessiontest.TestStore(t, func(*testing.T) session.Store { return &sessiontest.Faulty{Store: memstore.New()} })
}
