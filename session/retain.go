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

// remains are what a Manager knows of a session without a pump.
type remains struct {
	bytes  int64     // that it takes
	left   time.Time // when its pump left
	retain time.Duration
	broken bool // it was broken off, and may go on in another process
}

func (r remains) expired(now time.Time) bool { return now.Sub(r.left) >= r.retain }

// settle counts a session without a pump among the ended ones.
func (m *Manager) settle(s *Session, bytes int64, broken bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live--
	m.ended[s.info.ID] = remains{bytes + s.info.Size, now(), s.info.Spec.Retain, broken}
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
// room again.
func (m *Manager) evict(ctx context.Context) {
	surplus := m.bytes.used.Load() - int64(crowdedUntil*float64(m.bytes.max))
	type candidate struct {
		id ID
		remains
	}
	var all []candidate
	m.mu.Lock()
	for id, r := range m.ended {
		if !r.broken {
			all = append(all, candidate{id, r})
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b candidate) int { return a.left.Compare(b.left) })
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

func (m *Manager) removeAll(ctx context.Context, ids []ID, why GoneReason) {
	var removed sync.WaitGroup
	places := make(chan struct{}, removing)
	for _, id := range ids {
		places <- struct{}{}
		removed.Go(func() {
			err := m.remove(ctx, id, why)
			if _, gone := errors.AsType[*GoneError](err); err != nil && !gone { // two may remove it
				m.opts.Logger.Error("remove session", "session", id, "reason", why, "error", err)
			}
			<-places
		})
	}
	removed.Wait()
}

// remove takes a session that has no pump out of the store, then out of memory.
func (m *Manager) remove(ctx context.Context, id ID, why GoneReason) error {
	if err := m.store.Remove(ctx, id, why); err != nil {
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
}

// ask notes that somebody asks for the session, and reports whether its time of
// retention is over: it begins when the pump leaves, with the session's end or
// because it was broken off.
func (s *Session) ask(now time.Time) (expired bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = now
	return !s.left.IsZero() && remains{left: s.left, retain: s.info.Spec.Retain}.expired(now)
}

// leaves reports whether the session may leave memory: the store has all of it.
func (s *Session) leaves(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State.Terminal() && !s.left.IsZero() && s.readers.Load() == 0 &&
		at.Sub(s.left) >= lingering && at.Sub(s.asked) >= lingering
}

func (s *Session) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken != nil
}
