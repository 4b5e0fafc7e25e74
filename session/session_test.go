package session_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

func TestText(t *testing.T) {
	const given = "naïve café 👩‍👩‍👧 日本語\r\nline\n"
	for _, unit := range chunker.Units() {
		synctest.Test(t, func(t *testing.T) {
			m := start(t, session.Options{})
			s := create(t, m, session.Spec{Source: text(given), Unit: unit})
			frames := readAll(t, s, 0)
			if got := join(frames); got != given {
				t.Errorf("%s: text = %q, want %q", unit, got, given)
			}
			var first struct{ ID, Unit string }
			if err := json.Unmarshal(frames[0].Data, &first); err != nil || frames[0].Kind != session.KindSession ||
				first.ID != s.Info().ID.String() || first.Unit != string(unit) {
				t.Errorf("%s: first frame = %q %s", unit, frames[0].Kind, frames[0].Data)
			}
			kind, end := endOf(t, frames)
			if kind != session.KindDone || end.Reason != session.ReasonStop {
				t.Errorf("%s: end = %s %+v, want done: stop", unit, kind, end)
			}
			if unit == chunker.Token && (end.Usage.Source != session.UsageEstimated || *end.Usage.Output < int64(len(frames)-2)) {
				t.Errorf("usage = %+v for %d chunks", end.Usage, len(frames)-2)
			}
			if unit != chunker.Token && end.Usage != (session.Usage{Source: session.UsageNone}) {
				t.Errorf("%s: usage = %+v, want none", unit, end.Usage)
			}
		})
	}
}

// Every reader gets the same frames from wherever it begins, live or later.
func TestReadFromEveryID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: session.SourceSpec{Type: session.SourceGenerate, Seed: 7, Length: 60}, Rate: 100})
		whole := readAll(t, s, 0) // live
		for after := range len(whole) {
			if rest := readAll(t, s, session.FrameID(after)); kinds(rest) != kinds(whole[after:]) {
				t.Fatalf("frames after %d = %q, want %q", after, kinds(rest), kinds(whole[after:]))
			}
		}
		last := session.FrameID(len(whole))
		_, err := s.Read(last + 1)
		if ahead, ok := errors.AsType[*session.AheadError](err); !ok || ahead.Last != last {
			t.Errorf("Read past the end = %v, want an AheadError with last %d", err, last)
		}
		if !s.Finished(last) || s.Finished(last-1) {
			t.Errorf("Finished(%d), Finished(%d) = %t, %t; want true, false", last, last-1, s.Finished(last), s.Finished(last-1))
		}
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: text(strings.Repeat("x", 101)), Unit: chunker.Rune, Rate: 20})
		took := elapsed(func() { readAll(t, s, 0) })
		if want := 5 * time.Second; took != want {
			t.Errorf("101 events at 20 a second took %v, want %v", took, want)
		}
	})
}

func TestPauseIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: text("abcdefgh"), Unit: chunker.Rune, Rate: 10})
		time.Sleep(250 * time.Millisecond) // a, b, c
		for range 2 {                      // the second changes nothing
			if err := s.Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if got := s.Status(); got.State != session.Paused || got.Last != 5 {
			t.Errorf("status after an hour's pause = %v %d, want paused 5", got.State, got.Last)
		}
		for range 2 {
			if err := s.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// What the pause took is not caught up.
		if took, want := elapsed(func() { readAll(t, s, 0) }), 500*time.Millisecond; took != want {
			t.Errorf("the other 5 events took %v, want %v", took, want)
		}
		if got, want := kinds(readAll(t, s, 0)), "session|a|b|c|paused|resumed|d|e|f|g|h|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

func TestHoldReadsOnWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up, MaxHold: 250})
		s := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Rune})
		up.text("ab")
		synctest.Wait()
		if err := s.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		up.text("cdefgh")
		up.text("ijklmn") // now two deltas take more than that, so no more are read
		synctest.Wait()
		sent := make(chan struct{})
		go func() {
			up.text("o")
			close(sent)
		}()
		// One is on its way in the feeder; the source is not asked for another.
		<-sent
		go up.finish()
		time.Sleep(time.Hour)
		if got := s.Status(); got.State != session.Paused || got.Last != 4 {
			t.Fatalf("status after an hour's pause = %v %d, want paused 4", got.State, got.Last)
		}
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := kinds(readAll(t, s, 0)), "session|a|b|paused|resumed|c|d|e|f|g|h|i|j|k|l|m|n|o|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec})
		up.text("Hello wor")
		synctest.Wait()
		for range 3 { // from anywhere, as often as one likes
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		select {
		case <-up.left:
		default:
			t.Error("the source is still being read after stop")
		}
		frames := readAll(t, s, 0)
		kind, end := endOf(t, frames)
		if join(frames) != "Hello wor" || kind != session.KindStopped || end.Reason != session.ReasonStopped {
			t.Errorf("frames = %s %+v, want all that had come, and stopped", kinds(frames), end)
		}
		if err := s.Pause(t.Context()); !isEnded(err, session.Stopped) {
			t.Errorf("Pause after stop = %v, want an EndedError", err)
		}
	})
}

