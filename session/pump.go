package session

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"tokenrelay/chunker"
)

const (
	// One commit gathers at most so many commands and deltas, and stops
	// gathering once it has so many bytes of frames.
	turnSize  = 256
	turnBytes = 256 << 10

	// cutPiece is how much text is cut into drafts ahead of their turn, in
	// bytes: a paced text waits as text, which takes less room.
	cutPiece = 256

	// What a source says of its end is cut to so many bytes.
	maxReason  = 256
	maxMessage = 4 << 10

	// deltaSize is what a delta takes beside its text, in bytes, about.
	deltaSize = 208
)

// A pump runs one live session: it reads the source, cuts, and appends. Its
// fields belong to its goroutine. It gathers frames in wire and ends; what it
// gathered is shown, and what it was asked is answered, only after commit.
type pump struct {
	s        *Session
	source   Source // nil for push, and for what cannot go on
	token    Token
	limits   limits
	write    func(Batch) <-chan error                   // commits; it returns at once
	makeRoom func() bool                                // reports whether limits.total is over no more
	retire   func(s *Session, last Status, bytes int64) // called once, before the session is told
	places   chan struct{}                              // for those that rebuild at once; nil for a new session
	events   Events
	logger   *slog.Logger

	// From the source to frames: feed, queue, rest, cut, drafts.
	feed     *feed          // nil for push, and while no source runs
	feeding  sync.WaitGroup // of this feed and those before it
	unopened bool           // the source is to be opened after the next commit
	resumes  bool           // it is to go on from the text so far
	broke    error          // how the source ended without a finish
	queue    []arrival      // an upstream's, while the session is paused
	queued   int            // bytes that queue takes
	rest     string         // of the delta that is being cut
	kind     Kind           // text or reasoning: what rest is and cut holds
	cut      chunker.Chunker
	again    []string // texts of committed frames that cut has not given again
	drafts   []draft  // wait for their turn
	pace     pace
	clock    clock
	tally    *tally // of an upstream whose units are no tokens
	called   bool   // there was a tool call

	// Who reads: see checkReaders.
	unreadSince time.Time        // at the earliest
	active      time.Time        // when something was committed last
	unreadPlace bool             // has a place in limits.unread
	recheck     <-chan time.Time // when to look again

	// The frames of the coming commit, and what stands after it.
	wire    Wire
	ends    []uint32
	status  Status
	check   Checkpoint
	changed bool // check has something to commit though there may be no frame
	answers []func(error)
	kept    standing    // what is committed
	overdue bool        // the store did not answer for longer than storePatience
	waited  *time.Timer // for the store

	size int64 // bytes of all committed frames
	owed int64 // bytes of text that producers were told are safe

	capped uint64 // of the units in frames, those cut at their longest length
	told   uint64 // how many of them events has been told of
}

// A standing is where a session stands after a commit.
type standing struct {
	status Status
	check  Checkpoint
}

// run pumps until the session has ended, ctx is done or the store refuses, and
// tells the session so. Then it waits for the source to let go.
func (p *pump) run(ctx context.Context) {
	var err error
	if p.places != nil {
		p.events.Recovered(p.s.info.Spec.Source.Type)
		err = p.goOn(ctx)
	} else {
		p.events.Started(p.s.info.Spec.Source.Type)
		p.events.Committed(1, int(p.size))
	}
	defer p.feeding.Wait()
	if err == nil && !p.status.State.Terminal() {
		p.suspend(p.status.State == Paused)
		if !p.check.Released {
			p.open(ctx)
		}
		p.unreadSince = time.Now()
		p.checkReaders()
		err = p.flush(ctx)
	}
	for err == nil && !p.status.State.Terminal() {
		err = p.turn(ctx)
	}
	status := p.s.Status()    // of what is committed: a refused commit may have been to end it
	p.closeFeed(ErrElsewhere) // if it has not been let go of: somebody may go on with it
	p.leaveUnread()
	p.limits.held.add(-int64(p.queued))
	if !status.State.Terminal() {
		p.retire(p.s, status, p.size)
	}
	p.s.leave(err)
	code := ""
	if status.End != nil && status.End.Error != nil {
		code = status.End.Error.Code
	}
	p.events.Ended(status.State, code)
	switch end := status.End; {
	case errors.Is(err, ErrShutdown):
		p.logger.Info("session suspended", "session", p.s.info.ID, "last_id", status.Last)
	case err != nil:
		p.logger.Warn("session broken off", "session", p.s.info.ID, "last_id", status.Last, "error", err)
	case end.Error != nil:
		p.logger.Warn("session "+string(status.State), "session", p.s.info.ID, "last_id", status.Last, "code", code, logged("model", p.s.info.Spec.Source.Model))
	default:
		p.logger.Info("session ended", "session", p.s.info.ID, "last_id", status.Last, "state", status.State, "reason", end.Reason)
	}
}

