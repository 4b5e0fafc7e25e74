package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

func open(t *testing.T, dir string, o pebblestore.Options) *pebblestore.Store {
	t.Helper()
	st, err := pebblestore.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func TestStore(t *testing.T) {
	for _, level := range []session.Level{session.LevelPower, session.LevelProcess} {
		t.Run(string(level), func(t *testing.T) {
			t.Run("memory", func(t *testing.T) {
				sessiontest.TestStore(t, func(t *testing.T) session.Store {
					return open(t, "data", pebblestore.Options{Level: level}.OnFS(vfs.NewMem()))
				})
			})
			t.Run("disk", func(t *testing.T) {
				sessiontest.TestStore(t, func(t *testing.T) session.Store {
					return open(t, t.TempDir(), pebblestore.Options{Level: level})
				})
			})
		})
	}
}
