package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// A step is one thing that a client asks of a push session. Asked again it
// changes nothing.
type step func(t *testing.T, s *session.Session) error

// program makes a random one for a unit, with runs that reach its cap.
func program(random *rand.Rand) (steps []step) {
	alphabet := []string{"a", "the ", "Un", "believ", "able", " ", "\n", "\r", "\r\n", "é", "e\u0301", "👩", "\u200d", "👧", "🇩", "🇪", "日本", "12", "3.4", "'s", "\t\t", "-", "𝒳", "\u0301\u0301"}
	seq := uint64(0)
	for range 1 + random.IntN(30) {
		switch random.IntN(10) {
		case 0:
			steps = append(steps,
				func(t *testing.T, s *session.Session) error { return s.Pause(t.Context()) },
				func(t *testing.T, s *session.Session) error { return s.Resume(t.Context()) })
			continue
		case 1:
			seq++
			a := session.Append{Event: "note", Data: []byte(strconv.Itoa(len(steps))), Producer: "p", Seq: seq}
			steps = append(steps, appending(a))
			continue
		}
		var text strings.Builder
		for range random.IntN(8) {
			piece := alphabet[random.IntN(len(alphabet))]
			text.WriteString(strings.Repeat(piece, 1+random.IntN(1+random.IntN(3)*random.IntN(400))))
		}
		seq++
		steps = append(steps, appending(session.Append{Text: text.String(), Producer: "p", Seq: seq}))
	}
	return append(steps, func(t *testing.T, s *session.Session) error { return s.Finish(t.Context()) })
}

func appending(a session.Append) step {
	return func(t *testing.T, s *session.Session) error {
		_, _, err := s.Append(t.Context(), a)
		return err
	}
}

// Whatever a session is asked and wherever processes end meanwhile, a commit
// done or not: its log is that of one that nothing happened to. A failure is
// repeated with PROGRAM_SEED.
func TestRandomPrograms(t *testing.T) {
	crashes := 0
	eachSeed(t, func(seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		units := chunker.Units()
		spec := session.Spec{Source: push, Unit: units[random.IntN(len(units))]}
		if spec.Unit == chunker.Token {
			spec.Encoding = chunker.Encodings()[random.IntN(len(chunker.Encodings()))]
		}
		steps := program(random)
		var want string
		synctest.Test(t, func(t *testing.T) {
			s := create(t, start(t, session.Options{}), spec)
			for _, step := range steps {
				if err := step(t, s); err != nil {
					t.Fatal(err)
				}
			}
			want = kinds(readAll(t, s, 0))
		})
		synctest.Test(t, func(t *testing.T) {
			got, n := crashing(t, spec, steps, random)
			if crashes += n; got != want {
				t.Errorf("PROGRAM_SEED=%d: unit %s %s after %d crashes: frames = %q, want %q", seed, spec.Unit, spec.Encoding, n, got, want)
			}
		})
	})
	t.Logf("%d crashes", crashes)
}

// eachSeed calls do for as many seeds as are wanted, or until it fails; from
// PROGRAM_SEED on, if it is set.
func eachSeed(t *testing.T, do func(seed uint64)) {
	first, wanted := rand.Uint64(), uint64(programsWanted)
	if testing.Short() {
		wanted /= 5
	}
	if seed, err := strconv.ParseUint(os.Getenv("PROGRAM_SEED"), 10, 64); err == nil {
		first = seed
	}
	for seed := first; seed < first+wanted && !t.Failed(); seed++ {
		do(seed)
	}
	t.Logf("%d from seed %d", wanted, first)
}

// crashing runs the steps over random crashes, each again until it has an
// answer, and returns the log.
func crashing(t *testing.T, spec session.Spec, steps []step, random *rand.Rand) (log string, crashes int) {
	kept := memstore.New()
	options := session.Options{MaxLog: []int{1, 300, 0}[random.IntN(3)]}
	process := func(left int) (*session.Manager, func()) {
		return run(t, &crashStore{Store: kept, left: left, untold: random.IntN(2) == 0}, options)
	}
	m, stop := process(random.IntN(2 * len(steps)))
	s := create(t, m, spec)
	id := s.Info().ID
	for i := 0; i < len(steps); {
		err := steps[i](t, s)
		if _, ended := errors.AsType[*session.EndedError](err); err == nil || ended && i == len(steps)-1 {
			i++
			continue
		}
		stop()
		for crashes++; ; crashes++ {
			m, stop = process(random.IntN(2 * len(steps)))
			if err := m.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err = m.Get(t.Context(), me, id); !errors.Is(err, session.ErrElsewhere) {
				break // else it crashed in its first commit
			}
			stop()
		}
		if err != nil {
			t.Fatal(fmt.Errorf("after %d crashes: %w", crashes, err))
		}
	}
	log = kinds(readAll(t, s, 0))
	stop()
	return log, crashes
}
