package session

// A Seat is a reader's place among those of all sessions, taken before there is
// a session to read: who could not read what it asks for had better not ask.
// One reader at a time has it. One goroutine uses it.
type Seat struct {
	of   *quota
	busy bool // a reader has it
	left bool
}

// Seat takes a place. The error is ErrOverloaded when the relay has as many
// readers as it may.
func (m *Manager) Seat() (*Seat, error) {
	if !m.readers.take(1) {
		return nil, ErrOverloaded
	}
	return &Seat{of: &m.readers}, nil
}

// ReadAll returns a reader of all frames of a session, which has the seat until
// it is closed. It panics if another has it, or the seat was left.
func (at *Seat) ReadAll(s *Session) *Reader {
	if at.busy || at.left {
		panic("session: a reader on a seat that is not free")
	}
	at.busy = true
	return s.seated(0, func() { at.busy = false })
}

// Leave gives the place back. It panics if a reader has it, and may be called
// again.
func (at *Seat) Leave() {
	if at.busy {
		panic("session: a seat is left by its owner before its reader is closed")
	}
	if !at.left {
		at.left = true
		at.of.add(-1)
	}
}
