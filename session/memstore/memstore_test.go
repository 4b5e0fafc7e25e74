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
