package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// A feed is a source that runs in a goroutine of its own.
type feed struct {
	deltas chan Delta
	broke  error // how the source ended; read it after deltas is closed
	cancel context.CancelCauseFunc
}

// idKey is under which the context of a source has its session's id.
type idKey struct{}

// IDFrom returns the session that a source's context belongs to, for its logs.
func IDFrom(ctx context.Context) (ID, bool) {
	id, ok := ctx.Value(idKey{}).(ID)
	return id, ok
}

// open starts the source. Deltas come until it is at its end or is let go.
func (p *pump) open(ctx context.Context) {
	p.unopened = false
	if p.source == nil {
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, idKey{}, p.s.info.ID))
	f := &feed{deltas: make(chan Delta), cancel: cancel}
	p.feed = f
	p.clock.open()
	deltas := p.startDeltas(ctx)
	p.feeding.Go(func() {
		defer cancel(nil)
		defer close(f.deltas)
		f.broke = f.run(ctx, deltas)
	})
}

// run sends what the source yields, and returns how it ended.
func (f *feed) run(ctx context.Context, deltas iter.Seq2[Delta, error]) error {
	for d, err := range deltas {
		if ctx.Err() != nil {
			return ErrShutdown // however the source took it
		}
		if err != nil {
			return err
		}
		select {
		case f.deltas <- d:
		case <-ctx.Done():
			return ErrShutdown
		}
	}
	return io.ErrUnexpectedEOF // it has no end of its own
}

// startDeltas returns the deltas that are to come next.
func (p *pump) startDeltas(ctx context.Context) iter.Seq2[Delta, error] {
	continuer, _ := p.source.(Continuer)
	if continues := p.s.info.Spec.Continues != (ID{}) && p.check.Cursor == ""; continuer == nil || !p.resumes && !continues {
		return p.source.Deltas(ctx, Position{Bytes: p.check.Position, Cursor: p.check.Cursor})
	}
	p.resumes = false
	last, held := p.status.Last, ""
	if p.kind == KindText {
		held = p.cut.Held()
	}
	return func(yield func(Delta, error) bool) {
		text, _, err := textOf(ctx, p.s.store, p.s.info.ID, last)
		if err != nil {
			yield(Delta{}, fmt.Errorf("read the text to go on from: %w", err))
			return
		}
		text += held
		// A session that continues another may have been paused within its text.
		if given := p.s.info.Spec.Source.Text; len(text) < len(given) {
			for piece := range pieces(given[len(text):]) {
				if !yield(Delta{Kind: deltaGiven, Text: piece}, nil) {
					return
				}
			}
			text = given
		}
		continuer.Continue(ctx, text)(yield)
	}
}

// closeFeed ends the feed. The cause says whether somebody may want the rest.
func (p *pump) closeFeed(cause error) {
	if p.feed != nil {
		p.feed.cancel(cause)
		p.feed = nil
	}
}

// suspend lets the limits of the source stand still, or go on.
func (p *pump) suspend(still bool) {
	if s, ok := p.source.(Suspender); ok {
		s.SetSuspended(still)
	}
}

// wanted returns the source's deltas, or nil while the pump takes none. Our
// own sources wait while the session is paused or has text left to show; an
// upstream is read on into the queue, as far as that may grow.
func (p *pump) wanted() <-chan Delta {
	room := p.idle() && p.status.State == Running
	if p.upstream() {
		room = p.queued < p.limits.hold && (p.status.State == Running || !p.limits.held.over())
	}
	if !room || p.feed == nil {
		return nil
	}
	return p.feed.deltas
}

// take puts a delta into the queue. ok is false when the source is at its end.
func (p *pump) take(d Delta, ok bool) {
	if !ok {
		p.broke = p.feed.broke
		p.feed = nil
		if errors.Is(p.broke, ErrShutdown) {
			return
		}
		d = Delta{Kind: deltaBroken}
	}
	p.queue = append(p.queue, p.clock.arrive(d))
	p.queued += d.size()
	p.limits.held.add(int64(d.size()))
}

// An arrival is a delta and when it came.
type arrival struct {
	Delta
	at    time.Time
	apart bool // the time before it is not the source's
}

// next takes the first delta out of the queue.
func (p *pump) next() arrival {
	d := p.queue[0]
	p.queue[0] = arrival{} // lets go of its text
	p.queue = p.queue[1:]
	p.queued -= d.size()
	p.limits.held.add(-int64(d.size()))
	if len(p.queue) == 0 {
		p.queue = nil
	}
	return d
}

// drop forgets what was taken and is not in frames.
func (p *pump) drop() {
	p.limits.held.add(-int64(p.queued))
	p.queue, p.queued, p.rest, p.drafts = nil, 0, "", nil
}

// Kinds of deltas that no source yields.
const (
	deltaBroken DeltaKind = 255 - iota // how the end of a source without DeltaFinish stands in the queue
	deltaGiven                         // Text: of the session that this one continues
)

func (d Delta) size() int {
	return deltaSize + len(d.Text) + len(d.Call.ID) + len(d.Call.Name) + len(d.Call.Arguments) + len(d.Cursor)
}
