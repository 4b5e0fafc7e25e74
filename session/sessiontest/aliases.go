package sessiontest

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"tokenrelay/session"
)

func testAliases(t *testing.T, st session.Store) {
	a, b, other := Record("a", created), Record("a", created), Record("o", created)
	for _, r := range []session.Record{a, b, other} {
		create(t, st, r)
	}
	ctx := t.Context()
	if id, err := st.Bind(ctx, "a", "chat-1", a.Info.ID); err != nil || id != a.Info.ID {
		t.Fatalf("Bind = %v, %v", id, err)
	}
	if id, err := st.Bind(ctx, "a", "chat-1", b.Info.ID); !errors.Is(err, session.ErrExists) || id != a.Info.ID {
		t.Errorf("Bind of a bound name = %v, %v; want the bound id and ErrExists", id, err)
	}
	if id, err := st.Bind(ctx, "a", "chat-1", a.Info.ID); !errors.Is(err, session.ErrExists) || id != a.Info.ID {
		t.Errorf("the same Bind again = %v, %v; want the id and ErrExists", id, err)
	}
	if _, err := st.Bind(ctx, "a", "chat-3", session.NewID()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Bind to no session = %v, want ErrNotFound", err)
	}
	if _, err := st.Bind(ctx, "o", "chat-1", other.Info.ID); err != nil {
		t.Errorf("Bind of the same name for another principal = %v", err)
	}
	if _, err := st.Bind(ctx, "o", "chat-2", a.Info.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Bind of another's session = %v, want ErrNotFound", err)
	}
	if id, err := st.Resolve(ctx, "a", "chat-1"); err != nil || id != a.Info.ID {
		t.Errorf("Resolve = %v, %v; want %v", id, err, a.Info.ID)
	}
	if _, err := st.Resolve(ctx, "a", "nothing"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Resolve of no name = %v, want ErrNotFound", err)
	}
	if err := st.Remove(ctx, a.Info.ID, session.Deleted); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Resolve(ctx, "a", "chat-1"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Resolve after Remove = %v, want ErrNotFound", err)
	}
	for _, name := range []string{"chat-1", "chat-4"} {
		_, err := st.Bind(ctx, "a", name, a.Info.ID)
		if gone, ok := errors.AsType[*session.GoneError](err); !ok || gone.Reason != session.Deleted {
			t.Errorf("Bind of %s to a removed session = %v, want gone: deleted", name, err)
		}
	}
	if id, err := st.Resolve(ctx, "o", "chat-1"); err != nil || id != other.Info.ID {
		t.Errorf("Resolve of another's name = %v, %v; want %v", id, err, other.Info.ID)
	}
	if _, err := st.Bind(ctx, "a", "chat-1", b.Info.ID); err != nil {
		t.Errorf("Bind of a freed name = %v", err)
	}
}

// createNamed is create with aliases.
func createNamed(t *testing.T, st session.Store, r session.Record, aliases ...session.Alias) {
	t.Helper()
	if token, err := st.Create(t.Context(), r, Frames(0, 1), aliases...); err != nil || token != 1 {
		t.Fatalf("Create with %v = token %d, %v; want 1", aliases, token, err)
	}
}

// resolves fails unless name is bound to the session, or, if that is nil, to
// none.
func resolves(t *testing.T, st session.Store, who session.Principal, name string, to *session.Record) {
	t.Helper()
	id, err := st.Resolve(t.Context(), who, name)
	switch {
	case to == nil && !errors.Is(err, session.ErrNotFound):
		t.Errorf("Resolve of %q of %s = %v, %v; want ErrNotFound", name, who, id, err)
	case to != nil && (err != nil || id != to.Info.ID):
		t.Errorf("Resolve of %q of %s = %v, %v; want %v", name, who, id, err, to.Info.ID)
	}
}

