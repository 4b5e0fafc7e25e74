package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

func unread(policy session.NoReaderPolicy, after time.Duration) session.Spec {
	return session.Spec{Source: upstreamSpec, OnNoReader: session.NoReader{Policy: policy, After: after}}
}

// Nobody reads, from the start or from some time on: what the policy says is
// done after its time, and not before.
func TestNoReader(t *testing.T) {
	for _, test := range []struct {
		policy session.NoReaderPolicy
		reads  time.Duration // how long somebody reads first
		ends   time.Duration // when the model is let go, 0 if never
		state  session.State // then
	}{
		{session.PolicyStop, 0, time.Minute, session.Stopped},
		{session.PolicyStop, 90 * time.Second, 150 * time.Second, session.Stopped},
		{session.PolicyPause, 0, time.Minute, session.Paused},
		{session.PolicyPause, 90 * time.Second, 150 * time.Second, session.Paused},
		{session.PolicyContinue, 0, 31 * time.Minute, session.Stopped},
		{session.PolicyContinue, 90 * time.Second, 31*time.Minute + 90*time.Second, session.Stopped},
	} {
		t.Run(string(test.policy)+" "+test.reads.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := newModel(10_000, time.Second)
				m := start(t, session.Options{Upstreams: up, MaxUnreadTime: 30 * time.Minute})
				spec := unread(test.policy, time.Minute)
				spec.OnPause = session.Release
				s := create(t, m, spec)
				if test.reads > 0 {
					r, err := s.Read(0)
					must(t, err)
					time.Sleep(test.reads)
					r.Close()
				}
				time.Sleep(test.ends - test.reads - time.Second)
				synctest.Wait()
				if up.open.Load() != 1 || s.Status().State != session.Running {
					t.Fatalf("too early: %d models run, %s", up.open.Load(), s.Status().State)
				}
				time.Sleep(time.Second + time.Millisecond)
				synctest.Wait()
				status := s.Status()
				if up.open.Load() != 0 || status.State != test.state {
					t.Fatalf("%d models run, %s, want none, %s", up.open.Load(), status.State, test.state)
				}
				reason := session.ReasonNoReader
				if test.policy == session.PolicyContinue {
					reason = session.ReasonUnread
				}
				if status.End != nil && (status.End.Reason != reason || *status.Usage.Output == 0) {
					t.Errorf("end = %+v", status.End)
				}
				if cause := up.ended(); len(cause) != 1 || !errors.Is(cause[0], session.ErrReleased) {
					t.Errorf("the model was left because: %v", cause)
				}
				if m.Use().Unread != 0 {
					t.Errorf("%d run unread", m.Use().Unread)
				}
			})
		})
	}
}

// The grace period holds before the first token too.
func TestNoReaderBeforeTheFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(1, time.Hour)
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, unread(session.PolicyStop, time.Minute))
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if got := s.Status(); got.State != session.Stopped || up.open.Load() != 0 {
			t.Errorf("state = %s, %d models run", got.State, up.open.Load())
		}
	})
}

// A pause for want of readers ends when one comes; one that was asked for does not.
func TestReaderResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(300, time.Second)
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, unread(session.PolicyPause, time.Minute))
		time.Sleep(2 * time.Minute)
		frames := readAll(t, s, 0)
		if got := join(frames); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
		if got := string(frame(t, frames, session.KindPaused).Data); got != `{"reason":"no_reader"}` {
			t.Errorf("paused = %s", got)
		}
		if got := string(frame(t, frames, session.KindResumed).Data); got != `{"reason":"reader"}` {
			t.Errorf("resumed = %s", got)
		}

		s = create(t, m, unread(session.PolicyPause, time.Minute))
		time.Sleep(2 * time.Minute)
		must(t, s.Pause(t.Context())) // now it is asked for
		r, err := s.Read(0)
		must(t, err)
		defer r.Close()
		synctest.Wait()
		if got := s.Status().State; got != session.Paused {
			t.Errorf("a reader resumed what a client had paused: %s", got)
		}
	})
}

