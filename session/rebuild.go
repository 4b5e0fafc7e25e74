package session

import (
	"context"
	"errors"
	"fmt"

	"tokenrelay/chunker"
)

// goOn brings a session that another process ran to where its checkpoint left
// it, or ends it as interrupted if it cannot go on exactly there.
func (p *pump) goOn(ctx context.Context) error {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return ErrShutdown
	}
	err := p.continuable()
	if err == nil {
		err = p.rebuild(ctx)
	}
	if failure, ok := errors.AsType[*Failure](err); ok {
		return p.giveUp(ctx, interrupted(failure))
	}
	if err == nil {
		p.logger.Info("session goes on", "session", p.s.info.ID, "last_id", p.status.Last, "state", p.status.State)
	}
	return err
}

// interrupted is the end of a session that cannot go on after a restart.
func interrupted(why *Failure) draft {
	return draft{kind: KindInterrupted, reason: ReasonRestart, failure: why}
}

var errNotContinuable = &Failure{CodeNotContinuable, "the provider cannot be asked for the rest of this answer: continue it to have another that goes on from it"}

// continuable returns a *Failure for a session that cannot go on after a
// restart, whatever its log holds.
func (p *pump) continuable() error {
	info := p.s.info
	switch {
	case p.upstream() && p.source == nil:
		return &Failure{CodeUpstreamRemoved, "the relay was restarted with a configuration in which no upstream has the model of this answer"}
	case p.upstream() && !p.resumable():
		return errNotContinuable
	case info.Spec.Source.Type == SourceGenerate && info.Generator != GeneratorVersion:
		return &Failure{CodeGeneratorChanged, fmt.Sprintf("the relay was restarted with version %d of its generator, which gives other text than version %d", GeneratorVersion, info.Generator)}
	case info.Unicode != chunker.UnicodeVersion(info.Spec.Unit):
		return &Failure{CodeUnicodeChanged, fmt.Sprintf("the relay was restarted with other tables of Unicode than %s, which may cut the text elsewhere", info.Unicode)}
	}
	return nil
}

// resumable reports whether the source can be asked for the rest after a restart.
func (p *pump) resumable() bool { return !p.upstream() || p.check.Cursor != "" || p.check.Released }

// giveUp forgets what is not committed and ends the session. Text that was
// taken from its source and stands in no frame yet is framed first.
func (p *pump) giveUp(ctx context.Context, end draft) error {
	p.wire, p.ends, p.changed = p.wire[:0], p.ends[:0], false
	p.drop()
	p.status, p.check, p.capped = p.kept.status, p.kept.check, p.told
	if p.check.Held != "" {
		err := p.rebuild(ctx)
		if wrong, ok := errors.AsType[*Failure](err); ok {
			p.logger.Warn("text cut anew", "session", p.s.info.ID, "error", wrong)
			if err = p.renew(); err == nil {
				p.kind = p.check.HeldKind
				p.draftChunks(func(dst []chunker.Chunk) []chunker.Chunk { return p.cut.Push(dst, p.check.Held) })
			}
		}
		if err != nil {
			return err
		}
		p.flushHeld()
	}
	p.finish(end)
	return p.flush(ctx)
}

// renew replaces the chunker by one that has seen nothing.
func (p *pump) renew() (err error) {
	p.cut, err = chunker.New(p.s.info.Spec.Unit, p.s.info.Spec.Encoding)
	p.kind, p.again = KindText, nil
	return err
}

// rebuild gives a new chunker the text of the log and then what the checkpoint
// says it held. What it gives again must be what the log holds; if it is not,
// the error is a *Failure. What is still to be given again, because the
// source is to be asked for the text behind it, stays in p.again.
func (p *pump) rebuild(ctx context.Context) error {
	if err := p.renew(); err != nil {
		return err
	}
	var room [16]chunker.Chunk
	check := func(chunks []chunker.Chunk) error {
		for _, c := range chunks {
			if err := p.repeat(c); err != nil {
				return err
			}
		}
		return nil
	}
	endText := func() error {
		err := check(p.cut.Flush(room[:0]))
		if err == nil && len(p.again) > 0 {
			err = p.mismatch()
		}
		return err
	}
	for f, err := range framesOf(ctx, p.s.store, p.s.info.ID, p.kept.status.Last) {
		if err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
		switch f.Kind {
		case KindSession, KindPaused, KindResumed, KindProvider, KindSeam: // the text goes on behind them
		case KindText, KindReasoning:
			if f.Kind != p.kind {
				err = endText()
				p.kind = f.Kind
			}
			text := f.Text()
			p.again = append(p.again, text)
			err = errors.Join(err, check(p.cut.Push(room[:0], text)))
		default:
			p.called = p.called || f.Kind == KindToolCall
			err = endText()
		}
		if err != nil {
			return err
		}
	}
	if held := p.check.Held; held != "" {
		if p.check.HeldKind != p.kind {
			if err := endText(); err != nil {
				return err
			}
			p.kind = p.check.HeldKind
		}
		if err := check(p.cut.Push(room[:0], held)); err != nil {
			return err
		}
	}
	if p.s.info.Spec.Source.own() {
		return nil
	}
	if len(p.again) > 0 || p.cut.Held() != p.check.Held {
		return p.mismatch()
	}
	return nil
}

// repeat takes a chunk that the log holds already off p.again.
func (p *pump) repeat(c chunker.Chunk) error {
	if len(p.again) == 0 || p.again[0] != c.Text {
		return p.mismatch()
	}
	if p.again = p.again[1:]; len(p.again) == 0 {
		p.again = nil
	}
	p.capped = p.cut.Capped() // told when it was given first
	p.told = p.capped
	return nil
}

func (p *pump) mismatch() error {
	return &Failure{CodeLogMismatch, "the relay was restarted, and the text cannot be cut again as it was"}
}
