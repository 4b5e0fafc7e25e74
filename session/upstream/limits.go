package upstream

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"tokenrelay/session"
)

// Defaults of Limits.
const (
	DefaultConnect    = 10 * time.Second
	DefaultHeader     = 2 * time.Minute
	DefaultFirstToken = 5 * time.Minute
	DefaultIdle       = 2 * time.Minute
	DefaultTotal      = time.Hour
	DefaultBytes      = 256 << 20 // bytes
	DefaultRetries    = 2         // requests after the first
)

// Limits bound one answer of a provider. Zero fields mean a default. The times
// stand still while the session is paused.
type Limits struct {
	// Connect is how long there may be no connection, in each try. Nothing has
	// been sent by then, so the request is made again.
	Connect time.Duration
	// Header is from there until the answer begins. The provider may be at work
	// on it, so the request is not made again, nor is it after the limits below.
	Header time.Duration
	// FirstToken is from there to the first text, reasoning or tool call.
	FirstToken time.Duration
	// Idle is between two of these. What a provider sends to keep the
	// connection alive is none of them.
	Idle time.Duration
	// Total is for all of it, tries again included.
	Total time.Duration
	// Bytes bounds the answer as it comes, with what its protocol adds.
	Bytes int64
	// Retries is how often a request is made again whose answer has not begun;
	// negative for never. It does not bound attaching again to a generation that
	// lives on without a connection, which costs nothing: that is tried, also
	// after a restart, for as long as the provider may come back within five
	// minutes, and within Total.
	Retries int
}

// withDefaults returns the limits of who has set some.
func (l Limits) withDefaults() Limits {
	return l.or(Limits{
		Connect:    DefaultConnect,
		Header:     DefaultHeader,
		FirstToken: DefaultFirstToken,
		Idle:       DefaultIdle,
		Total:      DefaultTotal,
		Bytes:      DefaultBytes,
		Retries:    DefaultRetries,
	})
}

// or returns l with the fields of other where it has none.
func (l Limits) or(other Limits) Limits {
	return Limits{
		Connect:    cmp.Or(l.Connect, other.Connect),
		Header:     cmp.Or(l.Header, other.Header),
		FirstToken: cmp.Or(l.FirstToken, other.FirstToken),
		Idle:       cmp.Or(l.Idle, other.Idle),
		Total:      cmp.Or(l.Total, other.Total),
		Bytes:      cmp.Or(l.Bytes, other.Bytes),
		Retries:    cmp.Or(l.Retries, other.Retries),
	}
}

func (l Limits) validate() error {
	for _, limit := range [...]struct {
		key   string
		value int64
	}{
		{"connect", int64(l.Connect)}, {"header", int64(l.Header)}, {"first_token", int64(l.FirstToken)},
		{"idle", int64(l.Idle)}, {"total", int64(l.Total)}, {"max_bytes", l.Bytes},
	} {
		if limit.value < 0 {
			return fmt.Errorf("%s: must be more than 0", limit.key)
		}
	}
	return nil
}

// A watch ends a context when a limit of time is reached, with the failure
// that it is as its cause: that of the answer or, before there is a connection,
// that of the try. Its clock stands still while somebody holds it.
//
// Tokens come often and limits are seldom reached, so a token only puts off
// an alarm: the timer rings when it was set to, and is then set anew.
type watch struct {
	limits Limits
	end    context.CancelCauseFunc // of the answer

	mu    sync.Mutex // guards the fields below
	began time.Time
	stood time.Duration // for how long the clock has stood still, up to now or to still
	still time.Time     // since when it does, while it is held
	holds int
	phase alarm // of what is waited for at the moment
	total alarm
	timer *time.Timer
	rings time.Time // when the timer does; zero for never
	over  bool      // nothing is waited for but the end of the stream, or nothing at all
}

// An alarm is what happens when the clock of a watch comes to its time. The
// zero alarm never goes off.
type alarm struct {
	at    time.Duration
	limit time.Duration
	code  string
	what  string                  // for the message
	end   context.CancelCauseFunc // takes that failure
}

func (a *alarm) set() bool { return a.end != nil }

func newWatch(l Limits, end context.CancelCauseFunc, held bool) *watch {
	w := &watch{limits: l, end: end, began: time.Now()}
	w.total = alarm{at: l.Total, limit: l.Total, code: CodeTotal, what: "the provider's answer took longer than", end: end}
	if held {
		w.hold(true)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(l.Total, w.ring) // which waits for the lock
	w.rings = w.began.Add(l.Total)
	return w
}

// connecting is for the time until there is a connection. It ends the try only.
func (w *watch) connecting(end context.CancelCauseFunc) {
	w.wait(w.limits.Connect, CodeConnect, "there was no connection to the provider for", end)
}

func (w *watch) connected() {
	w.wait(w.limits.Header, CodeHeader, "the provider did not begin to answer for", w.end)
}

func (w *watch) answered() {
	w.wait(w.limits.FirstToken, CodeFirstToken, "the provider's answer had no first token for", w.end)
}

func (w *watch) token() {
	w.wait(w.limits.Idle, CodeIdle, "the provider sent no token for", w.end)
}

// pause is for the time between two tries: only the total runs.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = alarm{}
}

// ending is for the time between the reason of the end and the end, which
// nothing that still comes makes longer.
func (w *watch) ending(end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.over = true
		w.phase, w.total = alarm{at: w.now() + afterFinish, end: func(error) { end() }}, alarm{}
		w.wind()
	}
}

// wait makes limit the longest that what follows may take.
func (w *watch) wait(limit time.Duration, code, what string, end context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.phase = alarm{at: w.now() + limit, limit: limit, code: code, what: what, end: end}
		w.wind()
	}
}

// hold stops the clock, or lets it go on when nobody else holds it.
func (w *watch) hold(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		if w.holds++; w.holds == 1 {
			w.still = time.Now()
		}
		return
	}
	if w.holds--; w.holds == 0 {
		w.stood += time.Since(w.still)
		w.wind()
	}
}

// close takes the alarms off.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.phase, w.total = alarm{}, alarm{}
	w.timer.Stop()
}

// now is the time by the watch's clock.
func (w *watch) now() time.Duration {
	if w.holds > 0 {
		return w.still.Sub(w.began) - w.stood
	}
	return time.Since(w.began) - w.stood
}

// wind sees to it that the timer rings when the next alarm is to go off, or
// earlier. While the clock stands still there is no such time.
func (w *watch) wind() {
	if w.holds > 0 || !w.phase.set() && !w.total.set() {
		return
	}
	next := w.next()
	at := w.began.Add(w.stood + next.at)
	if w.rings.IsZero() || at.Before(w.rings) {
		w.rings = at
		w.timer.Reset(time.Until(at))
	}
}

// next is the alarm that goes off first.
func (w *watch) next() *alarm {
	if !w.total.set() || w.phase.set() && w.phase.at <= w.total.at {
		return &w.phase
	}
	return &w.total
}

// ring lets the next alarm go off if its time has come.
func (w *watch) ring() {
	w.mu.Lock()
	w.rings = time.Time{}
	next := w.next()
	if w.holds > 0 || !next.set() || w.now() < next.at {
		w.wind()
		w.mu.Unlock()
		return
	}
	reached := *next
	*next = alarm{}
	w.wind()
	w.mu.Unlock()
	reached.end(&session.Failure{Code: reached.code, Message: fmt.Sprintf("%s %v", reached.what, reached.limit)})
}
