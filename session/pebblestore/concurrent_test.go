package pebblestore_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// Commits of one session that are on their way together come to be seen in
// their order.
func TestPipelined(t *testing.T) {
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(vfs.NewMem()))
	r := sessiontest.Record("a", created)
	create(t, st, r)
	const writers, rounds = 8, 60
	for round := range rounds {
		var group sync.WaitGroup
		first := session.FrameID(1 + round*writers)
		for w := range session.FrameID(writers) {
			group.Go(func() {
				b := batch(r, first+w, first+w+1)
				for { // until its turn has come
					err := st.Append(t.Context(), []session.Batch{b})[0]
					if err == nil {
						break
					}
					if !errors.Is(err, session.ErrConflict) {
						t.Errorf("Append = %v", err)
						return
					}
				}
				if got, err := st.Load(t.Context(), r.Info.ID); err != nil || got.Last < b.Last {
					t.Errorf("Load = last %d, %v after Append up to %d", got.Last, err, b.Last)
				}
			})
		}
		group.Wait()
		if got := holds(t, st, r.Info.ID); got != first+writers {
			t.Fatalf("the last frame is %d, want %d", got, first+writers)
		}
	}
}