// boundTo fails unless err says that an alias is bound to the session.
func boundTo(t *testing.T, err error, to session.Record) {
	t.Helper()
	bound, ok := errors.AsType[*session.BoundError](err)
	if !ok || bound.ID != to.Info.ID || !errors.Is(err, session.ErrExists) {
		t.Errorf("Create with a bound alias = %v (%+v), want a BoundError with %v", err, bound, to.Info.ID)
	}
}

// A session comes with all its aliases, or neither it nor they come.
func testCreateAliases(t *testing.T, st session.Store) {
	ctx := t.Context()
	key, chat, thread := session.Alias{Name: "key"}, session.Alias{Name: "chat", Moves: true}, session.Alias{Name: "\xffthread\x00"}
	a, b, other := Record("a", created), Record("a", created), Record("o", created)
	createNamed(t, st, a, key, chat, thread)
	createNamed(t, st, other, key, chat)
	for _, name := range []string{"key", "chat", thread.Name} {
		resolves(t, st, "a", name, &a)
	}
	resolves(t, st, "o", "key", &other)
	resolves(t, st, "o", thread.Name, nil)

	_, err := st.Create(ctx, b, Frames(0, 1), session.Alias{Name: "free"}, chat, key)
	boundTo(t, err, a)
	if _, err := st.Load(ctx, b.Info.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Load of a session that was refused = %v, want ErrNotFound", err)
	}
	resolves(t, st, "a", "free", nil)
	resolves(t, st, "a", "chat", &a)
	for what, first := range map[string]session.Wire{"no frames": nil, "torn frames": Frames(0, 1)[1:]} {
		if _, err := st.Create(ctx, b, first, session.Alias{Name: "free"}); !errors.Is(err, session.ErrConflict) {
			t.Errorf("Create with %s = %v, want ErrConflict", what, err)
		}
		resolves(t, st, "a", "free", nil)
	}
	// An id that is in use, or has a tombstone, moves nothing.
	_, err = st.Create(ctx, other, Frames(0, 1), session.Alias{Name: "chat", Moves: true}, session.Alias{Name: "free"})
	if _, bound := errors.AsType[*session.BoundError](err); !errors.Is(err, session.ErrExists) || bound {
		t.Errorf("Create with an id that is in use = %v, want ErrExists", err)
	}
	gone := Record("a", created)
	create(t, st, gone)
	if err := st.Remove(ctx, gone.Info.ID, session.Deleted); err != nil {
		t.Fatal(err)
	}
	_, err = st.Create(ctx, gone, Frames(0, 1), chat, session.Alias{Name: "free"})
	if _, bound := errors.AsType[*session.BoundError](err); !errors.Is(err, session.ErrExists) || bound {
		t.Errorf("Create with a removed session's id = %v, want ErrExists", err)
	}
	resolves(t, st, "a", "chat", &a)
	resolves(t, st, "a", "free", nil)

	if id, err := st.Bind(ctx, "a", "key", a.Info.ID); !errors.Is(err, session.ErrExists) || id != a.Info.ID {
		t.Errorf("Bind of an alias of Create = %v, %v; want %v and ErrExists", id, err, a.Info.ID)
	}
	if id, err := st.Bind(ctx, "a", "later", a.Info.ID); err != nil || id != a.Info.ID {
		t.Errorf("Bind = %v, %v", id, err)
	}
	_, err = st.Create(ctx, b, Frames(0, 1), session.Alias{Name: "later"})
	boundTo(t, err, a)
	if err := st.Remove(ctx, a.Info.ID, session.Expired); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"key", "chat", thread.Name, "later"} {
		resolves(t, st, "a", name, nil)
	}
	resolves(t, st, "o", "chat", &other)
	createNamed(t, st, b, key, session.Alias{Name: "later"})
	resolves(t, st, "a", "key", &b)
	resolves(t, st, "a", "later", &b)
}