// turn waits for one thing to happen, takes what else is ready with it, and
// commits the outcome. It leaves nothing undone that no later event would wake
// it for, but one thing: a paused upstream that found no room among all that are
// held is read on only after resume.
func (p *pump) turn(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return p.stand(ctx)
	case c := <-p.s.commands:
		p.obey(c)
	case d, ok := <-p.wanted():
		p.take(d, ok)
	case <-p.s.attention:
		p.checkReaders()
	case <-p.recheck:
		p.checkReaders()
	case <-p.pace.wait(!p.idle() && p.status.State == Running):
	}
	p.emit()
	for n := 1; n < turnSize && len(p.wire) < turnBytes && !p.status.State.Terminal() && p.more(); n++ {
		p.emit()
	}
	err := p.flush(ctx)
	if err == nil && p.unopened && !p.status.State.Terminal() {
		p.open(ctx)
	}
	return err
}

// stand ends the pump in order: what the chunker holds and no commit has yet is
// committed, so that only a crash costs the text that came after the last frame.
func (p *pump) stand(ctx context.Context) error {
	p.hold()
	p.changed = p.check.Held != p.kept.check.Held
	if err := p.flush(ctx); err != nil {
		return err
	}
	return ErrShutdown
}

// more takes one more command or delta if one is ready.
func (p *pump) more() bool {
	select {
	case c := <-p.s.commands:
		p.obey(c)
		return true
	default:
	}
	select {
	case d, ok := <-p.wanted():
		p.take(d, ok)
		return true
	default:
		return false
	}
}

// pushed reports whether clients are the source.
func (p *pump) pushed() bool { return p.s.info.Spec.Source.Type == SourcePush }

// upstream reports whether a model provider is.
func (p *pump) upstream() bool { return p.s.info.Spec.Source.Type == SourceUpstream }

// idle reports whether nothing waits to become a frame but what the chunker
// holds.
func (p *pump) idle() bool { return len(p.queue) == 0 && p.rest == "" && len(p.drafts) == 0 }

// emit makes frames of the drafts whose turn it is.
func (p *pump) emit() {
	for p.status.State == Running && p.refill() {
		d := p.drafts[0]
		if !d.kind.Terminal() {
			if !p.pace.due() {
				return
			}
			if full := p.full(); full != nil && p.check.Position >= p.owed {
				p.finish(draft{kind: KindFailed, reason: ReasonError, failure: full})
				return
			}
		}
		if p.drafts = p.drafts[1:]; len(p.drafts) == 0 {
			p.drafts = nil
		}
		switch {
		case d.kind.Terminal():
			p.finish(d)
		case d.kind == KindText || d.kind == KindReasoning:
			p.frameText(d)
		default:
			p.frame(d.kind, d.data)
		}
	}
}

// full returns why no further text may be framed, nil if it may. What a
// producer was told is safe is framed all the same; that is less than a frame.
func (p *pump) full() *Failure {
	switch {
	case p.size+int64(len(p.wire)) >= p.limits.session:
		return &Failure{CodeSessionFull, "the session has reached its limit of bytes"}
	case p.limits.total.over() && !p.makeRoom():
		return &Failure{CodeRelayFull, "the relay has reached its limit of bytes for all sessions"}
	}
	return nil
}

func (p *pump) frameText(d draft) {
	if d.kind == KindText {
		if p.status.FirstText.IsZero() {
			p.status.FirstText = now()
			p.check.FirstText = p.status.FirstText
		}
		p.check.Position += int64(len(d.chunk.Text))
		p.check.Units += int64(d.chunk.Units)
	}
	p.capped = max(p.capped, d.capped)
	p.status.Last++
	p.wire = appendText(p.wire, p.status.Last, d.kind, d.chunk.Text)
	p.ends = append(p.ends, uint32(len(p.wire)))
}

func (p *pump) frame(kind Kind, data []byte) {
	p.status.Last++
	p.wire = Frame{p.status.Last, kind, data}.AppendWire(p.wire)
	p.ends = append(p.ends, uint32(len(p.wire)))
}

// finish appends the terminal frame, lets go of the source and forgets what was
// not shown.
func (p *pump) finish(d draft) {
	p.closeFeed(ErrReleased)
	p.drop()
	if p.tally != nil {
		p.check.Output += p.tally.end()
	}
	end := End{Reason: shorten(d.reason, maxReason), ProviderReason: shorten(d.own, maxReason), Usage: p.usage(), Timings: p.timings()}
	if d.failure != nil {
		end.Error = &Failure{shorten(d.failure.Code, maxReason), shorten(d.failure.Message, maxMessage)}
	}
	data, err := json.Marshal(end)
	if err == nil {
		data, err = lineOf(data)
	}
	if err != nil {
		panic(err) // strings and numbers only
	}
	p.frame(d.kind, data)
	p.status.State, p.status.End, p.status.Ended = State(d.kind), &end, now()
	p.check.Ended, p.check.Held, p.check.HeldKind = p.status.Ended, "", KindText
	p.check.Cursor, p.check.Released, p.check.PausedUnread = "", false, false
}

