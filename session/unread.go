package session

import "time"

// checkReaders looks at who reads the session, and does what is due because nobody
// does. It is called when the first reader comes, when the last one leaves, and
// when the time has come that it asked for.
func (p *pump) checkReaders() {
	if p.status.State.Terminal() {
		return
	}
	if p.s.readers.Load() > 0 {
		p.readerCame()
		return
	}
	now, since := time.Now(), p.unreadSince
	if left := time.Unix(0, p.s.readUntil.Load()); left.After(since) {
		since = left
	}
	active := since
	if p.active.After(active) {
		active = p.active
	}
	policy, grace := p.s.info.Spec.OnNoReader.Policy, since.Add(p.s.info.Spec.OnNoReader.After)
	idle, long := active.Add(p.limits.idle), since.Add(p.limits.unreadTime)
	next := idle
	alone := !now.Before(grace)
	switch running := p.status.State == Running; {
	case !now.Before(idle):
		p.end(ReasonIdle)
		return
	case alone && policy == PolicyStop:
		p.end(ReasonNoReader)
		return
	case alone && policy == PolicyPause && running:
		if !p.fill() {
			p.pause(true)
		}
	case alone && policy == PolicyContinue && running && p.upstream():
		if !p.unreadPlace && !p.limits.unread.take(1) || !now.Before(long) {
			p.end(ReasonNoReader)
			return
		}
		p.unreadPlace = true
		next = earlier(next, long)
	case !alone:
		next = earlier(next, grace)
	}
	p.recheck = time.After(next.Sub(now))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// readerCame is checkReaders while somebody reads.
func (p *pump) readerCame() {
	p.recheck = nil
	p.leaveUnread()
	if p.status.State == Paused && p.check.PausedUnread && !p.fill() {
		p.resume()
	}
}

// leaveUnread gives up the place among those that run unread.
func (p *pump) leaveUnread() {
	if p.unreadPlace {
		p.unreadPlace = false
		p.limits.unread.add(-1)
	}
}
