package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

func createNamed(ctx context.Context, st session.Store, r session.Record, aliases ...session.Alias) error {
	_, err := st.Create(ctx, r, sessiontest.Frames(0, 1), aliases...)
	return err
}

// An alias has the session that it is committed to have, and whoever else wants
// it, or removes a session that has it, waits for what is on its way.
func TestAliasNotShownBeforeCommitted(t *testing.T) {
	disk := &faults{FS: vfs.NewMem()}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
	ctx := t.Context()
	chat, key := session.Alias{Name: "chat", Moves: true}, session.Alias{Name: "key"}
	old, next, later, refused := sessiontest.Record("a", created), sessiontest.Record("a", created), sessiontest.Record("a", created), sessiontest.Record("a", created)
	if err := createNamed(ctx, st, old, chat); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	disk.setBefore(func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".log") {
			<-held
		}
		return nil
	})
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := createNamed(ctx, st, next, chat, key); err != nil {
			t.Errorf("Create = %v", err)
		}
	})
	eventually(t, "the session and its aliases are on their way", func() bool { return st.OnTheirWay() == 3 })
	answers := make(chan string, 4)
	for what, do := range map[string]func() error{
		"Create that takes it": func() error { return createNamed(ctx, st, later, chat) },
		"Create that wants it": func() error {
			err := createNamed(ctx, st, refused, key)
			if bound, ok := errors.AsType[*session.BoundError](err); ok && bound.ID == next.Info.ID {
				return nil
			}
			return fmt.Errorf("%w, want a BoundError", err)
		},
		"Bind": func() error {
			if id, err := st.Bind(ctx, "a", "key", next.Info.ID); !errors.Is(err, session.ErrExists) || id != next.Info.ID {
				return fmt.Errorf("%v, %w, want %v", id, err, next.Info.ID)
			}
			return nil
		},
		"Remove of the one that had it": func() error { return st.Remove(ctx, old.Info.ID, session.Deleted) },
	} {
		calls.Go(func() {
			if err := do(); err != nil {
				t.Errorf("%s = %v", what, err)
			}
			answers <- what
		})
	}
	eventually(t, "all others wait", func() bool { return st.Waiting() == 4 })
	impatient, leave := context.WithCancel(ctx)
	calls.Go(func() {
		if err := createNamed(impatient, st, sessiontest.Record("a", created), key); !errors.Is(err, context.Canceled) {
			t.Errorf("Create with an alias that is on its way = %v, want that of its context", err)
		}
	})
	eventually(t, "one more waits", func() bool { return st.Waiting() == 5 })
	leave()
	eventually(t, "it waits no more", func() bool { return st.Waiting() == 4 })
	if id, err := st.Resolve(ctx, "a", "chat"); err != nil || id != old.Info.ID {
		t.Errorf("Resolve of an alias that is to move = %v, %v; want %v", id, err, old.Info.ID)
	}
	if id, err := st.Resolve(ctx, "a", "key"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Resolve of an alias that is not committed = %v, %v; want ErrNotFound", id, err)
	}
	select {
	case what := <-answers:
		t.Errorf("%s came back before the alias was committed", what)
	default:
	}
	disk.setBefore(nil)
	release()
	calls.Wait()
	if id, err := st.Resolve(ctx, "a", "chat"); err != nil || id != later.Info.ID {
		t.Errorf("Resolve = %v, %v; want %v", id, err, later.Info.ID)
	}
	if got := st.OnTheirWay(); got != 0 {
		t.Errorf("%d changes are on their way, want none", got)
	}
}

// Who waits for an alias learns that the store has failed.
func TestAliasWaitsForNoFailedStore(t *testing.T) {
	disk := &faults{FS: vfs.NewMem()}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
	release := make(chan struct{})
	disk.setBefore(func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".log") {
			<-release
		}
		return nil
	})
	var first, second sync.WaitGroup
	first.Go(func() {
		createNamed(t.Context(), st, sessiontest.Record("a", created), session.Alias{Name: "key"})
	})
	eventually(t, "the session is on its way", func() bool { return st.OnTheirWay() == 2 })
	second.Go(func() {
		if err := createNamed(t.Context(), st, sessiontest.Record("a", created), session.Alias{Name: "key"}); !errors.Is(err, session.ErrStore) {
			t.Errorf("Create = %v, want ErrStore", err)
		}
	})
	st.Break(errEnough)
	second.Wait()
	close(release)
	first.Wait()
}

// A crash leaves a session and its aliases together, and of an alias that moved
// one session, which is not before the last that was acknowledged.
func TestAliasCrash(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		disk := vfs.NewCrashableMem()
		st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
		var records []session.Record
		var taken *vfs.MemFS
		acknowledged := -1
		crashAt := random.IntN(12)
		var calls sync.WaitGroup
		for i := range 12 {
			r := sessiontest.Record("a", created)
			r.Info.Spec = session.Spec{Unit: "word"} // short
			records = append(records, r)
			create := func() error {
				return createNamed(t.Context(), st, r, session.Alias{Name: "chat", Moves: true}, session.Alias{Name: fmt.Sprint("key ", i)})
			}
			if i == crashAt { // under way
				calls.Go(func() { create() })
				taken = crash(disk, random.IntN(101), random)
				break
			}
			if err := create(); err != nil {
				t.Fatal(err)
			}
			acknowledged = i
			if i > 0 && random.IntN(3) == 0 {
				if err := st.Remove(t.Context(), records[i-1].Info.ID, session.Deleted); err != nil {
					t.Fatal(err)
				}
			}
		}
		calls.Wait()
		st.Close()
		st = open(t, "data", pebblestore.Options{}.Quick().OnFS(taken))
		last := acknowledged
		for i, r := range records {
			_, err := st.Load(t.Context(), r.Info.ID)
			id, nameErr := st.Resolve(t.Context(), "a", fmt.Sprint("key ", i))
			if (err == nil) != (nameErr == nil) || err == nil && id != r.Info.ID {
				t.Fatalf("seed %d: Load of session %d = %v, and its alias is %v, %v", seed, i, err, id, nameErr)
			}
			if err == nil {
				last = i
			}
		}
		id, err := st.Resolve(t.Context(), "a", "chat")
		if last < 0 && errors.Is(err, session.ErrNotFound) {
			continue
		}
		if err != nil || id != records[last].Info.ID || last < acknowledged {
			t.Errorf("seed %d: the alias is %v, %v; want session %d, and %d was acknowledged", seed, id, err, last, acknowledged)
		}
	}
}
