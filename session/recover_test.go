package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

var errCrash = errors.New("the process is gone")

// A crashStore is gone after so many commits: the last of them may have
// happened though nobody was told.
type crashStore struct {
	session.Store
	left    int
	untold  bool
	crashed bool
}

func (st *crashStore) Append(ctx context.Context, batches []session.Batch) []error {
	if st.left--; st.left >= 0 {
		return st.Store.Append(ctx, batches)
	}
	if st.untold && !st.crashed {
		st.Store.Append(ctx, batches)
	}
	st.crashed = true
	errs := make([]error, len(batches))
	for i := range errs {
		errs[i] = errCrash
	}
	return errs
}

// restart runs another manager on what a store holds, until the test ends.
func restart(t *testing.T, st session.Store, o session.Options) *session.Manager {
	t.Helper()
	m := startOn(t, st, o)
	if err := m.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

const mixed = "The naïve café — 👩‍👩‍👧 日本語のテキスト, 1234567 tokens\r\n\tand  \n\nlines; e\u0301\u0301 ok? Yes!! 𝒳𝒴 done.\n"

// A session goes on after a crash at any commit, whatever cuts it: what was
// seen stays, and the whole is what it would have been.
func TestGoOn(t *testing.T) {
	for _, spec := range []session.Spec{
		{Source: text(strings.Repeat(mixed, 3)), Rate: 100},
		{Source: session.SourceSpec{Type: session.SourceGenerate, Prompt: "tides", Seed: 3, Length: 40}, Rate: 100},
	} {
		for _, unit := range chunker.Units() {
			spec.Unit = unit
			var want []session.Frame
			synctest.Test(t, func(t *testing.T) { want = readAll(t, create(t, start(t, session.Options{}), spec), 0) })
			step := max(1, len(want)/9)
			for at := 0; at < len(want); at += step {
				for _, untold := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) { crashAt(t, spec, at, untold, want) })
				}
			}
		}
	}
}

func crashAt(t *testing.T, spec session.Spec, commits int, untold bool, want []session.Frame) {
	st := &crashStore{Store: memstore.New(), left: commits, untold: untold}
	m, stop := run(t, st, session.Options{})
	s := create(t, m, spec)
	seen, err := read(t, s, 0, func(session.Frame) bool { return false })
	if !errors.Is(err, errCrash) && err != io.EOF {
		t.Fatalf("the first process ended with %v", err)
	}
	stop()
	s, err = restart(t, st.Store, session.Options{MaxLog: 1}).Get(t.Context(), me, s.Info().ID)
	if err != nil {
		t.Fatal(err)
	}
	all := readAll(t, s, 0)
	if got, want := kinds(all), kinds(want); got != want {
		t.Errorf("%s after %d commits: frames = %s, want %s", spec.Unit, commits, got, want)
	}
	if len(seen) > len(all) || kinds(all[:len(seen)]) != kinds(seen) {
		t.Errorf("%s: seen was %s, now there is %s", spec.Unit, kinds(seen), kinds(all))
	}
	_, wantEnd := endOf(t, want)
	if _, end := endOf(t, all); spec.Unit == chunker.Token && *end.Usage.Output != *wantEnd.Usage.Output {
		t.Errorf("usage = %d, want %d", *end.Usage.Output, *wantEnd.Usage.Output)
	}
}