func isEnded(err error, state session.State) bool {
	ended, ok := errors.AsType[*session.EndedError](err)
	return ok && ended.State == state
}

// Who stops a paced or paused text wants no more of it.
func TestStopShowsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: text("abcdefgh"), Unit: chunker.Rune, Rate: 10})
		time.Sleep(250 * time.Millisecond)
		s.Pause(t.Context())
		s.Stop(t.Context())
		if got, want := kinds(readAll(t, s, 0)), "session|a|b|c|paused|stopped"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

func TestStopOfAPausedUpstreamShowsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line})
		up.text("one\n")
		synctest.Wait()
		s.Pause(t.Context())
		up.text("no line yet") // held by the chunker, not by the queue
		synctest.Wait()
		s.Stop(t.Context())
		if got, want := kinds(readAll(t, s, 0)), "session|one\n|paused|stopped"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

// A terminal state is never invented: law 3.
func TestBrokenSource(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want session.Failure
	}{
		"with a reason": {&session.Failure{Code: "upstream_truncated", Message: "cut\u2028off"}, session.Failure{Code: "upstream_truncated", Message: "cut\u2028off"}},
		"secret":        {errors.New("Bearer sk-123"), session.Failure{Code: session.CodeSourceFailed, Message: "the source of the text broke off"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			up := newScript()
			m := start(t, session.Options{Upstreams: up})
			s := create(t, m, session.Spec{Source: upstreamSpec})
			up.text("Hello wor")
			up.fail <- test.err
			frames := readAll(t, s, 0)
			kind, end := endOf(t, frames)
			if kind != session.KindFailed || *end.Error != test.want || join(frames) != "Hello wor" {
				t.Errorf("%s: %s, end = %+v; want %+v", name, kinds(frames), end, test.want)
			}
			if got := s.Status(); got.State != session.Failed || *got.End.Error != test.want {
				t.Errorf("%s: status = %v %+v", name, got.State, got.End)
			}
		})
	}
}

// A log that reaches its limit says so, and what is in it stays.
func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxBytes: 2000})
		s := create(t, m, session.Spec{Source: text(strings.Repeat("x", 1000)), Unit: chunker.Rune})
		frames := readAll(t, s, 0)
		if _, end := endOf(t, frames); end.Error == nil || end.Error.Code != session.CodeSessionFull {
			t.Errorf("end = %+v, want %s", end, session.CodeSessionFull)
		}
		if n := len(join(frames)); n < 30 || n > 90 {
			t.Errorf("%d characters in a log of 2000 bytes", n)
		}
	})
}

func TestMaxTotalBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxTotalBytes: 10_000})
		spec := session.Spec{Source: text(strings.Repeat("x", 1000)), Unit: chunker.Rune, Rate: 100}
		s := create(t, m, spec)
		if _, end := endOf(t, readAll(t, s, 0)); end.Error == nil || end.Error.Code != session.CodeRelayFull {
			t.Errorf("end = %+v, want %s", end, session.CodeRelayFull)
		}
		full := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
		if _, err := m.Get(t.Context(), me, s.Info().ID); !isGone(err, session.Evicted) {
			t.Errorf("Get of the ended session that made room = %v, want evicted", err)
		}
		if _, _, err := full.Append(t.Context(), session.Append{Text: strings.Repeat("x", 8000)}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Create(t.Context(), me, spec); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("Create at the limit = %v, want ErrOverloaded", err)
		}
		if err := m.Delete(t.Context(), me, full.Info().ID); err != nil {
			t.Fatal(err)
		}
		create(t, m, spec) // the room is back
	})
}

func isGone(err error, why session.GoneReason) bool {
	gone, ok := errors.AsType[*session.GoneError](err)
	return ok && gone.Reason == why
}

func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m := startOn(t, st, session.Options{})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Line})
		for _, a := range []session.Append{
			{Text: "one\ntw"},
			{Text: ""},
			{Text: "o\nthr"},
			{Event: "message", Data: json.RawMessage("{ \"body\": \"\u0085\" }")},
			{Text: "ee"},
		} {
			if _, _, err := s.Append(t.Context(), a); err != nil {
				t.Fatalf("Append(%+v) = %v", a, err)
			}
		}
		// Acknowledged text that is in no frame yet is committed all the same.
		record, err := st.Load(t.Context(), s.Info().ID)
		if err != nil || record.Checkpoint.Held != "ee" || record.Last != 5 {
			t.Errorf("stored = %+v to %d, %v; want held \"ee\" to 5", record.Checkpoint, record.Last, err)
		}
		for range 2 {
			if err := s.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		frames := readAll(t, s, 0)
		if got, want := kinds(frames), "session|one\n|two\n|thr|message|ee|done"; got != want {
			t.Errorf("frames = %q, want %q", got, want)
		}
		if got, want := string(frames[4].Data), `{"body":"\u0085"}`; got != want {
			t.Errorf("event = %s, want %s", got, want)
		}
		if _, _, err := s.Append(t.Context(), session.Append{Text: "x"}); !isEnded(err, session.Done) {
			t.Errorf("Append after the end = %v, want an EndedError", err)
		}
	})
}

func TestProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		m := startOn(t, st, session.Options{})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Delta})
		add := func(producer string, seq uint64, text string) (bool, error) {
			_, repeated, err := s.Append(t.Context(), session.Append{Text: text, Producer: producer, Seq: seq})
			return repeated, err
		}
		for _, test := range []struct {
			producer string
			seq      uint64
			repeated bool
			want     uint64 // of the SequenceError, 0 for none
		}{
			{"a", 1, false, 0},
			{"b", 2, false, 1},
			{"b", 1, false, 0},
			{"a", 2, false, 0},
			{"a", 2, true, 0},
			{"a", 1, true, 0},
			{"a", 4, false, 3},
			{"a", 3, false, 0},
		} {
			repeated, err := add(test.producer, test.seq, test.producer)
			sequence, _ := errors.AsType[*session.SequenceError](err)
			if repeated != test.repeated || (sequence != nil) != (test.want != 0) || sequence != nil && sequence.Want != test.want {
				t.Errorf("append %s %d = repeated %t, %v; want %t, expected seq %d", test.producer, test.seq, repeated, err, test.repeated, test.want)
			}
		}
		if record, _ := st.Load(t.Context(), s.Info().ID); record.Checkpoint.Producers["a"] != 3 || record.Checkpoint.Producers["b"] != 1 {
			t.Errorf("stored producers = %v", record.Checkpoint.Producers)
		}
		s.Finish(t.Context())
		// The answer to the last append may have been lost.
		if repeated, err := add("a", 3, "a"); !repeated || err != nil {
			t.Errorf("the last append again after the end = %t, %v; want repeated", repeated, err)
		}
		if got, want := kinds(readAll(t, s, 0)), "session|a|b|a|a|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
	})
}

func TestTooManyProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: push})
		for i := range session.MaxProducers + 1 {
			_, _, err := s.Append(t.Context(), session.Append{Text: "x", Producer: string(rune('A' + i)), Seq: 1})
			if _, invalid := errors.AsType[*session.InvalidError](err); invalid != (i == session.MaxProducers) {
				t.Fatalf("producer %d = %v", i+1, err)
			}
		}
	})
}

// A repeated append is answered even while new ones are refused.
func TestRepeatedAppendWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: push})
		a := session.Append{Text: "x", Producer: "p", Seq: 1}
		s.Append(t.Context(), a)
		s.Pause(t.Context())
		if _, repeated, err := s.Append(t.Context(), a); !repeated || err != nil {
			t.Errorf("the same append while paused = %t, %v; want repeated", repeated, err)
		}
	})
}

// Commands grow a log too.
func TestCommandsReachTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxBytes: 1000})
		s := create(t, m, session.Spec{Source: push})
		var err error
		for n := 0; err == nil && n < 1000; n++ {
			if err = s.Pause(t.Context()); err == nil {
				err = s.Resume(t.Context())
			}
		}
		if kind, end := endOf(t, readAll(t, s, 0)); !isEnded(err, session.Failed) || kind != session.KindFailed || end.Error.Code != session.CodeSessionFull {
			t.Errorf("after many pauses: %v, %s %+v; want it full", err, kind, end)
		}
	})
}

// One turn of the pump takes a bounded number of things; what is left of them
// needs no further event to be done.
func TestManyCommandsAtOnce(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			up := newScript()
			st := &slowStore{Store: memstore.New()}
			m := startOn(t, st, session.Options{Upstreams: up})
			s := create(t, m, session.Spec{Source: upstreamSpec})
			up.text("Hello world")
			synctest.Wait() // the pump is in a commit
			for range 256 {
				go s.Resume(t.Context())
			}
			go up.finish()
			time.Sleep(time.Hour)
			if got := s.Status().State; got != session.Done {
				t.Fatalf("an hour later the session is %s, want done", got)
			}
		})
	}
}

