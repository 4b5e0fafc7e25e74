package session

import "time"

// checkReaders looks at who reads the session, and does what is due because
// nobody does. It is called when the first reader comes, when the last one
// leaves, and when p.recheck says so.
func (p *pump) checkReaders() {
	if p.status.State.Terminal() {
		return
	}
	if p.s.readers.Load() > 0 {
		p.readerCame()
		return
	}
	now := time.Now()
	since := latest(p.unreadSince, time.Unix(0, p.s.readUntil.Load()))
	grace := since.Add(p.s.info.Spec.OnNoReader.After)
	idle := latest(since, p.active).Add(p.limits.idle)
	next := idle
	switch policy := p.s.info.Spec.OnNoReader.Policy; {
	case !now.Before(idle):
		p.end(ReasonIdle)
		return
	case now.Before(grace):
		next = earliest(grace, idle)
	case policy == PolicyStop:
		p.end(ReasonNoReader)
		return
	case p.status.State != Running:
	case policy == PolicyPause:
		if !p.fill() {
			p.pause(true)
		}
	case p.upstream():
		most := grace.Add(p.limits.unreadTime)
		if !now.Before(most) || !p.takeUnread() {
			p.end(ReasonUnread)
			return
		}
		next = earliest(most, idle)
	}
	p.recheck = time.After(next.Sub(now))
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// readerCame is checkReaders while somebody reads.
func (p *pump) readerCame() {
	p.recheck = nil
	p.leaveUnread()
	if p.status.State == Paused && p.check.PausedUnread && !p.fill() {
		p.resume(true)
	}
}

// takeUnread takes a place among those that run unread, unless it has one, and
// reports whether there was one.
func (p *pump) takeUnread() bool {
	p.unreadPlace = p.unreadPlace || p.limits.unread.take(1)
	return p.unreadPlace
}

// leaveUnread gives that place up.
func (p *pump) leaveUnread() {
	if p.unreadPlace {
		p.unreadPlace = false
		p.limits.unread.add(-1)
	}
}
