package session_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/sessiontest"
)

// A full store ends the sessions that write, keeps what it was told is safe,
// and serves the others; with room it takes new ones.
func TestStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := &sessiontest.Faulty{Store: memstore.New()}, newScript()
		m := startOn(t, st, session.Options{Upstreams: up, MaxLog: 1})
		ended := create(t, m, session.Spec{Source: text("one two three"), Unit: chunker.Word})
		want := kinds(readAll(t, ended, 0))
		pushed := create(t, m, session.Spec{Source: push, Unit: chunker.Token})
		quiet := create(t, m, session.Spec{Source: push})
		paced := create(t, m, session.Spec{Source: text("abcdef"), Unit: chunker.Rune, Rate: 1})
		model := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line})
		const kept = "unbelievable things unbeliev"
		if _, _, err := pushed.Append(t.Context(), session.Append{Text: kept, Producer: "p", Seq: 1}); err != nil {
			t.Fatal(err)
		}
		up.text("first\nsec")
		synctest.Wait()

		st.Fail(session.ErrNoSpace)
		if err := m.Ready(); !errors.Is(err, session.ErrStore) || !errors.Is(err, session.ErrNoSpace) {
			t.Errorf("Ready = %v, want ErrStore for ErrNoSpace", err)
		}
		if _, err := m.Create(t.Context(), me, session.Spec{Source: push}); !errors.Is(err, session.ErrNoSpace) {
			t.Errorf("Create = %v, want ErrNoSpace", err)
		}
		_, _, err := pushed.Append(t.Context(), session.Append{Text: "able, and more of it\n", Producer: "p", Seq: 2})
		if !errors.Is(err, session.ErrNoSpace) || !errors.Is(err, session.ErrStore) {
			t.Errorf("Append = %v, want ErrNoSpace", err)
		}
		up.text("ond\nthird")
		for _, c := range []struct {
			s    *session.Session
			want string
		}{{pushed, kept}, {paced, "a"}, {model, "first\nsec"}} {
			frames := readAll(t, c.s, 0)
			kind, end := endOf(t, frames)
			if kind != session.KindFailed || end.Error == nil || end.Error.Code != session.CodeStoreFull {
				t.Errorf("ended as %s %+v, want %s", kind, end, session.CodeStoreFull)
			}
			if got := join(frames); got != c.want {
				t.Errorf("text = %q, want %q", got, c.want)
			}
		}
		if got := pushed.Status(); got.Producers["p"] != 1 {
			t.Errorf("the producer's last is %d, want 1, which was acknowledged", got.Producers["p"])
		}
		<-up.left
		if got := kinds(readAll(t, ended, 0)); got != want {
			t.Errorf("a session that has ended reads %s, want %s", got, want)
		}
		if err := quiet.Finish(t.Context()); err != nil {
			t.Errorf("Finish = %v, want nil: the end has room", err)
		}
		st.Fail(nil)
		if got := join(readAll(t, create(t, m, session.Spec{Source: text("again")}), 0)); got != "again" || m.Ready() != nil {
			t.Errorf("with room a new session gives %q", got)
		}
	})
}

// A store that is away for a moment costs that moment.
func TestStoreAwayShortly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &sessiontest.Faulty{Store: memstore.New()}
		m := startOn(t, st, session.Options{})
		s := create(t, m, session.Spec{Source: text("abcdef"), Unit: chunker.Rune, Rate: 1})
		time.Sleep(1500 * time.Millisecond)
		time.AfterFunc(4*time.Second, st.Stick())
		if got, want := kinds(readAll(t, s, 0)), "session|a|b|c|d|e|f|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

// While it is away for longer nothing is shown, commands are refused, sources
// are let go; when it is back the sessions that waited for it end.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := &sessiontest.Faulty{Store: memstore.New()}, newScript()
		m := startOn(t, st, session.Options{Upstreams: up})
		pushed := create(t, m, session.Spec{Source: push, Unit: chunker.Line})
		model := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Rune})
		idle := create(t, m, session.Spec{Source: push, Unit: chunker.Rune})
		if _, _, err := pushed.Append(t.Context(), session.Append{Text: "one\ntw"}); err != nil {
			t.Fatal(err)
		}
		release := st.Stick()
		up.text("x")
		took := elapsed(func() {
			if _, _, err := pushed.Append(t.Context(), session.Append{Text: "o\nthr"}); !errors.Is(err, session.ErrStore) {
				t.Errorf("Append = %v, want ErrStore", err)
			}
		})
		if took != 5*time.Second {
			t.Errorf("Append took %v, want 5s", took)
		}
		<-up.left
		if took := elapsed(func() {
			if err := pushed.Pause(t.Context()); !errors.Is(err, session.ErrStore) {
				t.Errorf("Pause = %v, want ErrStore", err)
			}
		}); took != 0 {
			t.Errorf("Pause took %v, want no time", took)
		}
		if got := pushed.Status(); got.Last != 2 || model.Status().Last != 1 {
			t.Errorf("shown to %d and %d without a commit", got.Last, model.Status().Last)
		}
		time.Sleep(time.Hour)
		release()
		for s, want := range map[*session.Session]string{pushed: "session|one\n|two\n|thr|failed", model: "session|x|failed"} {
			frames := readAll(t, s, 0)
			if _, end := endOf(t, frames); kinds(frames) != want || end.Error == nil || end.Error.Code != session.CodeStoreFailed {
				t.Errorf("frames = %q %+v, want %q, %s", kinds(frames), end, want, session.CodeStoreFailed)
			}
		}
		if _, _, err := idle.Append(t.Context(), session.Append{Text: "y"}); err != nil {
			t.Errorf("Append to a session that did not wait = %v", err)
		}
	})
}