// No acknowledged append is lost, whether it had become a frame or not, and
// none is applied twice: producers that send again what they have no answer to
// end with the text that they meant, cut as if nothing had happened.
func TestGoOnPush(t *testing.T) {
	var appends []session.Append
	for i, piece := range pieces(strings.Repeat(mixed, 2), 7) {
		a := session.Append{Text: piece, Producer: "p", Seq: uint64(i + 1)}
		if i%9 == 8 {
			a.Text, a.Event, a.Data = "", "note", []byte(fmt.Sprint(i))
		}
		appends = append(appends, a)
	}
	for _, unit := range chunker.Units() {
		spec := session.Spec{Source: push, Unit: unit}
		var want []session.Frame
		synctest.Test(t, func(t *testing.T) {
			s := create(t, start(t, session.Options{}), spec)
			for _, a := range appends {
				if _, _, err := s.Append(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			want = readAll(t, s, 0)
		})
		for at := range len(appends) {
			synctest.Test(t, func(t *testing.T) { crashPush(t, spec, appends, at, at%2 == 0, want) })
		}
	}
}

func crashPush(t *testing.T, spec session.Spec, appends []session.Append, commits int, untold bool, want []session.Frame) {
	st := &crashStore{Store: memstore.New(), left: commits, untold: untold}
	m, stop := run(t, st, session.Options{})
	s := create(t, m, spec)
	id := s.Info().ID
	n := 0
	for ; n < len(appends); n++ {
		if _, _, err := s.Append(t.Context(), appends[n]); err != nil {
			break
		}
	}
	stop()
	s, err := restart(t, st.Store, session.Options{}).Get(t.Context(), me, id)
	if err != nil {
		t.Fatal(err)
	}
	last := s.Status().Producers["p"]
	if last != uint64(n) && !(untold && last == uint64(n+1)) {
		t.Errorf("%s: the producer's last is %d, but %d were acknowledged", spec.Unit, last, n)
	}
	for _, a := range appends[n:] {
		if _, repeated, err := s.Append(t.Context(), a); err != nil || repeated != (a.Seq <= last) {
			t.Errorf("append %d = repeated %t, %v", a.Seq, repeated, err)
		}
	}
	if err := s.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	if got, want := kinds(readAll(t, s, 0)), kinds(want); got != want {
		t.Errorf("%s after %d commits: frames = %s, want %s", spec.Unit, commits, got, want)
	}
}

// pieces cuts a text into pieces of up to n characters.
func pieces(text string, n int) (all []string) {
	random := rand.New(rand.NewPCG(1, 2))
	for runes := []rune(text); len(runes) > 0; {
		size := min(1+random.IntN(n), len(runes))
		all = append(all, string(runes[:size]))
		runes = runes[size:]
	}
	return all
}

// A provider's answer cannot be read on from its middle: what came of it stays,
// to the last byte that was received, and it ends as interrupted.
func TestInterrupted(t *testing.T) {
	for _, c := range []struct {
		name   string
		deltas []session.Delta
		want   string
	}{
		{"nothing came", nil, "session|interrupted"},
		{"text that the chunker held", []session.Delta{{Text: "one\ntw"}}, "session|one\n|tw|interrupted"},
		{"held behind the last frame", []session.Delta{{Text: "one\n"}, {Kind: session.DeltaReasoning, Text: "a"}, {Kind: session.DeltaReasoning, Text: "b"}}, "session|one\n|reasoning|interrupted"},
		{"held of both kinds", []session.Delta{{Text: "one"}, {Kind: session.DeltaReasoning, Text: "a\nb"}}, "session|one|reasoning|reasoning|interrupted"},
		{"held of another kind", []session.Delta{{Text: "one\n"}, {Kind: session.DeltaReasoning, Text: "a\nb"}}, "session|one\n|reasoning|reasoning|interrupted"},
		{"paused", []session.Delta{{Text: "one\ntw"}, {Kind: 99}, {Text: "o\nthree\n"}}, "session|one\n|paused|tw|interrupted"},
	} {
		synctest.Test(t, func(t *testing.T) {
			st, up := memstore.New(), newScript()
			m, stop := run(t, st, session.Options{Upstreams: up})
			s := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line})
			for _, d := range c.deltas {
				if d.Kind == 99 {
					synctest.Wait()
					if err := s.Pause(t.Context()); err != nil {
						t.Fatal(err)
					}
					continue
				}
				up.deltas <- d
			}
			synctest.Wait()
			stop()
			var log bytes.Buffer
			m = restart(t, st, session.Options{Upstreams: gone{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			s, err := m.Get(t.Context(), me, s.Info().ID)
			if err != nil {
				t.Fatal(err)
			}
			frames := readAll(t, s, 0)
			synctest.Wait()
			if strings.Contains(log.String(), "cut anew") {
				t.Errorf("%s: %s", c.name, &log)
			}
			kind, end := endOf(t, frames)
			if got := kinds(frames); got != c.want || kind != session.KindInterrupted {
				t.Errorf("%s: frames = %q, want %q", c.name, got, c.want)
			}
			if end.Reason != session.ReasonRestart || end.Error == nil || end.Error.Code != session.CodeNotContinuable {
				t.Errorf("%s: end = %+v", c.name, end)
			}
		})
	}
}

// A changedStore gives out records as if another version had written them.
type changedStore struct {
	session.Store
	change func(*session.Record)
}

func (st changedStore) Acquire(ctx context.Context, id session.ID) (session.Record, error) {
	r, err := st.Store.Acquire(ctx, id)
	st.change(&r)
	return r, err
}

func asWords(r *session.Record) {
	r.Info.Spec.Unit, r.Info.Spec.Encoding, r.Info.Unicode = chunker.Word, "", chunker.UnicodeVersion(chunker.Word)
}

func TestNotTheSameAnyMore(t *testing.T) {
	generate := session.SourceSpec{Type: session.SourceGenerate, Seed: 1, Length: 40}
	for code, c := range map[string]struct {
		source session.SourceSpec
		change func(*session.Record)
	}{
		session.CodeGeneratorChanged:  {generate, func(r *session.Record) { r.Info.Generator++ }},
		session.CodeUnicodeChanged:    {push, func(r *session.Record) { r.Info.Unicode = "1.1" }},
		session.CodeLogMismatch:       {text("one two three four"), asWords},
		session.CodeLogMismatch + " ": {push, asWords},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := memstore.New()
			m, stop := run(t, st, session.Options{})
			s := create(t, m, session.Spec{Source: c.source, Unit: chunker.Token, Rate: map[bool]float64{false: 1}[c.source.Type == session.SourcePush]})
			if c.source.Type == session.SourcePush {
				if _, _, err := s.Append(t.Context(), session.Append{Text: "unbelievable things unbeliev"}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(1500 * time.Millisecond)
			before := s.Status().Last
			stop()
			m = restart(t, changedStore{st, c.change}, session.Options{})
			s, err := m.Get(t.Context(), me, s.Info().ID)
			if err != nil {
				t.Fatal(err)
			}
			frames := readAll(t, s, 0)
			kind, end := endOf(t, frames)
			if kind != session.KindInterrupted || end.Error == nil || end.Error.Code != strings.TrimSpace(code) {
				t.Errorf("%s: ended as %s %+v after %s", code, kind, end, kinds(frames))
			}
			if session.FrameID(len(frames)) <= before {
				t.Errorf("%s: %d frames, but %d were seen", code, len(frames), before)
			}
			if got := join(frames); c.source.Type == session.SourcePush && got != "unbelievable things unbeliev" {
				t.Errorf("%s: text = %q, want all that was acknowledged", code, got)
			}
		})
	}
}

// A paused session is paused after a restart, and takes commands as before.
func TestRecoverPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m, stop := run(t, st, session.Options{})
		s := create(t, m, session.Spec{Source: text("abcdefgh"), Unit: chunker.Rune, Rate: 10})
		time.Sleep(250 * time.Millisecond)
		if err := s.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop()
		m = restart(t, st, session.Options{})
		s, err := m.Get(t.Context(), me, s.Info().ID)
		if err != nil {
			t.Fatal(err)
		}
		if use := m.Use(); use.Live != 1 || use.InMemory != 1 {
			t.Errorf("use = %+v, want one that lives", use)
		}
		time.Sleep(time.Hour)
		if got := s.Status(); got.State != session.Paused || got.Last != 5 || got.FirstText.IsZero() {
			t.Errorf("status = %+v, want paused at 5", got)
		}
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := kinds(readAll(t, s, 0)), "session|a|b|c|paused|resumed|d|e|f|g|h|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

// A pause does not end the unit that it is in, nor does a restart in it.
func TestRecoverPausedInAUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m, stop := run(t, st, session.Options{})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Token})
		id := s.Info().ID
		step := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			stop()
			m, stop = run(t, st, session.Options{})
			if err := m.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err = m.Get(t.Context(), me, id); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := s.Append(t.Context(), session.Append{Text: "Hello unbeliev"})
		step(err)
		step(s.Pause(t.Context()))
		step(s.Resume(t.Context()))
		_, _, err = s.Append(t.Context(), session.Append{Text: "able things"})
		step(err)
		step(s.Finish(t.Context()))
		defer stop()
		got := kinds(readAll(t, s, 0))
		want := "session|Hello|paused|resumed| unbelievable| things|done"
		if strings.ReplaceAll(got, " un|believable", " unbelievable") != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

// An ended session leaves memory when nobody asks for it, and is served from
// the store: same frames, same status.
func TestLeavesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m, stop := run(t, st, session.Options{MaxLog: 100})
		s := create(t, m, session.Spec{Source: session.SourceSpec{Type: session.SourceGenerate, Seed: 1}, Metadata: map[string]string{"a": "b"}})
		want := readAll(t, s, 0)
		status := s.Status()
		open, err := s.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := m.Use(); got.InMemory != 1 {
			t.Errorf("in memory with a reader: %d, want 1", got.InMemory)
		}
		open.Close()
		time.Sleep(2 * time.Minute)
		if got := m.Use(); got.InMemory != 0 || got.Ended != 1 || got.Live != 0 {
			t.Errorf("use = %+v, want one that has ended, not in memory", got)
		}
		use := m.Use()
		again := func(m *session.Manager, when string) {
			t.Helper()
			if list, _, err := m.List(t.Context(), me, session.Cursor{}, 10); err != nil || len(list) != 1 || list[0].Info().ID != s.Info().ID {
				t.Fatalf("%s: List = %v, %v", when, list, err)
			}
			got, err := m.Get(t.Context(), me, s.Info().ID)
			if err != nil {
				t.Fatal(err)
			}
			for after := range len(want) {
				if rest := readAll(t, got, session.FrameID(after)); kinds(rest) != kinds(want[after:]) {
					t.Fatalf("%s: frames after %d = %s, want %s", when, after, kinds(rest), kinds(want[after:]))
				}
			}
			if got := got.Status(); !reflect.DeepEqual(got.End, status.End) || got.State != status.State || got.Last != status.Last || !got.Ended.Equal(status.Ended) || !got.FirstText.Equal(status.FirstText) || *got.Usage.Output != *status.Usage.Output {
				t.Errorf("%s: status = %+v, want %+v", when, got, status)
			}
			if !got.Finished(session.FrameID(len(want))) {
				t.Errorf("%s: not finished", when)
			}
			if err := got.Stop(t.Context()); err != nil {
				t.Errorf("%s: Stop = %v", when, err)
			}
			if _, err := m.Get(t.Context(), "another", s.Info().ID); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: Get by another = %v", when, err)
			}
		}
		again(m, "recalled")
		for range 10 {
			time.Sleep(45 * time.Second)
			if _, err := m.Get(t.Context(), me, s.Info().ID); err != nil || m.Use().InMemory != 1 {
				t.Fatalf("asked for every 45 s: %v, %+v", err, m.Use())
			}
		}
		stop()
		m = restart(t, st, session.Options{})
		if got := m.Use(); got.Bytes != use.Bytes || got.Ended != 1 || got.InMemory != 0 {
			t.Errorf("use after a restart = %+v, want that of before, %+v", got, use)
		}
		again(m, "after a restart")
		time.Sleep(session.DefaultRetain)
		if _, err := m.Get(t.Context(), me, s.Info().ID); !isGone(err, session.Expired) {
			t.Errorf("Get after the retention = %v, want gone: expired", err)
		}
		if got := m.Use(); got.Bytes != 0 || got.Ended != 0 {
			t.Errorf("use after the retention = %+v", got)
		}
	})
}

