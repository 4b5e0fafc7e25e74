package session

// A Seat is a reader's place among those of all sessions, taken before there is
// a session to read: who could not read what it asks for had better not ask.
// One reader at a time has it. One goroutine uses it.
type Seat struct {
	of   *quota
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

// Leave gives the place back. The reader that has it must be closed before. It
// may be called again.
func (s *Seat) Leave() {
	if !s.left {
		s.left = true
		s.of.add(-1)
	}
}
