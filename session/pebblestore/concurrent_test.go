package pebblestore_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// All at once: sessions are made, written, read, listed, bound and removed.
// Readers see whole sessions or none.
func TestConcurrent(t *testing.T) {
	const rounds, writers = 5, 4
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(vfs.NewMem()))
	ctx := t.Context()
	var live sync.Map // session.ID of sessions that are there, and may go
	var over atomic.Bool
	var readers, workers sync.WaitGroup
	is := func(err, what error) bool {
		_, gone := errors.AsType[*session.GoneError](err)
		return err == nil || gone || errors.Is(err, what)
	}
	for w := range writers {
		who := session.Principal(fmt.Sprint("p", w%2))
		workers.Go(func() {
			for round := range rounds {
				var batches []session.Batch
				var records []session.Record
				for range 5 {
					r := sessiontest.Record(who, created)
					create(t, st, r)
					if _, err := st.Create(ctx, r, sessiontest.Frames(0, 1)); !errors.Is(err, session.ErrExists) {
						t.Errorf("second Create = %v, want ErrExists", err)
					}
					live.Store(r.Info.ID, true)
					records = append(records, r)
				}
				for last := session.FrameID(1); last < 30; last += 3 {
					batches = batches[:0]
					for _, r := range records { // twice in one call
						batches = append(batches, batch(r, last, last+1), batch(r, last+1, last+3))
					}
					for _, err := range st.Append(ctx, batches) {
						if err != nil {
							t.Errorf("Append = %v", err)
						}
					}
				}
				for i, r := range records {
					if _, err := st.Bind(ctx, who, fmt.Sprint(round, i), r.Info.ID); !is(err, session.ErrExists) {
						t.Errorf("Bind = %v", err)
					}
				}
				// Two remove it while two write to it: one removal is the first.
				r := records[0]
				var removals sync.WaitGroup
				var removed atomic.Int32
				for range 2 {
					removals.Go(func() {
						if err := st.Remove(ctx, r.Info.ID, session.Deleted); err == nil {
							removed.Add(1)
						} else if !is(err, nil) {
							t.Errorf("Remove = %v", err)
						}
					})
					removals.Go(func() {
						for at := session.FrameID(31); ; at++ {
							if err := st.Append(ctx, []session.Batch{batch(r, at, at+1)})[0]; err != nil {
								if !is(err, session.ErrConflict) {
									t.Errorf("Append to a session that goes = %v", err)
								}
								return
							}
						}
					})
				}
				removals.Wait()
				if got := removed.Load(); got != 1 {
					t.Errorf("a session was removed %d times", got)
				}
				if _, err := st.Load(ctx, r.Info.ID); err == nil {
					t.Error("a removed session is there")
				}
				appendOne(t, st, ended(records[1], 31, 32))
			}
		})
	}
	for range 3 {
		readers.Go(func() {
			for !over.Load() {
				live.Range(func(key, _ any) bool {
					id := key.(session.ID)
					r, err := st.Load(ctx, id)
					if !is(err, nil) {
						t.Errorf("Load = %v", err)
					}
					w, readErr := st.Read(ctx, id, 0, 1<<30)
					if !is(readErr, nil) || err != nil && readErr == nil {
						t.Errorf("Read = %v after Load = %v", readErr, err)
					}
					if last, _, err := w.Check(0); readErr == nil && (err != nil || last < r.Last) {
						t.Errorf("Read has frames up to %d (%v), and Load said %d", last, err, r.Last)
					}
					return !over.Load()
				})
				for r, err := range st.Records(ctx) {
					if err != nil || r.Token == 0 || r.Last == 0 {
						t.Errorf("Records yields %+v, %v", r, err)
					}
				}
				page, err := st.List(ctx, "p0", session.Cursor{}, 20)
				if err != nil {
					t.Errorf("List = %v", err)
				}
				for _, r := range page {
					if r.Info.Principal != "p0" {
						t.Errorf("List has a session of %s", r.Info.Principal)
					}
				}
				if _, err := st.Resolve(ctx, "p0", "3 1"); !is(err, session.ErrNotFound) {
					t.Errorf("Resolve = %v", err)
				}
				st.Stat()
			}
		})
	}
	workers.Wait()
	over.Store(true)
	readers.Wait()
	// One name, many who want it.
	var winners atomic.Int32
	name := sync.WaitGroup{}
	r := sessiontest.Record("p0", created)
	create(t, st, r)
	for range 8 {
		name.Go(func() {
			switch id, err := st.Bind(ctx, "p0", "the one", r.Info.ID); {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, session.ErrExists) || id != r.Info.ID:
				t.Errorf("Bind = %v, %v", id, err)
			}
		})
	}
	// One id, many who make it.
	same := sessiontest.Record("p0", created)
	for range 8 {
		name.Go(func() {
			switch _, err := st.Create(ctx, same, sessiontest.Frames(0, 1)); {
			case err == nil:
				winners.Add(10)
			case !errors.Is(err, session.ErrExists):
				t.Errorf("Create = %v", err)
			}
		})
	}
	// One session, many who take it.
	tokens := make(map[session.Token]bool)
	var mu sync.Mutex
	for range 8 {
		name.Go(func() {
			taken, err := st.Acquire(ctx, r.Info.ID)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || tokens[taken.Token] {
				t.Errorf("Acquire = token %d, %v: twice", taken.Token, err)
			}
			tokens[taken.Token] = true
		})
	}
	name.Wait()
	if got := winners.Load(); got != 11 {
		t.Errorf("one Bind and one Create must win: got %d, want 11", got)
	}
}

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
