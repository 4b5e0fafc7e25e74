package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// recovering is how many sessions are acquired at once, so that they share
	// commits.
	recovering = 64
	// rebuilding is how many of them read their logs again at once, which takes
	// memory and CPU. Their readers need not wait for it.
	rebuilding = 8
	// progressEvery is how often the log tells how far a recovery is.
	progressEvery = time.Second
)

// Recover takes over what the store holds from the process that ran before:
// ended sessions are readable again, the others go on, or end as interrupted
// where they cannot go on exactly. It must be called once, while Run runs,
// before anything else is asked.
func (m *Manager) Recover(ctx context.Context) error {
	began := time.Now()
	var sessions, events, bytes int64
	progress := time.NewTicker(progressEvery)
	defer progress.Stop()
	tell := func(message string, live int) {
		m.opts.Logger.Info(message, "sessions", sessions, "live", live, "events", events, "bytes", bytes, "took", time.Since(began).Round(time.Millisecond))
	}
	var live []ID
	for r, err := range m.store.Records(ctx) {
		if err != nil {
			return fmt.Errorf("read the store's records: %w", err)
		}
		sessions++
		events += int64(r.Last)
		bytes += r.Bytes
		m.bytes.add(r.Bytes + r.Info.Size)
		if r.State.Terminal() {
			m.mu.Lock()
			m.ended[r.Info.ID] = remains{r.Bytes + r.Info.Size, r.Checkpoint.Ended, r.Info.Spec.Retain}
			m.mu.Unlock()
		} else {
			live = append(live, r.Info.ID)
		}
		select {
		case <-progress.C:
			tell("reading the store", len(live))
		default:
		}
	}
	rebuilds := make(chan struct{}, rebuilding)
	err := each(ctx, live, recovering, func(ctx context.Context, id ID) error { return m.adopt(ctx, id, rebuilds) })
	if err != nil {
		return fmt.Errorf("take a session over: %w", err)
	}
	if sessions > 0 {
		tell("sessions recovered", len(live))
	}
	return nil
}

// adopt takes over a session that has not ended, and starts it.
func (m *Manager) adopt(ctx context.Context, id ID, rebuilds chan struct{}) error {
	r, err := m.store.Acquire(ctx, id)
	if err != nil {
		return err
	}
	source, err := r.Info.Spec.Source.open(m.opts.Upstreams)
	if invalid, ok := errors.AsType[*InvalidError](err); ok { // it has another configuration by now
		m.opts.Logger.Warn("session has lost its source", "session", id, "error", invalid)
	} else if err != nil {
		return err
	}
	s := newSession(m, r.Info, r.Last)
	p := m.newPump(s, source, r)
	p.places = rebuilds
	s.status = p.status
	m.mu.Lock()
	m.live++
	m.sessions[id] = s
	m.mu.Unlock()
	select {
	case m.starts <- p:
		return nil
	case <-m.stopped:
		return ErrShutdown
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
