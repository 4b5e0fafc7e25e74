package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// A tally counts what Events tell, by name.
type tally struct {
	mu     sync.Mutex // guards the fields below
	counts map[string]int
	order  []string
}

func (c *tally) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[name] += n
	c.order = append(c.order, name)
}

func (c *tally) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

func (c *tally) events() session.Events {
	return session.Events{
		Started:   func(source session.SourceType) { c.add("started "+string(source), 1) },
		Committed: func(frames, bytes int) { c.add("frames", frames); c.add("bytes", bytes) },
		Capped: func(unit chunker.Unit, encoding string, units uint64) {
			c.add(strings.TrimSpace(fmt.Sprintf("capped %s %s", unit, encoding)), int(units))
		},
		Ended: func(state session.State, _ string) { c.add("ended "+string(state), 1) },
	}
}

// Units that reach their longest length are counted.
func TestEventsCapped(t *testing.T) {
	for _, test := range []struct {
		unit chunker.Unit
		text string
		want int
	}{
		{chunker.Grapheme, "a" + strings.Repeat("\u0301", 1000), 7}, // 2,001 bytes in 256
		{chunker.Line, strings.Repeat("x", 10_000), 2},              // in 4 KiB
		{chunker.Word, strings.Repeat("x", 1_500), 2},               // in 512 bytes
		{chunker.Token, "亚洲" + strings.Repeat("AV", 2000), 1},       // whose first token is not known before the end
		{chunker.Grapheme, "a" + strings.Repeat("\u0301", 10), 0},
		{chunker.Rune, strings.Repeat("x", 10_000), 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var c tally
			m := start(t, session.Options{Events: c.events()})
			s := create(t, m, session.Spec{Source: text(test.text), Unit: test.unit})
			frames := readAll(t, s, 0)
			if join(frames) != test.text {
				t.Error("the text is another")
			}
			synctest.Wait()
			bytes := 0
			for _, f := range frames {
				bytes += len(f.AppendWire(nil))
			}
			capped := strings.TrimSpace("capped " + string(test.unit) + " " + s.Info().Spec.Encoding)
			for name, want := range map[string]int{capped: test.want, "started text": 1, "ended done": 1, "frames": len(frames), "bytes": bytes} {
				if got := c.count(name); got != want {
					t.Errorf("%s: %s = %d, want %d", test.unit, name, got, want)
				}
			}
			if first, last := c.order[0], c.order[len(c.order)-1]; first != "started text" || last != "ended done" {
				t.Errorf("%s: told %q first and %q last", test.unit, first, last)
			}
		})
	}
}

// They are counted when their text is seen, not when it was cut.
func TestEventsCappedWhenCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tally
		m := start(t, session.Options{Events: c.events()})
		s := create(t, m, session.Spec{Source: text("a" + strings.Repeat("\u0301", 1000)), Unit: chunker.Grapheme, Rate: 1})
		for range 9 {
			synctest.Wait()
			// What begins behind it is open.
			if got, shown := c.count("capped grapheme"), int(s.Status().Last)-1; got != min(shown, 7) {
				t.Errorf("%d units are counted and %d shown", got, shown)
			}
			time.Sleep(time.Second)
		}
	})
	// What was cut and is dropped unseen is not counted.
	synctest.Test(t, func(t *testing.T) {
		var c tally
		m := start(t, session.Options{Events: c.events()})
		s := create(t, m, session.Spec{Source: text("a\n" + strings.Repeat("x", 100_000)), Unit: chunker.Line, Rate: 1})
		synctest.Wait()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, ended := c.count("capped line"), c.count("ended stopped"); got != 0 || ended != 1 {
			t.Errorf("after the first line %d units are counted, ended %d; want 0 and 1", got, ended)
		}
	})
}