// An alias that has moved is one of the new session's only.
func testMoves(t *testing.T, st session.Store) {
	ctx := t.Context()
	chat := session.Alias{Name: "chat", Moves: true}
	var first, before session.Record
	for i := range 4 {
		r := Record("a", created)
		createNamed(t, st, r, chat, session.Alias{Name: fmt.Sprint("own ", i)})
		resolves(t, st, "a", "chat", &r)
		if i == 2 { // one goes that had it once
			if err := st.Remove(ctx, before.Info.ID, session.Deleted); err != nil {
				t.Fatal(err)
			}
			resolves(t, st, "a", "chat", &r)
			resolves(t, st, "a", "own 1", nil)
		}
		if i == 0 {
			first = r
		}
		before = r
	}
	bound := Record("a", created)
	create(t, st, bound)
	if _, err := st.Bind(ctx, "a", "key", bound.Info.ID); err != nil {
		t.Fatal(err)
	}
	last := Record("a", created)
	createNamed(t, st, last, chat, session.Alias{Name: "key", Moves: true}) // whoever bound it
	for _, r := range []session.Record{before, bound} {
		if err := st.Remove(ctx, r.Info.ID, session.Expired); err != nil {
			t.Fatal(err)
		}
	}
	resolves(t, st, "a", "chat", &last)
	resolves(t, st, "a", "key", &last)
	resolves(t, st, "a", "own 3", nil)
	resolves(t, st, "a", "own 0", &first)
	if err := st.Remove(ctx, last.Info.ID, session.Deleted); err != nil {
		t.Fatal(err)
	}
	resolves(t, st, "a", "chat", nil)
	resolves(t, st, "a", "key", nil)
}

// One alias and many who make a session with it, or bind it: one has it, and
// the others are told which, when it is there.
func testConcurrentAlias(t *testing.T, st session.Store) {
	ctx := t.Context()
	for round := range 10 {
		key := fmt.Sprint("key ", round)
		var group sync.WaitGroup
		var made atomic.Pointer[session.ID]
		var others [8]session.ID
		binds := Record("a", created)
		create(t, st, binds)
		won := func(id session.ID) {
			if !made.CompareAndSwap(nil, &id) {
				t.Errorf("%s has two sessions", key)
			}
		}
		for i := range others {
			group.Go(func() {
				if i == 0 {
					id, err := st.Bind(ctx, "a", key, binds.Info.ID)
					switch {
					case err == nil:
						won(id)
					case !errors.Is(err, session.ErrExists):
						t.Errorf("Bind = %v", err)
					}
					others[i] = id
					return
				}
				r := Record("a", created)
				own := session.Alias{Name: fmt.Sprint(key, i)}
				_, err := st.Create(ctx, r, Frames(0, 1), own, session.Alias{Name: key})
				bound, refused := errors.AsType[*session.BoundError](err)
				switch {
				case err == nil:
					won(r.Info.ID)
					others[i] = r.Info.ID
				case !refused:
					t.Errorf("Create = %v, want a BoundError", err)
				default:
					others[i] = bound.ID
					if _, err := st.Load(ctx, bound.ID); err != nil {
						t.Errorf("Load of the session that has the alias = %v", err)
					}
					if id, err := st.Resolve(ctx, "a", own.Name); !errors.Is(err, session.ErrNotFound) {
						t.Errorf("Resolve of a refused session's other alias = %v, %v; want ErrNotFound", id, err)
					}
				}
			})
		}
		group.Wait()
		for _, id := range others {
			if made.Load() == nil || id != *made.Load() {
				t.Fatalf("%s has session %v, and one was told %v", key, made.Load(), id)
			}
		}
	}
}

