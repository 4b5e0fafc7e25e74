package sessiontest

import (
	"context"
	"errors"
	"sync"

	"tokenrelay/session"
)

// A Faulty is a Store around another that fails as a test says.
type Faulty struct {
	session.Store
	// Disk is what Stat says, unless it is 0.
	Disk int64

	mu    sync.Mutex // guards the fields below
	err   error
	stuck chan struct{} // closed when the medium is back; nil if it is not away
}

// Fail makes all that changes the store return err, and Stat tell it, until it
// is called with nil. With session.ErrNoSpace the store is full: it takes
// what needs no room, such as batches that end their sessions.
func (st *Faulty) Fail(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.err = err
}

// Stick keeps each Append that begins from now on from returning until the
// function that it gives is called.
func (st *Faulty) Stick() (release func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	stuck := make(chan struct{})
	st.stuck = stuck
	return func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		close(stuck)
		st.stuck = nil
	}
}

func (st *Faulty) now() (stuck chan struct{}, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stuck, st.err
}

// down is why nothing is taken at all, or nil.
func (st *Faulty) down() error {
	if _, err := st.now(); !errors.Is(err, session.ErrNoSpace) {
		return err
	}
	return nil
}

func (st *Faulty) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	if _, err := st.now(); err != nil {
		return 0, err
	}
	return st.Store.Create(ctx, r, first, aliases...)
}

func (st *Faulty) Acquire(ctx context.Context, id session.ID) (session.Record, error) {
	if err := st.down(); err != nil {
		return session.Record{}, err
	}
	return st.Store.Acquire(ctx, id)
}

func (st *Faulty) Remove(ctx context.Context, id session.ID, why session.GoneReason) error {
	if err := st.down(); err != nil {
		return err
	}
	return st.Store.Remove(ctx, id, why)
}

func (st *Faulty) Bind(ctx context.Context, who session.Principal, name string, id session.ID) (session.ID, error) {
	if err := st.down(); err != nil {
		return session.ID{}, err
	}
	return st.Store.Bind(ctx, who, name, id)
}

func (st *Faulty) Append(ctx context.Context, batches []session.Batch) []error {
	stuck, err := st.now()
	if stuck != nil {
		<-stuck
	}
	if err == nil {
		return st.Store.Append(ctx, batches)
	}
	errs := make([]error, len(batches))
	for i, b := range batches {
		if errs[i] = err; errors.Is(err, session.ErrNoSpace) && b.State.Terminal() {
			errs[i] = st.Store.Append(ctx, []session.Batch{b})[0]
		}
	}
	return errs
}

func (st *Faulty) Stat() session.StoreStat {
	stat := st.Store.Stat()
	if _, err := st.now(); err != nil {
		stat.Err = err
	}
	if st.Disk != 0 {
		stat.Disk = st.Disk
	}
	return stat
}