// An append that reaches the limit is refused, but what was acknowledged
// before it is shown.
func TestFullPushSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxBytes: 1000})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Line})
		acknowledged := ""
		var err error
		for err == nil {
			_, _, err = s.Append(t.Context(), session.Append{Text: "some\nli"})
			if err == nil {
				acknowledged += "some\nli"
			}
		}
		if !errors.Is(err, session.ErrFull) {
			t.Fatalf("Append at the limit = %v, want ErrFull", err)
		}
		frames := readAll(t, s, 0)
		if got := join(frames); !strings.HasPrefix(got, acknowledged) {
			t.Errorf("text = %q, which does not begin with what was acknowledged: %q", got, acknowledged)
		}
		if _, end := endOf(t, frames); end.Error == nil || end.Error.Code != session.CodeSessionFull {
			t.Errorf("end = %+v", end)
		}
	})
}

func TestAppendRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{})
		s := create(t, m, session.Spec{Source: push})
		huge := json.RawMessage(`"` + strings.Repeat("x", session.MaxFrame) + `"`)
		for name, a := range map[string]session.Append{
			"our own name":     {Event: session.KindDone, Data: json.RawMessage("{}")},
			"error":            {Event: "error", Data: json.RawMessage("{}")},
			"name with a LF":   {Event: "a\nb", Data: json.RawMessage("{}")},
			"long name":        {Event: session.Kind(strings.Repeat("x", 65)), Data: json.RawMessage("{}")},
			"no data":          {Event: "message"},
			"no name":          {Data: json.RawMessage("{}")},
			"text and event":   {Text: "x", Event: "message", Data: json.RawMessage("{}")},
			"data not JSON":    {Event: "message", Data: json.RawMessage("{")},
			"invalid UTF-8":    {Text: "a\xff"},
			"seq alone":        {Text: "a", Seq: 1},
			"producer alone":   {Text: "a", Producer: "p"},
			"long producer":    {Text: "a", Producer: strings.Repeat("p", 129), Seq: 1},
			"too large a data": {Event: "message", Data: huge},
		} {
			_, _, err := s.Append(t.Context(), a)
			_, invalid := errors.AsType[*session.InvalidError](err)
			_, tooLarge := errors.AsType[*session.TooLargeError](err)
			if !invalid && !tooLarge || tooLarge != (name == "too large a data") {
				t.Errorf("%s: Append = %v", name, err)
			}
		}
		s.Pause(t.Context())
		if _, _, err := s.Append(t.Context(), session.Append{Text: "x", Producer: "p", Seq: 1}); !errors.Is(err, session.ErrPaused) {
			t.Errorf("Append while paused = %v, want ErrPaused", err)
		}
		if err := s.Finish(t.Context()); !errors.Is(err, session.ErrPaused) {
			t.Errorf("Finish while paused = %v, want ErrPaused", err)
		}
		s.Resume(t.Context())
		if _, repeated, err := s.Append(t.Context(), session.Append{Text: "x", Producer: "p", Seq: 1}); repeated || err != nil {
			t.Errorf("the same append after resume = %t, %v; want it taken", repeated, err)
		}
		if err := create(t, m, session.Spec{Source: text("x")}).Finish(t.Context()); !errors.Is(err, session.ErrNotPush) {
			t.Errorf("Finish of a text session = %v, want ErrNotPush", err)
		}
		other := create(t, m, session.Spec{Source: text("still running"), Unit: chunker.Rune, Rate: 1})
		if _, _, err := other.Append(t.Context(), session.Append{Text: "x"}); !errors.Is(err, session.ErrNotPush) {
			t.Errorf("Append to a text session = %v, want ErrNotPush", err)
		}
	})
}

// A reader that leaves changes nothing for the others: laws 5 and 6.
func TestReadersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxReaders: 2})
		s := create(t, m, session.Spec{Source: push})
		a, _ := s.Read(0)
		b, _ := s.Read(0)
		if _, err := s.Read(0); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("third Read = %v, want ErrOverloaded", err)
		}
		if got := s.Status().Readers; got != 2 {
			t.Errorf("readers = %d, want 2", got)
		}
		a.Close()
		a.Close()
		b.Close()
		if got := s.Status().Readers; got != 0 {
			t.Errorf("readers after both left = %d, want 0", got)
		}
		if state := s.Status().State; state != session.Running {
			t.Errorf("state after all readers left = %v, want running", state)
		}
	})
}

func TestShutdownInventsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := run(t, memstore.New(), session.Options{})
		s := create(t, m, session.Spec{Source: text("abc"), Unit: chunker.Rune, Rate: 1})
		stop()
		frames, err := read(t, s, 0, func(session.Frame) bool { return false })
		if err == io.EOF || frames[len(frames)-1].Kind.Terminal() {
			t.Errorf("frames of a session that was cut short = %s, %v; want no end", kinds(frames), err)
		}
		if err := s.Stop(t.Context()); !errors.Is(err, session.ErrShutdown) {
			t.Errorf("Stop after the shutdown = %v, want ErrShutdown", err)
		}
	})
}
