package session_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"tokenrelay/session"
)

// A seat is a reader's place before there is a session.
func TestSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, session.Options{MaxReaders: 1})
		s := create(t, m, session.Spec{Source: push})
		seat, err := m.Seat()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Seat(); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("second Seat = %v, want ErrOverloaded", err)
		}
		if _, err := s.Read(0); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("Read while the seat is taken = %v, want ErrOverloaded", err)
		}
		r := seat.ReadAll(s)
		panics(t, "a second reader of a seat", func() { seat.ReadAll(s) })
		panics(t, "leaving a seat that is read from", seat.Leave)
		if got := s.Status().Readers; got != 1 {
			t.Errorf("readers = %d, want 1", got)
		}
		if _, err := m.Seat(); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("Seat while it is read = %v, want ErrOverloaded", err)
		}
		r.Close()
		if _, err := m.Seat(); !errors.Is(err, session.ErrOverloaded) {
			t.Errorf("Seat after one reader of it has left = %v, want ErrOverloaded: another may come", err)
		}
		seat.ReadAll(s).Close()
		r.Close() // again, while no reader of the seat is open
		seat.Leave()
		panics(t, "a reader of a seat that was left", func() { seat.ReadAll(s) })
		for range 2 {
			seat, err := m.Seat()
			if err != nil {
				t.Fatalf("Seat after that = %v", err)
			}
			seat.Leave()
			seat.Leave()
		}
		if got := m.Use().Readers; got != 0 {
			t.Errorf("readers of all sessions = %d, want 0", got)
		}
	})
}

// panics fails unless do, which nobody may do, panics.
func panics(t *testing.T, what string, do func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s went through, want a panic", what)
		}
	}()
	do()
}
