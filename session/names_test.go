package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// of is a spec that is there.
func of(spec session.Spec) func() (session.Spec, error) {
	return func() (session.Spec, error) { return spec, nil }
}

// named creates a session of a model with a key, and fails unless it is as new
// as it must be.
func named(t *testing.T, m *session.Manager, who session.Principal, names session.Names, again bool) *session.Session {
	t.Helper()
	s, got, err := m.CreateNamed(t.Context(), who, names, of(session.Spec{Source: upstreamSpec}))
	if err != nil || got != again {
		t.Fatalf("CreateNamed(%s, %+v) = again %t, %v; want %t", who, names, got, err, again)
	}
	return s
}

var key1 = session.Names{Key: "k1", Digest: "d1"}

func TestKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(5, time.Second)
		m := start(t, session.Options{Upstreams: up})
		s := named(t, m, me, key1, false)
		time.Sleep(2 * time.Second)
		if again := named(t, m, me, key1, true); again != s {
			t.Errorf("repeated while it runs: %v, want %v", again.Info().ID, s.Info().ID)
		}
		other := key1
		other.Digest = "d2"
		if _, _, err := m.CreateNamed(t.Context(), me, other, of(session.Spec{Source: upstreamSpec})); !errors.Is(err, session.ErrKeyReused) {
			t.Errorf("with another digest: %v, want ErrKeyReused", err)
		}
		if yours := named(t, m, "you", other, false); yours == s {
			t.Error("a key of one principal has the session of another")
		}
		other.Key = "k2"
		if second := named(t, m, me, other, false); second == s {
			t.Error("another key has the same session")
		}
		readAll(t, s, 0)
		time.Sleep(5 * time.Minute) // it leaves memory
		again := named(t, m, me, key1, true)
		if got, want := again.Info().ID, s.Info().ID; got != want || join(readAll(t, again, 0)) != up.text() {
			t.Errorf("repeated after its end: %v, want %v with its text", got, want)
		}
		if _, _, err := m.CreateNamed(t.Context(), me, session.Names{Key: "k1", Digest: "d2"}, of(session.Spec{Source: upstreamSpec})); !errors.Is(err, session.ErrKeyReused) {
			t.Errorf("with another digest after its end: %v, want ErrKeyReused", err)
		}
		if got, want := up.started.Load(), int64(3); got != want {
			t.Errorf("the model was asked %d times, want %d", got, want)
		}
		// Without a key each creation is one.
		if a, b := named(t, m, me, session.Names{}, false), named(t, m, me, session.Names{}, false); a == b {
			t.Error("two creations without a key have one session")
		}
	})
}

// A dallyingStore takes its time with a creation.
type dallyingStore struct {
	session.Store
	creates atomic.Int64 // creations that came
}

func (st *dallyingStore) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	st.creates.Add(1)
	time.Sleep(time.Second)
	return st.Store.Create(ctx, r, first, aliases...)
}

func TestKeyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(5, time.Second)
		st := &dallyingStore{Store: memstore.New()}
		m := startOn(t, st, session.Options{Upstreams: up})
		var made, replayed atomic.Int64
		var ids sync.Map
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				s, again, err := m.CreateNamed(context.Background(), me, key1, of(session.Spec{Source: upstreamSpec}))
				if err != nil {
					t.Errorf("CreateNamed = %v", err)
					return
				}
				if again {
					replayed.Add(1)
				} else {
					made.Add(1)
				}
				ids.Store(s.Info().ID, true)
			})
		}
		group.Wait()
		n := 0
		ids.Range(func(any, any) bool { n++; return true })
		if n != 1 || made.Load() != 1 || replayed.Load() != 49 || st.creates.Load() != 1 || up.started.Load() != 1 {
			t.Errorf("%d sessions, %d made, %d replayed, %d creations, %d questions; want 1, 1, 49, 1, 1", n, made.Load(), replayed.Load(), st.creates.Load(), up.started.Load())
		}
		// Who waits for another's creation waits as long as its context.
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		two := session.Names{Key: "k2"}
		group.Go(func() { named(t, m, me, two, false) })
		synctest.Wait()
		if _, _, err := m.CreateNamed(ctx, me, two, of(session.Spec{Source: upstreamSpec})); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while another creates with the key: %v, want that of the context", err)
		}
		group.Wait()
	})
}

