package memstore

// NewWithTombstones is New for a store that remembers n removed sessions.
func NewWithTombstones(n int) *Store {
	st := New()
	st.most = n
	return st
}
