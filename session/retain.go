package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// sweepEvery is how often expired sessions give their room back. They are
	// gone for their readers at once.
	sweepEvery = 15 * time.Second

	// lingering is how long an ended session stays in memory after somebody
	// asked for it.
	lingering = time.Minute

	// Above the first part of MaxTotalBytes ended sessions make room, until no
	// more than the second is used.
	crowdedAbove = 0.9
	crowdedUntil = 0.8

	// removing is how many sessions are removed at once, so that they share
	// commits.
	removing = 32
)

// remains are what a Manager knows of a session that has ended.
type remains struct {
	bytes  int64 // that it takes
	ended  time.Time
	retain time.Duration
}

func (r remains) expired(now time.Time) bool { return now.Sub(r.ended) >= r.retain }

// settle takes a session whose pump leaves from those that live. One that was
// broken off is forgotten: what becomes of it is up to the store, and to whom
// runs it next.
func (m *Manager) settle(s *Session, last Status, bytes int64) {
	bytes += s.info.Size
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live--
	if last.State.Terminal() {
		m.ended[s.info.ID] = remains{bytes, last.Ended, s.info.Spec.Retain}
		return
	}
	delete(m.sessions, s.info.ID)
	m.bytes.add(-bytes)
}

// tidy removes sessions whose time of retention is over or whose room is
// needed, until ctx is done.
func (m *Manager) tidy(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-sweep.C:
			m.sweep(ctx)
		case <-m.bytes.crowded:
			m.evict(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// sweep removes what has expired, and lets ended sessions that nobody asks for
// leave memory.
func (m *Manager) sweep(ctx context.Context) {
	if err := m.Ready(); err != nil && !errors.Is(err, ErrNoSpace) {
		return // nothing can be removed
	}
	at := time.Now()
	var expired []ID
	m.mu.Lock()
	for id, r := range m.ended {
		if r.expired(at) {
			expired = append(expired, id)
		}
	}
	for id, s := range m.sessions {
		if s.leaves(at) {
			delete(m.sessions, id)
		}
	}
	m.mu.Unlock()
	m.removeAll(ctx, expired, Expired)
}

// evict removes ended sessions, those first that ended first, until there is
// room again. One at a time does so; the others wait for it.
func (m *Manager) evict(ctx context.Context) {
	m.evicts <- struct{}{}
	defer func() { <-m.evicts }()
	surplus := m.bytes.used.Load() - int64(crowdedUntil*float64(m.bytes.max))
	type candidate struct {
		id ID
		remains
	}
	var all []candidate
	m.mu.Lock()
	for id, r := range m.ended {
		all = append(all, candidate{id, r})
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b candidate) int { return a.ended.Compare(b.ended) })
	var chosen []ID
	for _, c := range all {
		if surplus <= 0 {
			break
		}
		chosen = append(chosen, c.id)
		surplus -= c.bytes
	}
	m.removeAll(ctx, chosen, Evicted)
}

// removeAll removes sessions until one cannot be.
func (m *Manager) removeAll(ctx context.Context, ids []ID, why GoneReason) {
	err := each(ctx, ids, removing, func(ctx context.Context, id ID) error { return m.remove(ctx, id, why) })
	if err != nil && !errors.Is(err, context.Canceled) {
		m.opts.Logger.Error("remove sessions", "reason", why, "error", err)
	}
}

// remove takes a session that has ended out of the store, then out of memory.
// Somebody else may have taken it out of the store meanwhile.
func (m *Manager) remove(ctx context.Context, id ID, why GoneReason) error {
	return m.see(ctx, func(ctx context.Context) error {
		err := m.store.Remove(context.WithoutCancel(ctx), id, why)
		if _, gone := errors.AsType[*GoneError](err); err != nil && !gone {
			return fmt.Errorf("remove session: %w", err)
		}
		m.mu.Lock()
		r, there := m.ended[id]
		delete(m.ended, id)
		delete(m.sessions, id)
		m.mu.Unlock()
		if there {
			m.bytes.add(-r.bytes)
			m.opts.Logger.Info("session removed", "session", id, "reason", why)
		}
		return nil
	})
}

// each calls do for ids, for so many at once, until it fails for one, and
// returns why. It waits for those that run.
func each(ctx context.Context, ids []ID, atOnce int, do func(context.Context, ID) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for _, id := range ids {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			if err := do(ctx, id); err != nil {
				cancel(err)
			}
			<-places
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// touch notes that somebody asks for the session.
func (s *Session) touch(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = at
}

// expired reports whether the time of retention is over at now. It begins with
// the session's end.
func (s *Session) expired(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.left.IsZero() && remains{ended: s.left, retain: s.info.Spec.Retain}.expired(now)
}

// leaves reports whether the session may leave memory: the store has all of it.
func (s *Session) leaves(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State.Terminal() && !s.left.IsZero() && s.readers.Load() == 0 &&
		at.Sub(s.left) >= lingering && at.Sub(s.asked) >= lingering
}