// A key is free when its session is no more.
func TestKeyIsFreed(t *testing.T) {
	spec := session.Spec{Source: text(strings.Repeat("x", 5000)), Unit: chunker.Rune, Retain: 10 * time.Second}
	for how, forget := range map[string]func(*testing.T, *session.Manager, *session.Session){
		"deleted while it runs": func(t *testing.T, m *session.Manager, s *session.Session) {
			must(t, m.Delete(t.Context(), me, s.Info().ID))
		},
		"deleted after its end": func(t *testing.T, m *session.Manager, s *session.Session) {
			readAll(t, s, 0)
			must(t, m.Delete(t.Context(), me, s.Info().ID))
		},
		"expired, before the sweep": func(t *testing.T, _ *session.Manager, s *session.Session) {
			readAll(t, s, 0)
			time.Sleep(10*time.Second + time.Millisecond)
		},
		"expired, after the sweep": func(t *testing.T, _ *session.Manager, s *session.Session) {
			readAll(t, s, 0)
			time.Sleep(time.Minute)
		},
		"evicted": func(t *testing.T, m *session.Manager, s *session.Session) {
			readAll(t, s, 0)
			for range 8 {
				time.Sleep(time.Millisecond)
				readAll(t, create(t, m, spec), 0)
			}
			if _, err := m.Get(t.Context(), me, s.Info().ID); err == nil {
				t.Error("the session was not evicted")
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := start(t, session.Options{MaxTotalBytes: 1 << 20})
			s, _, err := m.CreateNamed(t.Context(), me, key1, of(spec))
			must(t, err)
			forget(t, m, s)
			for _, again := range []bool{false, true} {
				names := session.Names{Key: key1.Key, Digest: "another"}
				next, got, err := m.CreateNamed(t.Context(), me, names, of(spec))
				if err != nil || got != again || next.Info().ID == s.Info().ID {
					t.Errorf("%s: CreateNamed = again %t, %v; want %t", how, got, err, again)
				}
			}
		})
	}
}

// A key finds what it has made after a restart, run on or ended.
func TestKeyAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := memstore.New(), newModel(20, time.Second)
		up.cursors = true
		m, stop := run(t, st, session.Options{Upstreams: up})
		ended, running, cut := session.Names{Key: "ended"}, session.Names{Key: "running"}, session.Names{Key: "cut"}
		first := named(t, m, me, ended, false)
		readAll(t, first, 0)
		second := named(t, m, me, running, false)
		third, _, err := m.CreateNamed(t.Context(), me, cut, of(session.Spec{Source: session.SourceSpec{Type: session.SourcePush}}))
		must(t, err)
		time.Sleep(5500 * time.Millisecond)
		stop()
		m = startOn(t, st, session.Options{Upstreams: up})
		// Before it knows what it has to run.
		if _, _, err := m.CreateNamed(t.Context(), me, running, of(session.Spec{Source: upstreamSpec})); !errors.Is(err, session.ErrElsewhere) {
			t.Errorf("repeated before Recover: %v, want ErrElsewhere", err)
		}
		must(t, m.Recover(t.Context()))
		for names, want := range map[session.Names]*session.Session{ended: first, running: second, cut: third} {
			if got := named(t, m, me, names, true); got.Info().ID != want.Info().ID {
				t.Errorf("%s: repeated after a restart: %v, want %v", names.Key, got.Info().ID, want.Info().ID)
			}
		}
		if got := join(readAll(t, named(t, m, me, running, true), 0)); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
		if got := up.started.Load(); got != 2 {
			t.Errorf("the model was asked %d times, want 2", got)
		}
	})
}

