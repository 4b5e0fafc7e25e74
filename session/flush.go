package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// storePatience is how long a commit may take before those who wait for it are
// told so, and before the session ends with it.
const storePatience = 5 * time.Second

// flush commits what has been gathered, shows it, and gives the answers. It
// ends a session whose store has no room, or was away for too long.
func (p *pump) flush(ctx context.Context) error {
	var err error
	if len(p.ends) > 0 || p.changed {
		err = p.commit(ctx)
	}
	p.answer(err)
	switch ended := p.status.State.Terminal(); {
	case errors.Is(err, ErrNoSpace) && !ended:
		full := &Failure{CodeStoreFull, "the disk that keeps the session is full"}
		return p.giveUp(ctx, draft{kind: KindFailed, reason: ReasonError, failure: full})
	case err == nil && p.overdue && !ended:
		p.overdue = false
		p.fail(&Failure{CodeStoreFailed, fmt.Sprintf("the session could not be kept for more than %v", storePatience)})
		return p.flush(ctx)
	}
	return err
}

// answer answers the commands that wait for a commit.
func (p *pump) answer(err error) {
	for _, answer := range p.answers {
		answer(err)
	}
	clear(p.answers)
	p.answers = p.answers[:0]
}

func (p *pump) commit(ctx context.Context) error {
	p.status.Usage, p.status.Timings = p.usage(), p.timings()
	p.status.resumable = p.resumable()
	p.hold()
	err := p.await(ctx, p.write(Batch{
		ID:         p.s.info.ID,
		Token:      p.token,
		After:      p.status.Last - FrameID(len(p.ends)),
		Last:       p.status.Last,
		Frames:     p.wire,
		State:      p.status.State,
		Checkpoint: p.check,
	}))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	p.size += int64(len(p.wire))
	p.limits.total.add(int64(len(p.wire)))
	if p.status.State.Terminal() {
		p.retire(p.s, p.status, p.size) // who sees the end finds its place free
	}
	p.s.commit(p.wire, p.ends, p.status)
	p.tell()
	p.kept, p.active = standing{p.status, p.check}, time.Now()
	p.wire, p.ends, p.changed = p.wire[:0], p.ends[:0], false
	if cap(p.wire) > MaxFrame {
		p.wire, p.ends = nil, nil // a burst's room is not kept
	}
	return nil
}

// hold puts what the chunker holds into the checkpoint, unless the source can
// be asked for it again. It follows the frames: drafts of other sources have no
// pace to wait for. What a paused upstream was read on is in no checkpoint, and
// its cursor stands before it.
func (p *pump) hold() {
	p.check.Held, p.check.HeldKind = "", KindText
	if !p.s.info.Spec.Source.own() && !p.status.State.Terminal() {
		if p.check.Held = p.cut.Held(); p.check.Held != "" {
			p.check.HeldKind = p.kind
		}
	}
}

// await waits for the outcome of a commit. After storePatience it answers the
// commands that wait, and those that come, and lets go of the source.
func (p *pump) await(ctx context.Context, done <-chan error) error {
	if p.waited == nil {
		p.waited = time.NewTimer(storePatience)
	} else {
		p.waited.Reset(storePatience)
	}
	defer p.waited.Stop()
	select {
	case err := <-done:
		return err
	case <-p.waited.C:
	}
	p.logger.Debug("the store does not answer", "session", p.s.info.ID, "for", storePatience)
	p.overdue = true
	p.answer(ErrStore)
	p.closeFeed(ErrReleased)
	for {
		select {
		case err := <-done:
			return err
		case c := <-p.s.commands:
			c.reply <- ErrStore
		case <-ctx.Done():
			return ErrShutdown
		}
	}
}

// tell reports what has been committed.
func (p *pump) tell() {
	if len(p.ends) > 0 {
		p.events.Committed(len(p.ends), len(p.wire))
	}
	if p.check.FirstToken > 0 && p.kept.check.FirstToken == 0 {
		p.events.FirstToken(p.check.FirstToken)
	}
	if p.capped == p.told {
		return
	}
	spec := p.s.info.Spec
	if p.told == 0 {
		p.logger.Info("unit cut at its longest length", "session", p.s.info.ID, "unit", spec.Unit, logged("encoding", spec.Encoding))
	}
	p.events.Capped(spec.Unit, spec.Encoding, p.capped-p.told)
	p.told = p.capped
}
