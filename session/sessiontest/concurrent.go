package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"tokenrelay/session"
)

func testReading(t *testing.T, st session.Store) {
	const frames = 300
	r := Record("a", created)
	token := create(t, st, r)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for last := session.FrameID(0); last < frames; {
				w, err := st.Read(ctx, r.Info.ID, last, 200)
				if err != nil {
					t.Errorf("Read after %d = %v", last, err)
					return
				}
				if last, _, err = w.Check(last); err != nil {
					t.Error(err)
					return
				}
				if len(w) == 0 {
					runtime.Gosched() // else the writer would wait for its turn
				}
			}
		})
	}
	for last := session.FrameID(1); last < frames; last++ {
		if err := appendOne(t, st, batch(r, token, last, last+1)); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

// All at once: sessions are made, written, read, listed, bound and removed.
// Readers see whole sessions or none.
func testConcurrent(t *testing.T, st session.Store) {
	const rounds, writers = 5, 4
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
					r := Record(who, created)
					if _, err := st.Create(ctx, r, Frames(0, 1)); err != nil {
						t.Errorf("Create = %v", err)
					}
					if _, err := st.Create(ctx, r, Frames(0, 1)); !errors.Is(err, session.ErrExists) {
						t.Errorf("second Create = %v, want ErrExists", err)
					}
					live.Store(r.Info.ID, true)
					records = append(records, r)
				}
				for last := session.FrameID(1); last < 30; last += 3 {
					batches = batches[:0]
					for _, r := range records { // twice in one call
						batches = append(batches, batch(r, 1, last, last+1), batch(r, 1, last+1, last+3))
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
							if err := st.Append(ctx, []session.Batch{batch(r, 1, at, at+1)})[0]; err != nil {
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
				end := batch(records[1], 1, 31, 32)
				end.State = session.Done
				if err := st.Append(ctx, []session.Batch{end})[0]; err != nil {
					t.Errorf("Append of an end = %v", err)
				}
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
				runtime.Gosched()
			}
		})
	}
	workers.Wait()
	over.Store(true)
	readers.Wait()
	// One name, many who want it.
	var winners atomic.Int32
	name := sync.WaitGroup{}
	r := Record("p0", created)
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
	same := Record("p0", created)
	for range 8 {
		name.Go(func() {
			switch _, err := st.Create(ctx, same, Frames(0, 1)); {
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