// now is the time as sessions keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// failure says why the source broke. The text of an error that is no *Failure
// may hold addresses and keys: it is logged, not shown.
func (p *pump) failure(err error) *Failure {
	if failure, ok := errors.AsType[*Failure](err); ok {
		return failure
	}
	p.logger.Warn("source failed", "session", p.s.info.ID, "error", err)
	return &Failure{CodeSourceFailed, "the source of the text broke off"}
}

// obey applies a command. Its answer waits for the commit.
func (p *pump) obey(c *command) {
	err := p.apply(c)
	p.answers = append(p.answers, func(failed error) {
		if failed == nil {
			failed = err
		}
		c.reply <- failed
	})
}

func (p *pump) apply(c *command) error {
	state := p.status.State
	switch c.op {
	case opPause:
		switch {
		case state == Paused && p.check.PausedUnread: // a reader that comes resumes it no more
			p.check.PausedUnread, p.changed = false, true
		case state == Running:
			if p.fill() {
				return &EndedError{State: Failed}
			}
			p.pause(false)
		}
	case opResume:
		if state == Paused {
			if p.fill() {
				return &EndedError{State: Failed}
			}
			p.resume(false)
		}
	case opStop:
		p.end(c.reason)
	case opFinish:
		if state == Paused {
			return ErrPaused
		}
		p.flushHeld()
		p.finish(draft{kind: KindDone, reason: ReasonFinish})
	case opAppend:
		return p.append(c)
	}
	return nil
}

// end stops the session. Who stops wants no more: what waits for the pace or for
// resume is dropped. What the chunker alone holds was on its way, and a producer
// was told that its text is safe.
func (p *pump) end(reason string) {
	if p.pushed() || p.status.State == Running && p.idle() {
		p.flushHeld()
	}
	p.finish(draft{kind: KindStopped, reason: reason})
}

// mark appends a frame that says nothing but its kind and, if nobody asked for
// it, the reason.
func (p *pump) mark(kind Kind, reason string, unasked bool) {
	data := "{}"
	if unasked {
		data = `{"reason":"` + reason + `"}`
	}
	p.frame(kind, []byte(data))
}

// pause stops the session; unread says that it is for want of a reader.
func (p *pump) pause(unread bool) {
	p.mark(KindPaused, ReasonNoReader, unread)
	p.status.State, p.check.PausedUnread = Paused, unread
	p.leaveUnread()
	p.suspend(true)
	_, goesOn := p.source.(Continuer)
	if goesOn && p.s.info.Spec.OnPause == Release && !p.called && (p.feed != nil || p.unopened) {
		p.closeFeed(ErrReleased)
		p.unopened, p.check.Released, p.check.Cursor = false, true, ""
	}
}

// resume goes on after pause; byReader says that it is because one came.
func (p *pump) resume(byReader bool) {
	p.mark(KindResumed, ReasonReader, byReader)
	p.status.State, p.check.PausedUnread = Running, false
	p.unreadSince = time.Now() // as if somebody had read until now
	p.pace.restart()
	p.clock.apart = true
	p.suspend(false)
	if p.check.Released {
		p.check.Released = false
		p.unopened, p.resumes = true, true
	}
	p.checkReaders()
}

// fill ends a session that has reached a limit, and reports whether it has.
func (p *pump) fill() bool {
	full := p.full()
	if full != nil {
		p.fail(full)
	}
	return full != nil
}

// fail ends the session. A producer was told that its text is safe.
func (p *pump) fail(why *Failure) {
	if p.pushed() {
		p.flushHeld()
	}
	p.finish(draft{kind: KindFailed, reason: ReasonError, failure: why})
}

// flushHeld frames what the chunker holds. Nothing else may be waiting.
func (p *pump) flushHeld() {
	p.flushCut()
	for _, d := range p.drafts {
		p.frameText(d)
	}
	p.drafts = nil
}

// append applies an append, or finds it repeated.
func (p *pump) append(c *command) error {
	a := c.append
	if a.Producer != "" {
		last, known := p.check.Producers[a.Producer]
		switch {
		case a.Seq <= last:
			c.last, c.repeated = p.status.Last, true
			return nil
		case a.Seq != last+1:
			return &SequenceError{Producer: a.Producer, Seq: a.Seq, Want: last + 1}
		case !known && len(p.check.Producers) >= MaxProducers:
			return &InvalidError{"producer", "the session has as many producers as it may"}
		}
	}
	if p.status.State == Paused {
		return ErrPaused
	}
	if p.fill() {
		return ErrFull
	}
	if a.Event != "" {
		p.flushCut()
		p.drafts = append(p.drafts, draft{kind: a.Event, data: a.Data})
	} else {
		p.beginText(KindText, a.Text)
	}
	p.emit()
	c.last = p.status.Last
	if p.status.State.Terminal() {
		return ErrFull
	}
	p.owed += int64(len(a.Text))
	p.changed = true
	if a.Producer != "" {
		// Readers of the status share the old map.
		producers := maps.Clone(p.check.Producers)
		if producers == nil {
			producers = make(map[string]uint64)
		}
		producers[a.Producer] = a.Seq
		p.check.Producers, p.status.Producers = producers, producers
	}
	return nil
}
