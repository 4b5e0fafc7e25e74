package upstream

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"tokenrelay/session"
)

// Limits bound one answer of a provider. Zero fields mean a default. The times
// stand still while the session is paused.
type Limits struct {
	// Connect is how long there may be no connection.
	Connect time.Duration
	// Header is from there until the answer begins.
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
	// negative for never.
	Retries int
}

// DefaultLimits are the limits of who sets none.
var DefaultLimits = Limits{
	Connect:    DefaultConnect,
	Header:     DefaultHeader,
	FirstToken: DefaultFirstToken,
	Idle:       DefaultIdle,
	Total:      DefaultTotal,
	Bytes:      DefaultBytes,
	Retries:    DefaultRetries,
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
// that it is as its cause. Its clocks stand still while somebody holds them.
type watch struct {
	limits Limits
	end    context.CancelCauseFunc

	mu    sync.Mutex // guards the fields below
	holds int
	phase clock // of what is waited for at the moment
	total clock
}

func newWatch(l Limits, end context.CancelCauseFunc, held bool) *watch {
	w := &watch{limits: l, end: end}
	if held {
		w.holds = 1
	}
	w.start(&w.total, l.Total, CodeTotal, "the provider's answer took longer than %v")
	return w
}

func (w *watch) connecting() {
	w.start(&w.phase, w.limits.Connect, CodeConnect, "there was no connection to the provider for %v")
}

func (w *watch) connected() {
	w.start(&w.phase, w.limits.Header, CodeHeader, "the provider did not begin to answer for %v")
}

func (w *watch) answered() {
	w.start(&w.phase, w.limits.FirstToken, CodeFirstToken, "the provider's answer had no first token for %v")
}

func (w *watch) token() {
	w.start(&w.phase, w.limits.Idle, CodeIdle, "the provider sent no token for %v")
}

// pause is for the time between two tries: only the total runs.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase.stop()
}

// ending is for the time between the reason of the end and the end.
func (w *watch) ending(end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase.stop()
	w.phase = clock{left: afterFinish, ring: end}
	w.phase.run(w.holds == 0)
}

func (w *watch) start(c *clock, limit time.Duration, code, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.stop()
	*c = clock{left: limit, ring: func() {
		w.end(&session.Failure{Code: code, Message: fmt.Sprintf(message, limit)})
	}}
	c.run(w.holds == 0)
}

// hold stops the clocks, or lets them go on when nobody else holds them.
func (w *watch) hold(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		w.holds++
	} else {
		w.holds--
	}
	w.phase.run(w.holds == 0)
	w.total.run(w.holds == 0)
}

// close stops the clocks for good.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase.stop()
	w.total.stop()
}

// A clock rings once it has run for as long as is left. The zero clock never
// does.
type clock struct {
	left  time.Duration // when it last stood still
	since time.Time     // when it began to run
	timer *time.Timer   // nil while it stands still
	ring  func()
}

// run lets it run, or stand still.
func (c *clock) run(on bool) {
	switch {
	case on && c.timer == nil && c.ring != nil:
		c.since = time.Now()
		c.timer = time.AfterFunc(c.left, c.ring)
	case !on && c.timer != nil:
		c.timer.Stop()
		c.timer = nil
		c.left = max(c.left-time.Since(c.since), 0)
	}
}

func (c *clock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
	*c = clock{}
}