// Readers far behind the live end read from the store, and go on live without
// a gap; what is in memory is bounded.
func TestReadsBehindMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxLog: 200})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
		var readers []*session.Reader
		for i := range 300 {
			if i%10 == 0 {
				r, err := s.Read(session.FrameID(i / 2))
				if err != nil {
					t.Fatal(err)
				}
				readers = append(readers, r)
			}
			if _, _, err := s.Append(t.Context(), session.Append{Text: fmt.Sprint("text ", i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		var whole session.Wire
		for _, f := range readAll(t, s, 0) {
			whole = f.AppendWire(whole)
		}
		for i, r := range readers {
			size := []int{0, 1, 100, 1000, 1 << 20}[i%5]
			var got session.Wire
			from := r.At()
			for {
				w, _, err := r.Next(t.Context(), size)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, w...)
			}
			want := whole
			for range from {
				_, want, _ = want.First(0)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("reader from %d with %d bytes got %d bytes, want %d", from, size, len(got), len(want))
			}
		}
	})
}

// A tardyStore has committed for a while before it says so.
type tardyStore struct{ session.Store }

func (st tardyStore) Append(ctx context.Context, batches []session.Batch) []error {
	errs := st.Store.Append(ctx, batches)
	time.Sleep(time.Second)
	return errs
}

// Readers that read from the store see nothing that is not shown yet: its id
// would be ahead of the log for whoever reconnects with it.
func TestNothingBeforeItIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startOn(t, tardyStore{memstore.New()}, session.Options{MaxLog: 1})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Rune})
		reader, err := s.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"ab", "cd"} {
			if _, _, err := s.Append(t.Context(), session.Append{Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		go s.Append(context.Background(), session.Append{Text: "ef"})
		synctest.Wait()
		w, _, err := reader.Next(t.Context(), 1<<20)
		if last, _, _ := w.Check(0); err != nil || last != s.Status().Last || last != 5 {
			t.Errorf("read to %d, %v, shown is %d, want 5", last, err, s.Status().Last)
		}
		_, more, err := reader.Next(t.Context(), 1<<20)
		if err != nil || more == nil {
			t.Fatalf("Next at the end = %v", err)
		}
		<-more
		if w, _, err := reader.Next(t.Context(), 1<<20); err != nil || reader.At() != 7 {
			t.Errorf("then %q, %v", w, err)
		}
	})
}
