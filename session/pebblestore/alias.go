package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tokenrelay/session"
)

type alias struct {
	who  session.Principal
	name string
}

// A binding is what a commit on its way makes of an alias. Until it is done, no
// other commit comes behind it that changes the alias, or that removes one of
// its sessions.
type binding struct {
	from, to session.ID    // zero for none
	done     chan struct{} // closed when it is committed
}

// A busyError reports an alias that another commit is on its way for.
type busyError struct{ done <-chan struct{} }

func (*busyError) Error() string { return "the alias is about to change" }

// A renaming is what one commit makes of aliases.
type renaming map[alias]binding

// take returns what makes aliases names of a session, or a *session.BoundError
// or *busyError. It needs order.
func (st *Store) take(who session.Principal, aliases []session.Alias, id session.ID) (renaming, error) {
	names, done := make(renaming, len(aliases)), make(chan struct{})
	for _, wanted := range aliases {
		a := alias{who, wanted.Name}
		bound, err := st.bound(a)
		if err != nil {
			return nil, err
		}
		if bound != (session.ID{}) && !wanted.Moves {
			return nil, &session.BoundError{ID: bound}
		}
		names[a] = binding{bound, id, done}
	}
	return names, nil
}

// free returns what takes a session's aliases from it, or a *busyError. It
// needs order.
func (st *Store) free(who session.Principal, id session.ID) (renaming, error) {
	st.mu.RLock()
	for _, on := range st.binding {
		if on.from == id || on.to == id { // readers of the alias are told from until then
			st.mu.RUnlock()
			return nil, &busyError{on.done}
		}
	}
	st.mu.RUnlock()
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: appendIDKey(nil, prefixBound, id)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	names, done := make(renaming), make(chan struct{})
	for ok := it.First(); ok; ok = it.Next() {
		owner, name, ok := parseBoundKey(it.Key())
		if !ok || owner != id {
			break
		}
		names[alias{who, name}] = binding{from: id, done: done}
	}
	return names, it.Error()
}

// bound returns the session that has an alias, zero for none, or a *busyError.
// It needs order.
func (st *Store) bound(a alias) (session.ID, error) {
	st.mu.RLock()
	on, busy := st.binding[a]
	st.mu.RUnlock()
	if busy {
		return session.ID{}, &busyError{on.done}
	}
	it, err := st.db.NewIter(nil)
	if err != nil {
		return session.ID{}, err
	}
	defer it.Close()
	return readAlias(it, a)
}

// readAlias returns the session that has an alias, zero for none.
func readAlias(it *pebble.Iterator, a alias) (id session.ID, err error) {
	key := appendAliasKey(nil, a.who, a.name)
	switch {
	case !it.SeekGE(key) || !bytes.Equal(it.Key(), key):
		if err := it.Error(); err != nil {
			return id, fmt.Errorf("an alias: %w", err)
		}
		return id, nil
	case len(it.Value()) != idSize:
		return id, fmt.Errorf("%w: an alias", errCorrupt)
	}
	return session.ID(it.Value()), nil
}

// rename adds what names change to b, and puts them on their way. It needs
// order.
func (st *Store) rename(b *pebble.Batch, names renaming) {
	for a, on := range names {
		key := appendAliasKey(nil, a.who, a.name)
		if on.from != (session.ID{}) {
			b.Delete(key, nil)
			b.Delete(appendBoundKey(nil, on.from, a.name), nil)
		}
		if on.to != (session.ID{}) {
			b.Set(key, on.to[:], nil)
			b.Set(appendBoundKey(nil, on.to, a.name), nil, nil)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for a, on := range names {
		st.binding[a] = on
	}
}

// renamed shows readers what names change. It needs mu.
func (st *Store) renamed(names renaming) {
	var done chan struct{} // of all of them
	for a, on := range names {
		delete(st.binding, a)
		done = on.done
	}
	if done != nil {
		close(done)
	}
}

// Bind commits an alias. See session.Store.
func (st *Store) Bind(ctx context.Context, who session.Principal, name string, id session.ID) (session.ID, error) {
	var names renaming
	err := st.tryCommit(ctx, func(b *pebble.Batch) error {
		e, err := st.stage(id)
		if err != nil {
			return err
		}
		if e.info.info.Principal != who {
			return session.ErrNotFound
		}
		if names, err = st.take(who, []session.Alias{{Name: name}}, id); err != nil {
			return err
		}
		st.rename(b, names)
		return nil
	}, func(uint64) { st.renamed(names) })
	if other, ok := errors.AsType[*session.BoundError](err); ok {
		return other.ID, session.ErrExists
	}
	if err != nil {
		return session.ID{}, err
	}
	return id, nil
}

// Resolve returns the session that an alias is bound to. See session.Store.
func (st *Store) Resolve(ctx context.Context, who session.Principal, name string) (session.ID, error) {
	if err := st.begin(ctx); err != nil {
		return session.ID{}, err
	}
	defer st.calls.Done()
	id, err := st.resolve(alias{who, name})
	switch {
	case err != nil:
		return session.ID{}, err
	case id == session.ID{}:
		return session.ID{}, session.ErrNotFound
	}
	return id, nil
}

// resolve returns the session that is committed to have an alias, zero for
// none.
func (st *Store) resolve(a alias) (session.ID, error) {
	st.mu.RLock()
	on, busy := st.binding[a]
	if busy {
		st.mu.RUnlock()
		return on.from, nil
	}
	it, err := st.db.NewIter(nil) // whoever changes the alias says so first
	st.mu.RUnlock()
	if err != nil {
		return session.ID{}, err
	}
	defer it.Close()
	return readAlias(it, a)
}