// What was refused has not used its key.
func TestKeyOfRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hungStore{Store: memstore.New()}
		m := startOn(t, st, session.Options{MaxSessions: 1})
		spec := session.Spec{Source: push}
		_, _, err := m.CreateNamed(t.Context(), me, key1, of(session.Spec{Source: push, Unit: "syllable"}))
		if _, ok := errors.AsType[*session.InvalidError](err); !ok {
			t.Errorf("CreateNamed = %v, want an InvalidError", err)
		}
		busy := create(t, m, spec)
		other := session.Names{Key: "k1", Digest: "d2"}
		if _, _, err := m.CreateNamed(t.Context(), me, other, of(spec)); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("CreateNamed = %v, want ErrOverloaded", err)
		}
		must(t, busy.Stop(t.Context()))
		// One that the store did not take in time, and took when nobody waited.
		release := st.hang()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := m.CreateNamed(ctx, me, other, of(spec)); !errors.Is(err, session.ErrStore) {
			t.Errorf("CreateNamed = %v, want ErrStore", err)
		}
		release()
		synctest.Wait()
		s, again, err := m.CreateNamed(t.Context(), me, key1, of(spec))
		if err != nil || again {
			t.Fatalf("CreateNamed = again %t, %v; want a new one", again, err)
		}
		// The relay is full, and the repeat makes nothing.
		if same, again, err := m.CreateNamed(t.Context(), me, key1, of(spec)); err != nil || !again || same != s {
			t.Errorf("CreateNamed = again %t, %v; want the session", again, err)
		}
	})
}

// Another process has used the key in the same moment.
func TestKeyOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		slow := &dallyingStore{Store: st}
		here, there := startOn(t, slow, session.Options{}), startOn(t, st, session.Options{})
		spec := session.Spec{Source: text("x")}
		var group sync.WaitGroup
		var again bool
		var s *session.Session
		group.Go(func() {
			var err error
			if s, again, err = here.CreateNamed(context.Background(), me, key1, of(spec)); err != nil {
				t.Errorf("CreateNamed = %v", err)
			}
		})
		synctest.Wait()
		other, _, err := there.CreateNamed(t.Context(), me, key1, of(spec))
		must(t, err)
		readAll(t, other, 0)
		group.Wait()
		if !again || s.Info().ID != other.Info().ID {
			t.Errorf("CreateNamed = %v, again %t; want %v", s.Info().ID, again, other.Info().ID)
		}
		if got := here.Use(); got.Live != 0 {
			t.Errorf("%d sessions live, want none", got.Live)
		}
	})
}

// A disagreeingStore finds no alias, though it refuses to bind it anew.
type disagreeingStore struct {
	session.Store
	creates int // creations that came since it disagrees; negative while it does not
}

func (st *disagreeingStore) Resolve(ctx context.Context, who session.Principal, name string) (session.ID, error) {
	if st.creates < 0 {
		return st.Store.Resolve(ctx, who, name)
	}
	return session.ID{}, session.ErrNotFound
}

func (st *disagreeingStore) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	if st.creates >= 0 {
		st.creates++
	}
	if st.creates > 10 {
		return 0, errors.New("it is asked again and again")
	}
	return st.Store.Create(ctx, r, first, aliases...)
}

// What a key is bound to is told by the refusal to bind it.
func TestKeyIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &disagreeingStore{Store: memstore.New(), creates: -1}
		m := startOn(t, st, session.Options{})
		spec := session.Spec{Source: text("x"), Retain: 10 * time.Second}
		first, _, err := m.CreateNamed(t.Context(), me, key1, of(spec))
		must(t, err)
		readAll(t, first, 0)
		st.creates = 0
		if s, again, err := m.CreateNamed(t.Context(), me, key1, of(spec)); err != nil || !again || s.Info().ID != first.Info().ID || st.creates != 1 {
			t.Errorf("while it is kept: again %t, %v, %d creations; want the session after one", again, err, st.creates)
		}
		if _, _, err := m.CreateNamed(t.Context(), me, session.Names{Key: "k1", Digest: "d2"}, of(spec)); !errors.Is(err, session.ErrKeyReused) {
			t.Errorf("with another digest: %v, want ErrKeyReused", err)
		}
		time.Sleep(10*time.Second + time.Millisecond) // expired, before the sweep
		st.creates = 0
		if s, again, err := m.CreateNamed(t.Context(), me, key1, of(spec)); err != nil || again || s.Info().ID == first.Info().ID || st.creates != 2 {
			t.Errorf("once it is gone: again %t, %v, %d creations; want a new one after two", again, err, st.creates)
		}
	})
}

func TestAliasMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{Upstreams: newModel(3, time.Second)})
		chat := session.Names{Alias: "chat:1"}
		resolves := func(who session.Principal, want *session.Session) {
			t.Helper()
			got, err := m.Resolve(t.Context(), who, "chat:1")
			if want == nil && !errors.Is(err, session.ErrNotFound) || want != nil && (err != nil || got.Info().ID != want.Info().ID) {
				t.Errorf("Resolve = %v, want %v", err, want)
			}
		}
		resolves(me, nil)
		first := named(t, m, me, chat, false)
		resolves(me, first)
		resolves("you", nil)
		yours := named(t, m, "you", chat, false)
		second := named(t, m, me, chat, false)
		resolves(me, second)
		resolves("you", yours)
		must(t, m.Delete(t.Context(), me, first.Info().ID))
		resolves(me, second)
		// A repeat takes nothing from who came after it.
		both := session.Names{Key: "k", Alias: "chat:1"}
		third := named(t, m, me, both, false)
		fourth := named(t, m, me, chat, false)
		if got := named(t, m, me, both, true); got != third {
			t.Errorf("repeated: %v, want %v", got.Info().ID, third.Info().ID)
		}
		resolves(me, fourth)
		// An alias and a key of one name are two.
		named(t, m, me, session.Names{Key: "chat:1"}, false)
		resolves(me, fourth)
		must(t, m.Delete(t.Context(), me, fourth.Info().ID))
		resolves(me, nil)
	})
}

func TestContinueNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(10, time.Second)
		m := start(t, session.Options{Upstreams: up, Retain: time.Hour})
		old := named(t, m, me, key1, false)
		if _, _, err := m.Continue(t.Context(), me, old.Info().ID, session.Names{Key: "go on"}); !errors.Is(err, session.ErrNotEnded) {
			t.Errorf("of one that runs: %v, want ErrNotEnded", err)
		}
		time.Sleep(3500 * time.Millisecond)
		must(t, old.Stop(t.Context()))
		goOn := session.Names{Key: "go on", Digest: "d", Alias: "chat:1"}
		s, again, err := m.Continue(t.Context(), me, old.Info().ID, goOn)
		if err != nil || again || s.Info().Spec.Continues != old.Info().ID || s.Info().Spec.Digest != "d" {
			t.Fatalf("Continue = again %t, %v, %+v", again, err, s.Info().Spec)
		}
		if got, err := m.Resolve(t.Context(), me, "chat:1"); err != nil || got != s {
			t.Errorf("Resolve = %v, want the session that continues", err)
		}
		if _, _, err := m.CreateNamed(t.Context(), me, session.Names{Key: "go on", Digest: "e"}, of(session.Spec{Source: upstreamSpec})); !errors.Is(err, session.ErrKeyReused) {
			t.Errorf("its key for another request: %v, want ErrKeyReused", err)
		}
		must(t, m.Delete(t.Context(), me, old.Info().ID)) // a repeat does not ask for it
		same, again, err := m.Continue(t.Context(), me, old.Info().ID, goOn)
		if err != nil || !again || same != s {
			t.Errorf("repeated: again %t, %v", again, err)
		}
		if got := join(readAll(t, s, 0)); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
		if got := up.started.Load(); got != 2 {
			t.Errorf("the model was asked %d times, want 2", got)
		}
	})
}
