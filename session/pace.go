package session

import "time"

// A pace says when the next event of a paced source is due. The deadlines are
// start + n × interval, so that waking up late does not add up.
type pace struct {
	interval time.Duration // 0: always
	next     time.Time
	timer    *time.Timer
}

func newPace(rate float64) pace {
	if rate == 0 {
		return pace{}
	}
	return pace{interval: time.Duration(float64(time.Second) / rate), next: time.Now()}
}

// due reports whether an event is due, and takes its turn.
func (p *pace) due() bool {
	if p.interval == 0 {
		return true
	}
	if time.Until(p.next) > 0 {
		return false
	}
	p.next = p.next.Add(p.interval)
	return true
}

// wait returns a channel that gives something when the next event is due, nil
// if nothing waits for it.
func (p *pace) wait(waiting bool) <-chan time.Time {
	if p.interval == 0 || !waiting {
		return nil
	}
	if p.timer == nil {
		p.timer = time.NewTimer(time.Until(p.next))
	} else {
		p.timer.Reset(time.Until(p.next))
	}
	return p.timer.C
}

// restart makes the next event due one interval from now: the time that a
// session was paused is not caught up.
func (p *pace) restart() {
	if p.interval > 0 {
		p.next = time.Now().Add(p.interval)
	}
}
