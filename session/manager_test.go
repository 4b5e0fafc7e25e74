package session_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

func TestID(t *testing.T) {
	id := session.NewID()
	if got, ok := session.ParseID(id.String()); !ok || got != id || len(id.String()) != 26 {
		t.Errorf("ParseID(%v) = %v, %t", id, got, ok)
	}
	for _, bad := range []string{"", "x", id.String() + "a", strings.ToUpper(id.String()), id.String()[:25] + "b", id.String()[:25] + "=", strings.Repeat("1", 26)} {
		if got, ok := session.ParseID(bad); ok {
			t.Errorf("ParseID(%q) = %v, want none", bad, got)
		}
	}
	if got := id.LogValue().String(); len(got) != 8 {
		t.Errorf("logged as %q, want 8 characters", got)
	}
}

func TestCreateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{Retain: time.Hour})
		for field, spec := range map[string]session.Spec{
			"unit":            {Source: text("x"), Unit: "syllable"},
			"encoding":        {Source: text("x"), Unit: chunker.Token, Encoding: "gpt2"},
			"encoding ":       {Source: text("x"), Unit: chunker.Rune, Encoding: chunker.DefaultEncoding},
			"rate":            {Source: text("x"), Rate: -1},
			"rate ":           {Source: text("x"), Rate: math.NaN()},
			"rate    ":        {Source: text("x"), Rate: 1e-10},
			"rate  ":          {Source: text("x"), Rate: session.MaxRate + 1},
			"rate   ":         {Source: push, Rate: 1},
			"retain":          {Source: text("x"), Retain: -1},
			"retain ":         {Source: text("x"), Retain: 2 * time.Hour},
			"metadata":        {Source: text("x"), Metadata: map[string]string{"": "x"}},
			"metadata ":       {Source: text("x"), Metadata: map[string]string{"x": strings.Repeat("x", 513)}},
			"source.type":     {},
			"source.model  ":  {Source: session.SourceSpec{Type: session.SourceUpstream, Model: "m", Messages: []byte("[]")}},
			"source.text":     {Source: text("\xff")},
			"source.length":   {Source: session.SourceSpec{Type: session.SourceGenerate, Length: -1}},
			"source.model":    {Source: session.SourceSpec{Type: session.SourceUpstream}},
			"source.model ":   {Source: session.SourceSpec{Type: session.SourceUpstream, Model: strings.Repeat("m", session.MaxModel+1), Messages: []byte(`[{}]`)}},
			"source.messages": {Source: session.SourceSpec{Type: session.SourceUpstream, Model: "m", Messages: []byte(`"x"`)}},
		} {
			_, err := m.Create(t.Context(), me, spec)
			invalid, ok := errors.AsType[*session.InvalidError](err)
			if !ok || invalid.Field != strings.TrimRight(field, " ") {
				t.Errorf("Create(%+v) = %v, want an InvalidError of %s", spec, err, field)
			}
		}
	})
}

func TestMaxSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxSessions: 2})
		for range 3 { // those that have ended do not count
			readAll(t, create(t, m, session.Spec{Source: text("x")}), 0)
		}
		create(t, m, session.Spec{Source: push})
		s := create(t, m, session.Spec{Source: push})
		if _, err := m.Create(t.Context(), me, session.Spec{Source: push}); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("third Create = %v, want ErrOverloaded", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		create(t, m, session.Spec{Source: push})
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		short := create(t, m, session.Spec{Source: text("x"), Retain: 10 * time.Second})
		live := create(t, m, session.Spec{Source: push, Retain: 10 * time.Second})
		reader, _ := short.Read(0)
		time.Sleep(9 * time.Second)
		if _, err := m.Get(t.Context(), me, short.Info().ID); err != nil {
			t.Errorf("Get within the retention = %v", err)
		}
		time.Sleep(2 * time.Second)
		isExpired := func(when string) {
			_, err := m.Get(t.Context(), me, short.Info().ID)
			if gone, ok := errors.AsType[*session.GoneError](err); !ok || gone.Reason != session.Expired {
				t.Errorf("Get %s = %v, want gone: expired", when, err)
			}
		}
		isExpired("after the retention, before the sweep")
		time.Sleep(time.Minute)
		isExpired("after the sweep")
		if _, err := m.Get(t.Context(), me, live.Info().ID); err != nil {
			t.Errorf("Get of a session that has not ended = %v", err)
		}
		// Who reads it already may read it to its end.
		if w, _, err := reader.Next(t.Context(), 1<<20); err != nil || len(w) == 0 {
			t.Errorf("Next of a reader of the expired session = %q, %v", w, err)
		}
	})
}

func TestDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: push})
		id := s.Info().ID
		done := make(chan []session.Frame)
		go func() { done <- readAll(t, s, 0) }()
		synctest.Wait()
		if err := m.Delete(t.Context(), "another", id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Delete by another = %v, want ErrNotFound", err)
		}
		if err := m.Delete(t.Context(), me, id); err != nil {
			t.Fatal(err)
		}
		if kind, end := endOf(t, <-done); kind != session.KindStopped || end.Reason != session.ReasonDeleted {
			t.Errorf("its reader saw %s %+v, want stopped: deleted", kind, end)
		}
		err := m.Delete(t.Context(), me, id)
		if gone, ok := errors.AsType[*session.GoneError](err); !ok || gone.Reason != session.Deleted {
			t.Errorf("second Delete = %v, want gone: deleted", err)
		}
		if _, err := m.Get(t.Context(), "another", id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Get of another's deleted session = %v, want ErrNotFound", err)
		}
	})
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		var want []session.ID
		for range 7 {
			want = append(want, create(t, m, session.Spec{Source: push}).Info().ID)
			time.Sleep(time.Millisecond)
		}
		slices.Reverse(want)
		if _, err := m.Create(t.Context(), "another", session.Spec{Source: push}); err != nil {
			t.Fatal(err)
		}
		for size := 1; size <= 8; size++ {
			var got []session.ID
			for at, pages := (session.Cursor{}), 0; pages == 0 || at != (session.Cursor{}); pages++ {
				var page []*session.Session
				var err error
				if page, at, err = m.List(t.Context(), me, at, size); err != nil || len(page) == 0 {
					t.Fatalf("List of %d = %v, %v", size, page, err)
				}
				for _, s := range page {
					got = append(got, s.Info().ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d hold %v, want %v", size, got, want)
			}
		}
	})
}

// A session fails for want of room only when no ended one can give any.
func TestEndedMakeRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxTotalBytes: 100_000})
		for range 8 {
			readAll(t, create(t, m, session.Spec{Source: text(strings.Repeat("x", 4000)), Unit: chunker.Line}), 0)
		}
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Rune})
		// One turn of it takes more than what is free.
		if _, _, err := s.Append(t.Context(), session.Append{Text: strings.Repeat("y", 3000)}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Append(t.Context(), session.Append{Text: "z"}); err != nil {
			t.Errorf("Append = %v, with %+v", err, m.Use())
		}
	})
}

// What a session was given counts as well as what came of it.
func TestSpecsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxTotalBytes: 1 << 20})
		spec := session.Spec{Source: text(strings.Repeat("x", 400<<10)), Rate: 1}
		a := create(t, m, spec)
		create(t, m, spec)
		if _, err := m.Create(t.Context(), me, spec); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("third Create = %v, want ErrOverloaded", err)
		}
		if err := m.Delete(t.Context(), me, a.Info().ID); err != nil {
			t.Fatal(err)
		}
		create(t, m, spec)
	})
}

// A slowStore counts commits and makes each take a while.
type slowStore struct {
	session.Store
	commits, batches atomic.Int64
	fail             atomic.Pointer[error]
}

func (st *slowStore) Append(ctx context.Context, batches []session.Batch) []error {
	time.Sleep(10 * time.Millisecond)
	st.commits.Add(1)
	st.batches.Add(int64(len(batches)))
	if err := st.fail.Load(); err != nil {
		return slices.Repeat([]error{*err}, len(batches))
	}
	return st.Store.Append(ctx, batches)
}

// What waits for a commit goes into the next one together, and is shown and
// acknowledged only after it.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &slowStore{Store: memstore.New()}
		m := startOn(t, st, session.Options{})
		const sessions = 20
		for i := range sessions {
			s := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
			go func() {
				for n := range 10 {
					want := session.FrameID(n + 2)
					last, _, err := s.Append(context.Background(), session.Append{Text: fmt.Sprint(i)})
					if err != nil || last != want || s.Status().Last != want {
						t.Errorf("append %d = %d, %v, shown %d; want %d", n, last, err, s.Status().Last, want)
					}
				}
			}()
		}
		time.Sleep(time.Minute)
		if batches := st.batches.Load(); batches != sessions*10 {
			t.Errorf("batches = %d, want %d", batches, sessions*10)
		}
		if commits := st.commits.Load(); commits > 25 {
			t.Errorf("%d batches took %d commits, want them gathered", st.batches.Load(), commits)
		}
	})
}

// What the store does not take is not shown, and is not acknowledged.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &slowStore{Store: memstore.New()}
		m := startOn(t, st, session.Options{})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
		if _, _, err := s.Append(t.Context(), session.Append{Text: "kept"}); err != nil {
			t.Fatal(err)
		}
		dead := errors.New("disk on fire")
		st.fail.Store(&dead)
		if _, _, err := s.Append(t.Context(), session.Append{Text: "lost"}); !errors.Is(err, dead) {
			t.Errorf("Append = %v, want the store's error", err)
		}
		frames, err := read(t, s, 0, func(session.Frame) bool { return false })
		if join(frames) != "kept" || !errors.Is(err, dead) {
			t.Errorf("reader saw %s, %v; want what was kept, and the store's error", kinds(frames), err)
		}
		if _, err := m.Get(t.Context(), me, s.Info().ID); !errors.Is(err, session.ErrElsewhere) {
			t.Errorf("Get = %v, want ErrElsewhere: it may go on with the next start", err)
		}
	})
}

func TestOptionsRefused(t *testing.T) {
	for _, o := range []session.Options{{MaxSessions: -1}, {MaxBytes: -1}, {Retain: -1}, {MaxBytes: 2 << 30}} {
		if _, err := session.NewManager(memstore.New(), o); err == nil {
			t.Errorf("NewManager(%+v) gave no error", o)
		}
	}
}