// Sessions take an alias from each other, while those go that had it: it is
// bound at any time, to a session that was there, and free when the last goes.
func testConcurrentMoves(t *testing.T, st session.Store) {
	const workers, rounds = 4, 12
	ctx := t.Context()
	chat := session.Alias{Name: "chat", Moves: true}
	createNamed(t, st, Record("a", created), chat)
	var known sync.Map // session.ID of those that were to be made
	var last [workers]session.Record
	var writers, readers sync.WaitGroup
	var over atomic.Bool
	first, _ := st.Resolve(ctx, "a", "chat")
	known.Store(first, true)
	for w := range workers {
		writers.Go(func() {
			for round := range rounds {
				r := Record("a", created)
				known.Store(r.Info.ID, true)
				if _, err := st.Create(ctx, r, Frames(0, 1), chat); err != nil {
					t.Errorf("Create = %v", err)
					return
				}
				if round > 0 { // which has it no more, as r took it after it
					if err := st.Remove(ctx, last[w].Info.ID, session.Deleted); err != nil {
						t.Errorf("Remove = %v", err)
					}
				}
				last[w] = r
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for !over.Load() {
				id, err := st.Resolve(ctx, "a", "chat")
				if _, ok := known.Load(id); err != nil || !ok {
					t.Errorf("Resolve = %v, %v; want one of the sessions", id, err)
					return
				}
				if _, err := st.Load(ctx, id); err != nil {
					if _, gone := errors.AsType[*session.GoneError](err); !gone {
						t.Errorf("Load of a session that had the alias = %v", err)
					}
				}
				runtime.Gosched()
			}
		})
	}
	writers.Wait()
	over.Store(true)
	readers.Wait()
	id, err := st.Resolve(ctx, "a", "chat")
	if err != nil {
		t.Fatal(err)
	}
	var holder *session.Record
	for _, r := range last {
		if r.Info.ID == id {
			holder = &r
			continue
		}
		if err := st.Remove(ctx, r.Info.ID, session.Deleted); err != nil {
			t.Error(err)
		}
	}
	if holder == nil {
		t.Fatalf("the alias has session %v, want one of the last", id)
	}
	resolves(t, st, "a", "chat", holder)
	// Who takes it from a session that goes has it.
	next := Record("a", created)
	var both sync.WaitGroup
	both.Go(func() {
		if err := st.Remove(ctx, id, session.Deleted); err != nil {
			t.Errorf("Remove = %v", err)
		}
	})
	both.Go(func() {
		if _, err := st.Create(ctx, next, Frames(0, 1), chat); err != nil {
			t.Errorf("Create = %v", err)
		}
	})
	both.Wait()
	resolves(t, st, "a", "chat", &next)
	if err := st.Remove(ctx, next.Info.ID, session.Deleted); err != nil {
		t.Fatal(err)
	}
	resolves(t, st, "a", "chat", nil)
}

func testReopenAliases(t *testing.T, open func() session.Store) {
	ctx := t.Context()
	key, chat := session.Alias{Name: "key"}, session.Alias{Name: "chat", Moves: true}
	st := open()
	a, b, refused := Record("a", created), Record("a", created), Record("a", created)
	createNamed(t, st, a, key, chat)
	st = open()
	resolves(t, st, "a", "key", &a)
	_, err := st.Create(ctx, refused, Frames(0, 1), session.Alias{Name: "free"}, key)
	boundTo(t, err, a)
	createNamed(t, st, b, chat)
	st = open()
	if _, err := st.Load(ctx, refused.Info.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Load of a session that was refused = %v, want ErrNotFound", err)
	}
	resolves(t, st, "a", "free", nil)
	resolves(t, st, "a", "chat", &b)
	if err := st.Remove(ctx, a.Info.ID, session.Expired); err != nil {
		t.Fatal(err)
	}
	st = open()
	resolves(t, st, "a", "key", nil)
	resolves(t, st, "a", "chat", &b)
	if err := st.Remove(ctx, b.Info.ID, session.Expired); err != nil {
		t.Fatal(err)
	}
	st = open()
	resolves(t, st, "a", "chat", nil)
	createNamed(t, st, refused, key, chat)
	st = open()
	resolves(t, st, "a", "key", &refused)
	resolves(t, st, "a", "chat", &refused)
}
