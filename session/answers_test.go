package session_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// A tape is an answer whose deltas are known, and can be read on from any of
// them: the provider writes it whether somebody listens or not.
type tape struct {
	deltas  []session.Delta
	started atomic.Int64
}

func (p *tape) Open(session.SourceSpec) (session.Source, error) { return p, nil }

func (p *tape) Deltas(ctx context.Context, from session.Position) iter.Seq2[session.Delta, error] {
	at := 0
	if from.Cursor != "" {
		at, _ = strconv.Atoi(from.Cursor)
	} else {
		p.started.Add(1)
	}
	return func(yield func(session.Delta, error) bool) {
		for i, d := range p.deltas[at:] {
			time.Sleep(time.Millisecond)
			if d.Kind != session.DeltaFinish {
				d.Cursor = strconv.Itoa(at + i + 1)
			}
			if ctx.Err() != nil {
				yield(session.Delta{}, context.Cause(ctx))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

func newTape(random *rand.Rand) *tape {
	alphabet := []string{"a", "the ", "Un", "believ", "able", " ", "\n", "\r\n", "é", "e\u0301", "👩", "\u200d", "👧", "🇩", "🇪", "日本", "12", "'s", "𝒳", "\u0301\u0301"}
	p := new(tape)
	add := func(d session.Delta) { p.deltas = append(p.deltas, d) }
	add(session.Delta{Kind: session.DeltaCursor})
	for range random.IntN(60) {
		var text strings.Builder
		for range 1 + random.IntN(4) {
			text.WriteString(strings.Repeat(alphabet[random.IntN(len(alphabet))], 1+random.IntN(1+random.IntN(2)*random.IntN(300))))
		}
		switch kind := random.IntN(12); kind {
		case 0:
			add(session.Delta{Kind: session.DeltaReasoning, Text: text.String()})
		case 1:
			add(session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: 1, Arguments: text.String()}})
		case 2:
			add(session.Delta{Kind: session.DeltaCursor})
		default:
			add(session.Delta{Text: text.String()})
		}
	}
	add(session.Delta{Kind: session.DeltaFinish, Reason: session.ReasonStop})
	return p
}

// Whatever an answer holds, wherever processes end meanwhile and whenever it is
// paused: its log, pauses apart, is that of one that nothing happened to, and
// it was paid for once. A failure is repeated with PROGRAM_SEED.
func TestRandomAnswers(t *testing.T) {
	crashes := 0
	eachSeed(t, func(seed uint64) {
		random := rand.New(rand.NewPCG(seed, 2))
		units := chunker.Units()
		spec := session.Spec{Source: upstreamSpec, Unit: units[random.IntN(len(units))]}
		up := newTape(random)
		var want string
		synctest.Test(t, func(t *testing.T) {
			want = kinds(readAll(t, create(t, start(t, session.Options{Upstreams: up}), spec), 0))
		})
		up.started.Store(0)
		synctest.Test(t, func(t *testing.T) {
			got, n := crashingAnswer(t, up, spec, random)
			if crashes += n; got != want || up.started.Load() != 1 {
				t.Errorf("PROGRAM_SEED=%d: unit %s after %d crashes, %d generations: frames = %q, want %q", seed, spec.Unit, n, up.started.Load(), got, want)
			}
		})
	})
	t.Logf("%d crashes", crashes)
}

func crashingAnswer(t *testing.T, up *tape, spec session.Spec, random *rand.Rand) (log string, crashes int) {
	kept := memstore.New()
	process := func() (*session.Manager, func()) {
		return run(t, &crashStore{Store: kept, left: 1 + random.IntN(30), untold: random.IntN(2) == 0}, session.Options{Upstreams: up, MaxLog: 1})
	}
	m, stop := process()
	s := create(t, m, spec)
	id := s.Info().ID
	time.Sleep(1500 * time.Microsecond) // its cursor is kept from here on
	synctest.Wait()
	for {
		for _, ask := range []func(context.Context) error{s.Pause, s.Resume} {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			ask(t.Context())
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		synctest.Wait()
		if s.Status().State.Terminal() {
			break
		}
		for stop(); ; stop() {
			crashes++
			m, stop = process()
			if err := m.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			var err error
			if s, err = m.Get(t.Context(), me, id); !errors.Is(err, session.ErrElsewhere) {
				must(t, err)
				break // else it crashed in its first commit
			}
		}
	}
	var frames []session.Frame
	for _, f := range readAll(t, s, 0) {
		if f.Kind != session.KindPaused && f.Kind != session.KindResumed {
			frames = append(frames, f)
		}
	}
	stop()
	return kinds(frames), crashes
}
