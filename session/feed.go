package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// A feed is a source that runs in a goroutine of its own.
type feed struct {
	deltas chan Delta
	broke  error // how the source ended; read it after deltas is closed
	cancel context.CancelCauseFunc
}

// open starts the source. Deltas come until it is at its end or is let go.
func (p *pump) open(ctx context.Context) {
	p.unopened = false
	if p.source == nil {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	f := &feed{deltas: make(chan Delta), cancel: cancel}
	p.feed, p.deltas = f, f.deltas
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
	given := p.s.info.Spec.Source.Text
	switch goesOn, _ := p.source.(Continuer); {
	case p.resumes && goesOn != nil:
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
			goesOn.Continue(ctx, text+held)(yield)
		}
	case p.s.info.Spec.Continues != (ID{}) && p.check.Cursor == "" && goesOn != nil:
		return func(yield func(Delta, error) bool) {
			for piece := range pieces(given) {
				if !yield(Delta{Kind: deltaGiven, Text: piece}, nil) {
					return
				}
			}
			goesOn.Continue(ctx, given)(yield)
		}
	}
	return p.source.Deltas(ctx, Position{Bytes: p.check.Position, Cursor: p.check.Cursor})
}

// closeFeed ends the feed. The cause says whether somebody may want the rest.
func (p *pump) closeFeed(cause error) {
	if p.feed != nil {
		p.feed.cancel(cause)
		p.feed, p.deltas = nil, nil
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
		room = p.queued < p.limits.hold && (p.queued == 0 || !p.limits.held.over())
	}
	if !room {
		return nil
	}
	return p.deltas
}

// take puts a delta into the queue. ok is false when the source is at its end.
func (p *pump) take(d Delta, ok bool) {
	if !ok {
		p.broke = p.feed.broke
		p.feed, p.deltas = nil, nil
		if errors.Is(p.broke, ErrShutdown) {
			return
		}
		d = Delta{Kind: deltaBroken}
	}
	p.clock.take(d)
	p.queue = append(p.queue, d)
	p.queued += d.size()
	p.limits.held.add(int64(d.size()))
}

// next takes the first delta out of the queue.
func (p *pump) next() Delta {
	d := p.queue[0]
	p.queue[0] = Delta{} // lets go of its text
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

// A clock measures how the tokens of an upstream come.
type clock struct {
	check *Checkpoint
	asked time.Time // when it was asked
	last  time.Time // when the last token came; zero if the time since is not its own
}

func (c *clock) open() { c.asked, c.last = time.Now(), time.Time{} }

// pass says that time passed which is not the upstream's.
func (c *clock) pass() { c.last = time.Time{} }

func (c *clock) take(d Delta) {
	at := time.Now()
	switch d.Kind {
	case deltaGiven:
		c.asked = at
		return
	case DeltaText, DeltaReasoning, DeltaToolCall:
	default:
		return
	}
	if c.check.FirstToken == 0 {
		c.check.FirstToken = max(at.Sub(c.asked).Truncate(time.Microsecond), time.Microsecond)
	}
	if !c.last.IsZero() {
		c.check.Streaming += at.Sub(c.last).Truncate(time.Microsecond)
	}
	c.last = at
}

// textOf returns the text of a session's frames up to last, and whether it has
// called tools.
func textOf(ctx context.Context, store Store, id ID, last FrameID) (text string, called bool, err error) {
	var all strings.Builder
	for after := FrameID(0); after < last; {
		w, err := store.Read(ctx, id, after, rebuildSize)
		if err == nil && len(w) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", false, err
		}
		for f := range w.Frames() {
			if f.ID > last {
				break
			}
			after = f.ID
			switch f.Kind {
			case KindText:
				all.WriteString(f.Text())
			case KindToolCall:
				called = true
			}
		}
	}
	return all.String(), called, nil
}