// A limit and a pause leave the count that of what is seen.
func TestEventsCappedAndUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tally
		m := start(t, session.Options{Events: c.events(), MaxBytes: 10_000})
		s := create(t, m, session.Spec{Source: text(strings.Repeat("x", 100_000)), Unit: chunker.Line})
		shown := len(readAll(t, s, 0)) - 2 // beside session and failed
		synctest.Wait()
		if got := c.count("capped line"); got != shown || shown < 2 || c.count("ended failed") != 1 {
			t.Errorf("at the limit %d units are counted and %d shown", got, shown)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var c tally
		m := start(t, session.Options{Events: c.events()})
		s := create(t, m, session.Spec{Source: text(strings.Repeat("x", 10_000)), Unit: chunker.Line, Rate: 1})
		synctest.Wait()
		if err := s.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := c.count("capped line"); got != 1 {
			t.Errorf("paused after the first line %d units are counted, want 1", got)
		}
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		readAll(t, s, 0)
		if got := c.count("capped line"); got != 2 {
			t.Errorf("at the end %d units are counted, want 2", got)
		}
	})
}

// A push session's are counted with the append that cuts them.
func TestEventsOfPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tally
		m := start(t, session.Options{Events: c.events()})
		s := create(t, m, session.Spec{Source: push, Unit: chunker.Line})
		for i, want := range []int{0, 0, 1, 1, 2} { // a line is 4,096 bytes at most
			if _, _, err := s.Append(t.Context(), session.Append{Text: strings.Repeat("x", 2000)}); err != nil {
				t.Fatal(err)
			}
			if got := c.count("capped line"); got != want {
				t.Errorf("after append %d capped = %d, want %d", i+1, got, want)
			}
		}
		if err := s.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.count("ended done"); got != 1 {
			t.Errorf("ended = %d, want 1", got)
		}
	})
}

// Broken off is no end.
func TestEventsOfBrokenSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tally
		st := &slowStore{Store: memstore.New()}
		m, stop := run(t, st, session.Options{Events: c.events()})
		refused := create(t, m, session.Spec{Source: push, Unit: chunker.Line})
		unended := create(t, m, session.Spec{Source: push})
		paused := create(t, m, session.Spec{Source: push})
		if err := paused.Pause(context.Background()); err != nil {
			t.Fatal(err)
		}
		frames := c.count("frames")
		dead := errors.New("disk on fire")
		st.fail.Store(&dead)
		if _, _, err := refused.Append(t.Context(), session.Append{Text: strings.Repeat("x", 5000)}); !errors.Is(err, dead) {
			t.Fatal(err)
		}
		if err := unended.Finish(t.Context()); !errors.Is(err, dead) {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		for name, want := range map[string]int{"started push": 3, "ended running": 2, "ended done": 0, "ended paused": 1, "capped line": 0, "frames": frames} {
			if got := c.count(name); got != want {
				t.Errorf("%s = %d, want %d", name, got, want)
			}
		}
	})
}

func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxSessions: 10, MaxReaders: 20, MaxTotalBytes: 1 << 20, MaxUnread: 5, MaxTotalHold: 6})
		want := session.Use{MaxSessions: 10, MaxReaders: 20, MaxTotalBytes: 1 << 20, MaxUnread: 5, MaxTotalHold: 6}
		if got := m.Use(); got != want {
			t.Errorf("before: %+v, want %+v", got, want)
		}
		s := create(t, m, session.Spec{Source: text("abc"), Unit: chunker.Rune})
		bytes := s.Info().Size
		for _, f := range readAll(t, s, 0) {
			bytes += int64(len(f.AppendWire(nil)))
		}
		r, err := s.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		want.Ended, want.InMemory, want.Readers, want.Bytes = 1, 1, 1, bytes
		if got := m.Use(); got != want {
			t.Errorf("with a session and a reader: %+v, want %+v", got, want)
		}
		r.Close()
		if err := m.Delete(t.Context(), me, s.Info().ID); err != nil {
			t.Fatal(err)
		}
		want.Ended, want.InMemory, want.Readers, want.Bytes = 0, 0, 0, 0
		if got := m.Use(); got != want {
			t.Errorf("after: %+v, want %+v", got, want)
		}
	})
}
