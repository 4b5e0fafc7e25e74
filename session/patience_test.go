package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// A hungStore hangs, without an error, while it is told to.
type hungStore struct {
	session.Store
	hung atomic.Pointer[chan struct{}]
}

// hang makes it so until the function that it returns is called.
func (st *hungStore) hang() (release func()) {
	hung := make(chan struct{})
	st.hung.Store(&hung)
	return func() {
		st.hung.Store(nil)
		close(hung)
	}
}

func (st *hungStore) wait() {
	if hung := st.hung.Load(); hung != nil {
		<-*hung
	}
}

func (st *hungStore) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	st.wait()
	return st.Store.Create(ctx, r, first, aliases...)
}

func (st *hungStore) Append(ctx context.Context, batches []session.Batch) []error {
	st.wait()
	return st.Store.Append(ctx, batches)
}

func (st *hungStore) Remove(ctx context.Context, id session.ID, why session.GoneReason) error {
	st.wait()
	return st.Store.Remove(ctx, id, why)
}

// Who creates or deletes waits for a hung store so long and no longer. What
// became of it is seen to behind them: nothing is left that nobody counts.
func TestHungStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hungStore{Store: memstore.New()}
		m := startOn(t, st, session.Options{})
		ended := create(t, m, session.Spec{Source: text("x")})
		readAll(t, ended, 0)
		live := create(t, m, session.Spec{Source: push, Unit: chunker.Rune})
		release := st.hang()
		go live.Append(context.Background(), session.Append{Text: "x"})
		asked := func(what string, limit time.Duration, ask func(context.Context) error) {
			t.Helper()
			for _, patience := range []time.Duration{time.Second, time.Minute} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				took := elapsed(func() {
					if err := ask(ctx); !errors.Is(err, session.ErrStore) {
						t.Errorf("%s = %v, want ErrStore", what, err)
					}
				})
				cancel()
				if want := min(limit, patience); took != want {
					t.Errorf("%s took %v, want %v", what, took, want)
				}
			}
		}
		creates := func(ctx context.Context) error {
			_, err := m.Create(ctx, me, session.Spec{Source: push})
			return err
		}
		asked("Create", 5*time.Second, creates)
		if err := m.Ready(); !errors.Is(err, session.ErrStore) {
			t.Errorf("Ready = %v while a commit hangs, want ErrStore", err)
		}
		asked("Create that knows", 0, creates)
		asked("Delete", 5*time.Second, func(ctx context.Context) error { return m.Delete(ctx, me, ended.Info().ID) })
		release()
		synctest.Wait()
		if err := m.Ready(); err != nil {
			t.Errorf("Ready = %v afterwards", err)
		}
		if _, err := m.Get(t.Context(), me, ended.Info().ID); !isGone(err, session.Deleted) {
			t.Errorf("Get of the deleted session = %v, want gone: deleted", err)
		}
		if list, _, err := m.List(t.Context(), me, session.Cursor{}, 10); err != nil || len(list) != 1 {
			t.Errorf("List = %d sessions, %v; want the one that had an answer", len(list), err)
		}
		if err := m.Delete(t.Context(), me, live.Info().ID); err != nil {
			t.Fatal(err)
		}
		if use := m.Use(); use.Live != 0 || use.Ended != 0 || use.InMemory != 0 || use.Bytes != 0 {
			t.Errorf("use = %+v, want none", use)
		}
		for r := range st.Records(t.Context()) {
			t.Errorf("the store still has %s %s", r.Info.ID, r.State)
		}
	})
}

// A listing that races with creates holds every session that was answered.
func TestListWhileCreating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &lateStore{Store: memstore.New()}
		m := startOn(t, st, session.Options{})
		for range 3 {
			create(t, m, session.Spec{Source: push})
			time.Sleep(time.Second)
		}
		st.late.Store(true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Create(context.Background(), me, session.Spec{Source: push})
		}()
		synctest.Wait() // it is in the store, and its creator does not know yet
		if list, _, err := m.List(t.Context(), me, session.Cursor{}, 10); err != nil || len(list) != 3 {
			t.Errorf("List = %d sessions, %v; want 3", len(list), err)
		}
		<-done
	})
}

// A lateStore says late that it has created a session.
type lateStore struct {
	session.Store
	late atomic.Bool
}

func (st *lateStore) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	token, err := st.Store.Create(ctx, r, first, aliases...)
	if st.late.Load() {
		time.Sleep(time.Second)
	}
	return token, err
}