// The relay can be ended while its store is away.
func TestShutdownWhileStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &sessiontest.Faulty{Store: memstore.New()}
		m, err := session.NewManager(st, session.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- m.Run(ctx) }()
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Rune})
		release := st.Stick()
		go s.Append(context.Background(), session.Append{Text: "y"})
		synctest.Wait()
		cancel()
		if err := <-ran; !errors.Is(err, session.ErrStore) {
			t.Errorf("Run = %v, want ErrStore", err)
		}
		if _, err := read(t, s, 0, func(session.Frame) bool { return false }); err == io.EOF {
			t.Error("a session without an end has ended")
		}
		release()
	})
}

// Of ended sessions those that ended first make room, and no more than is
// needed; running ones stay.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxTotalBytes: 100_000})
		live := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
		var all []*session.Session
		for range 20 {
			s := create(t, m, session.Spec{Source: text(strings.Repeat("x", 1000)), Unit: chunker.Line})
			readAll(t, s, 0)
			all = append(all, s)
			time.Sleep(time.Second)
		}
		before := m.Use()
		if before.Ended != 20 {
			t.Fatalf("use = %+v, want 20 that have ended: there was room", before)
		}
		for m.Use().Bytes < 90_000 {
			if _, _, err := live.Append(t.Context(), session.Append{Text: strings.Repeat("y", 5000)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		after := m.Use()
		if after.Bytes > 80_000 || after.Bytes < 75_000 || after.Live != 1 {
			t.Errorf("use = %+v, want somewhat less than 80000 bytes", after)
		}
		for i, s := range all {
			_, err := m.Get(t.Context(), me, s.Info().ID)
			if evicted := i < 20-after.Ended; isGone(err, session.Evicted) != evicted {
				t.Errorf("session %d of 20, of which %d are left: Get = %v", i, after.Ended, err)
			}
		}
	})
}

// A session that another process has taken over is its affair: nothing here
// counts or removes it, and whoever asks is told to come back.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m := startOn(t, st, session.Options{MaxTotalBytes: 10_000})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Rune, Retain: time.Minute})
		id := s.Info().ID
		if _, err := st.Acquire(t.Context(), id); err != nil { // as another owner
			t.Fatal(err)
		}
		if _, _, err := s.Append(t.Context(), session.Append{Text: "x"}); !errors.Is(err, session.ErrFenced) {
			t.Fatalf("Append = %v, want ErrFenced", err)
		}
		synctest.Wait()
		if use := m.Use(); use.Live != 0 || use.Ended != 0 || use.InMemory != 0 || use.Bytes != 0 {
			t.Errorf("use = %+v, want none", use)
		}
		for range 3 {
			live := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
			if _, _, err := live.Append(t.Context(), session.Append{Text: strings.Repeat("y", 5000)}); err != nil {
				t.Fatal(err)
			}
			if err := live.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if _, err := st.Load(t.Context(), id); err != nil {
			t.Errorf("the store has it no more: %v", err)
		}
		if _, err := m.Get(t.Context(), me, id); !errors.Is(err, session.ErrElsewhere) {
			t.Errorf("Get = %v, want ErrElsewhere", err)
		}
		if _, err := m.Get(t.Context(), "another", id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Get by another = %v, want ErrNotFound", err)
		}
		if list, _, err := m.List(t.Context(), me, session.Cursor{}, 10); err != nil || len(list) != 1 {
			t.Errorf("List = %v, %v; want the one that is kept", list, err)
		}
	})
}

// A listing that the store cannot give is an error, not a shorter one.
func TestListFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m := startOn(t, st, session.Options{})
		readAll(t, create(t, m, session.Spec{Source: text("x")}), 0)
		m = restart(t, unreadableStore{st}, session.Options{})
		if list, _, err := m.List(t.Context(), me, session.Cursor{}, 10); !errors.Is(err, errUnreadable) {
			t.Errorf("List = %v, %v; want the store's error", list, err)
		}
	})
}

var errUnreadable = errors.New("bad sector")

type unreadableStore struct{ session.Store }

func (unreadableStore) Read(context.Context, session.ID, session.FrameID, int) (session.Wire, error) {
	return nil, errUnreadable
}

// While the store takes nothing, nothing is removed, and the log stays quiet.
func TestSweepWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &sessiontest.Faulty{Store: memstore.New()}
		var errs atomic.Int64
		count := slog.NewTextHandler(writerFunc(func([]byte) { errs.Add(1) }), &slog.HandlerOptions{Level: slog.LevelError})
		m := startOn(t, st, session.Options{Logger: slog.New(count)})
		for range 20 {
			readAll(t, create(t, m, session.Spec{Source: text("x"), Retain: time.Minute}), 0)
		}
		st.Fail(session.ErrStore)
		time.Sleep(time.Hour)
		if errs.Load() > 0 || m.Use().Ended != 20 {
			t.Errorf("%d errors logged, %d kept; want 0 and 20", errs.Load(), m.Use().Ended)
		}
		st.Fail(nil)
		time.Sleep(time.Minute)
		if use := m.Use(); use.Ended != 0 || use.Bytes != 0 {
			t.Errorf("use = %+v, want none", use)
		}
	})
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