// Resume without a reader gives the grace period again.
func TestResumeUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(10_000, time.Second)
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, unread(session.PolicyPause, time.Minute))
		time.Sleep(5 * time.Minute)
		must(t, s.Resume(t.Context()))
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if got := s.Status().State; got != session.Running {
			t.Errorf("59 s after resume: %s", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := s.Status().State; got != session.Paused {
			t.Errorf("61 s after resume: %s", got)
		}
		last := s.Status().Last
		frames, err := read(t, s, 0, func(f session.Frame) bool { return f.ID == last })
		must(t, err)
		if got := string(frame(t, frames, session.KindResumed).Data); got != "{}" {
			t.Errorf("resumed = %s, though it was asked for", got)
		}
	})
}

// Those that run on unread are bounded in number.
func TestMaxUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(10_000, time.Second)
		m := start(t, session.Options{Upstreams: up, MaxUnread: 3})
		var all []*session.Session
		for range 5 {
			all = append(all, create(t, m, unread(session.PolicyContinue, time.Minute)))
			time.Sleep(time.Second)
		}
		r, err := all[0].Read(0)
		must(t, err)
		defer r.Close()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := m.Use().Unread; got != 3 || up.open.Load() != 4 {
			t.Errorf("%d run unread, %d models run, want 3 and 4", got, up.open.Load())
		}
		if got := all[4].Status(); got.State != session.Stopped || got.End.Reason != session.ReasonUnread {
			t.Errorf("the fourth: %+v", got)
		}
		must(t, all[1].Stop(t.Context()))
		must(t, all[2].Pause(t.Context()))
		if got := m.Use().Unread; got != 1 {
			t.Errorf("%d run unread, want 1", got)
		}
	})
}

// However one of them ends, its place is free.
func TestUnreadPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newModel(100_000, time.Second)
		m := start(t, session.Options{Upstreams: up, MaxUnread: 3, MaxUnreadTime: time.Minute})
		for range 10 {
			for range 3 {
				create(t, m, unread(session.PolicyContinue, time.Hour)) // longer than MaxUnreadTime
			}
			time.Sleep(time.Hour + 30*time.Second)
			synctest.Wait()
			if use := m.Use(); use.Unread != 3 || use.Live != 3 {
				t.Fatalf("within their time: %+v", use)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if use := m.Use(); use.Unread != 0 || use.Live != 0 {
				t.Fatalf("after their time: %+v", use)
			}
		}
	})
}

// What nobody reads and nothing happens in comes to an end.
func TestMaxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{Upstreams: newModel(10_000, time.Second), MaxIdle: time.Hour})
		quiet := create(t, m, session.Spec{Source: push})
		busy := create(t, m, session.Spec{Source: push})
		read := create(t, m, session.Spec{Source: push})
		paused := create(t, m, unread(session.PolicyContinue, time.Minute))
		must(t, paused.Pause(t.Context()))
		r, err := read.Read(0)
		must(t, err)
		defer r.Close()
		for range 9 {
			time.Sleep(10 * time.Minute)
			_, _, err := busy.Append(t.Context(), session.Append{Text: "x"})
			must(t, err)
		}
		for _, s := range []*session.Session{quiet, paused} {
			if got := s.Status(); got.State != session.Stopped || got.End.Reason != session.ReasonIdle {
				t.Errorf("after 90 minutes: %+v", got)
			}
		}
		for _, s := range []*session.Session{busy, read} {
			if got := s.Status().State; got != session.Running {
				t.Errorf("after 90 minutes: %s", got)
			}
		}
	})
}

// A session that was paused for want of readers goes on after a restart, when
// one comes.
func TestUnreadOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, up := memstore.New(), newModel(200, time.Second)
		spec := unread(session.PolicyPause, time.Minute)
		spec.OnPause = session.Release
		m, stop := run(t, st, session.Options{Upstreams: up})
		id := create(t, m, spec).Info().ID
		time.Sleep(2 * time.Minute)
		stop()
		m = startOn(t, st, session.Options{Upstreams: up})
		must(t, m.Recover(t.Context()))
		time.Sleep(time.Minute)
		s, err := m.Get(t.Context(), me, id)
		must(t, err)
		if got := join(readAll(t, s, 0)); got != up.text() {
			t.Errorf("text = %q, want %q", got, up.text())
		}
	})
}
