package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"github.com/cockroachdb/pebble/v2"

	"tokenrelay/session"
)

// An entry is what the store knows in memory about a session that lives, or
// that a commit is on its way for.
type entry struct {
	*info
	committed state  // what readers are told
	seq       uint64 // of the commit that made it
	inFlight  int    // commits
	gone      *session.GoneError
	before    *pebble.Snapshot // what readers of its frames are given while its removal is on its way

	// Guarded by Store.order.
	staged state              // what committed becomes with the commits on their way
	buried *session.GoneError // what gone becomes
}

// leaves reports whether an entry can be read from the disk as well.
func (e *entry) leaves() bool {
	return e.inFlight == 0 && (e.committed.token == 0 || e.gone != nil || e.committed.state.Terminal())
}

type alias struct {
	who  session.Principal
	name string
}

// A binding is an alias on its way.
type binding struct {
	id   session.ID
	done chan struct{} // closed when it is committed
}

// A change is what one commit makes of an entry.
type change struct {
	*entry
	to state
}

// stage returns the session's entry as the commits on their way leave it, or
// an error of Load. It needs order.
func (st *Store) stage(id session.ID) (*entry, error) {
	st.mu.RLock()
	e := st.entries[id]
	st.mu.RUnlock()
	if e != nil {
		if e.buried != nil {
			return nil, e.buried
		}
		return e, nil
	}
	in, s, err := st.lookup(id)
	if err != nil {
		return nil, err
	}
	return &entry{info: in, committed: s, staged: s}, nil
}

// pin keeps e among the entries until its change is done.
func (st *Store) pin(e *entry) change {
	st.mu.Lock()
	defer st.mu.Unlock()
	e.inFlight++
	st.entries[e.info.info.ID] = e
	return change{e, e.staged}
}

// place puts a commit into its place behind all that came before it. It needs
// order. The commit is done when b.SyncWait returns.
func (st *Store) place(b *pebble.Batch) (seq uint64, err error) {
	st.mu.Lock()
	st.seq++
	seq = st.seq
	st.mu.Unlock()
	return seq, st.db.ApplyNoSyncWait(b, pebble.Sync)
}

// await waits until a commit that place took is done.
func (st *Store) await(b *pebble.Batch) error {
	err := b.SyncWait()
	if err == nil && st.shield.abandoned.Load() {
		return errClosed
	}
	if err != nil {
		return st.fail(err)
	}
	b.Close()
	return nil
}

// fail takes note that no commit can follow: what was staged is not what is
// there.
func (st *Store) fail(err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failed == nil {
		st.failed = fmt.Errorf("%w: %w", session.ErrStore, err)
	}
	return st.failed
}

// publish shows readers what a commit has done. It needs mu. Commits are done
// in the order of their places, but may come here in another.
func (st *Store) publish(seq uint64, c change) {
	e := c.entry
	if seq > e.seq {
		e.committed, e.seq = c.to, seq
	}
	st.unpin(e)
}

// unpin needs mu.
func (st *Store) unpin(e *entry) {
	e.inFlight--
	if e.leaves() {
		delete(st.entries, e.info.info.ID)
	}
}

// Append commits all batches that it takes in one commit.
func (st *Store) Append(_ context.Context, batches []session.Batch) []error {
	errs := make([]error, len(batches))
	all := func(err error) []error {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
		return errs
	}
	if err := st.begin(); err != nil {
		return all(err)
	}
	defer st.calls.Done()

	changes := make([]change, 0, len(batches))
	b := st.db.NewBatch()
	var buf []byte
	st.order.Lock()
	if err := st.broken(); err != nil {
		st.order.Unlock()
		return all(err)
	}
	full := st.room.full.Load()
	for i := range batches {
		var e *entry
		if e, errs[i] = st.accept(&batches[i], full); errs[i] == nil {
			buf = e.put(b, buf[:0], &batches[i])
			changes = append(changes, st.pin(e))
		}
	}
	if len(changes) == 0 {
		st.order.Unlock()
		b.Close()
		return errs
	}
	seq, err := st.place(b)
	st.order.Unlock()
	if err == nil {
		err = st.await(b)
	} else {
		err = st.fail(err)
	}
	if err != nil {
		return all(err)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, c := range changes {
		st.publish(seq, c)
	}
	return errs
}

// broken returns why no commit can be put into its place, or nil.
func (st *Store) broken() error {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.failed != nil {
		return st.failed
	}
	if st.shield.abandoned.Load() {
		return errClosed
	}
	return nil
}

// accept returns the entry that a batch is for, with the batch staged, or why
// it is refused. It needs order.
func (st *Store) accept(b *session.Batch, full bool) (*entry, error) {
	e, err := st.stage(b.ID)
	if err != nil {
		return nil, err
	}
	s := &e.staged
	if b.Token != s.token {
		return nil, session.ErrFenced
	}
	if b.After != s.last || s.state.Terminal() {
		return nil, session.ErrConflict
	}
	if last, _, err := b.Frames.Check(b.After); err != nil || last != b.Last {
		return nil, session.ErrConflict
	}
	if full && !b.State.Terminal() {
		return nil, session.ErrNoSpace
	}
	s.state, s.last, s.bytes, s.checkpoint = b.State, b.Last, s.bytes+int64(len(b.Frames)), keep(b.Checkpoint)
	return e, nil
}

// put adds what a batch changes to b. It returns buf.
func (e *entry) put(b *pebble.Batch, buf []byte, from *session.Batch) []byte {
	if len(from.Frames) > 0 {
		buf = appendFramesKey(buf[:0], e.created(), from.ID, from.Last)
		b.Set(buf, from.Frames, nil)
	}
	return e.putState(b, buf)
}

// putState adds the staged state to b. It returns buf.
func (e *entry) putState(b *pebble.Batch, buf []byte) []byte {
	buf = appendRecordKey(buf[:0], e.info.info.ID, partState)
	n := len(buf)
	buf = appendState(buf, &e.staged)
	b.Set(buf[:n], buf[n:], nil)
	return buf
}

func (in *info) created() int64 { return in.info.Created.UnixMilli() }

// keep returns c without memory of the caller's that it may change.
func keep(c session.Checkpoint) session.Checkpoint {
	c.Producers = maps.Clone(c.Producers)
	for _, p := range []**int64{&c.Usage.Input, &c.Usage.Output} {
		if *p != nil {
			*p = new(**p)
		}
	}
	return c
}

// commit runs stage, which fills a batch, puts the batch into its place, waits
// until it is done, and runs publish with mu held. An error of stage is
// returned, and nothing done. When ctx is done before the commit is, commit
// returns and the rest follows behind it. It refuses at once while the disk
// does not take writes.
func (st *Store) commit(ctx context.Context, stage func(*pebble.Batch) error, publish func(seq uint64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := st.begin(); err != nil {
		return err
	}
	if err := st.down(); err != nil {
		st.calls.Done()
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer st.calls.Done() // Close waits for it
		done <- func() error {
			b := st.db.NewBatch()
			st.order.Lock()
			err := st.broken()
			if err == nil {
				err = stage(b)
			}
			if err != nil {
				st.order.Unlock()
				b.Close()
				return err
			}
			seq, err := st.place(b)
			st.order.Unlock()
			if err != nil {
				return st.fail(err)
			}
			if err := st.await(b); err != nil {
				return err
			}
			st.mu.Lock()
			defer st.mu.Unlock()
			publish(seq)
			return nil
		}()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", session.ErrStore, context.Cause(ctx))
	}
}

// Create commits a new session. See session.Store.
func (st *Store) Create(ctx context.Context, r session.Record, first session.Wire) (session.Token, error) {
	last, _, err := first.Check(0)
	if err != nil || last != r.Last {
		return 0, session.ErrConflict
	}
	if err := st.down(); err != nil {
		return 0, err
	}
	if st.room.full.Load() {
		return 0, session.ErrNoSpace
	}
	r.Checkpoint = keep(r.Checkpoint)
	r.Info.Spec.Metadata = maps.Clone(r.Info.Spec.Metadata)
	value, err := appendInfo(nil, r.Format, r.Info)
	if err != nil {
		return 0, err
	}
	e := &entry{
		info:   &info{r.Format, r.WithoutGiven().Info},
		staged: state{1, r.State, r.Last, int64(len(first)), r.Checkpoint},
	}
	frames := append(session.Wire(nil), first...) // ctx may be done before the commit
	var c change
	err = st.commit(ctx, func(b *pebble.Batch) error {
		id := r.Info.ID
		if _, err := st.stage(id); err == nil || !errors.Is(err, session.ErrNotFound) {
			if gone, ok := errors.AsType[*session.GoneError](err); err == nil || ok && gone != nil {
				return session.ErrExists
			}
			return err
		}
		if r.Format > st.newest {
			st.newest = r.Format
			b.Set(formatKey, binary.AppendUvarint([]byte{codec}, uint64(r.Format)), nil)
		}
		b.Set(appendRecordKey(nil, id, partInfo), value, nil)
		b.Set(appendIDKey(nil, prefixGiven, id), appendGiven(nil, r.Info.Spec.Source), nil)
		b.Set(appendListingKey(nil, r.Info.Principal, e.created(), id), nil, nil)
		e.put(b, nil, &session.Batch{ID: id, Last: r.Last, Frames: frames})
		c = st.pin(e)
		return nil
	}, func(seq uint64) { st.publish(seq, c) })
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// Acquire raises the session's token. See session.Store.
func (st *Store) Acquire(ctx context.Context, id session.ID) (session.Record, error) {
	var c change
	var r session.Record
	err := st.commit(ctx, func(b *pebble.Batch) error {
		e, err := st.stage(id)
		if err != nil {
			return err
		}
		value, closer, err := st.db.Get(appendIDKey(nil, prefixGiven, id))
		if err != nil {
			return fmt.Errorf("what the source of session %s… was given: %w", short(id), err)
		}
		given := e.info.info.Spec.Source
		err = parseGiven(value, &given)
		closer.Close()
		if err != nil {
			return fmt.Errorf("what the source of session %s… was given: %w", short(id), err)
		}
		e.staged.token++
		e.putState(b, nil)
		c = st.pin(e)
		r = e.record(c.to)
		r.Info.Spec.Source = given
		return nil
	}, func(seq uint64) { st.publish(seq, c) })
	if err != nil {
		return session.Record{}, err
	}
	return r, nil
}

// Remove leaves a tombstone of the session. See session.Store.
func (st *Store) Remove(ctx context.Context, id session.ID, why session.GoneReason) error {
	var e *entry
	var freed hole
	return st.commit(ctx, func(b *pebble.Batch) (err error) {
		if e, err = st.stage(id); err != nil {
			return err
		}
		names, err := st.names(id)
		if err != nil {
			return err
		}
		who := e.info.info.Principal
		gone := &session.GoneError{Principal: who, Reason: why}
		if err := st.bury(st.db, b, id, gone); err != nil {
			return err
		}
		for _, name := range names {
			b.Delete(appendAliasKey(nil, who, name), nil)
			b.Delete(appendBoundKey(nil, id, name), nil)
		}
		b.Delete(appendRecordKey(nil, id, partInfo), nil)
		b.Delete(appendRecordKey(nil, id, partState), nil)
		b.Delete(appendIDKey(nil, prefixGiven, id), nil)
		b.Delete(appendListingKey(nil, who, e.created(), id), nil)
		freed = hole{
			appendFramesKey(nil, e.created(), id, 0), appendFramesKey(nil, e.created(), id, session.MaxFrameID+1), e.staged.bytes,
		}
		b.DeleteRange(freed.low, freed.high, nil)
		e.buried = gone
		before := st.db.NewSnapshot()
		st.pin(e)
		st.mu.Lock()
		e.before, st.removing[id] = before, e
		st.mu.Unlock()
		return nil
	}, func(uint64) {
		e.gone = e.buried
		e.before.Close()
		e.before = nil
		delete(st.removing, id)
		st.unpin(e)
		st.hole.join(freed)
	})
}

// Bind commits an alias. See session.Store.
func (st *Store) Bind(ctx context.Context, who session.Principal, name string, id session.ID) (session.ID, error) {
	for {
		bound, wait, err := st.bind(ctx, alias{who, name}, id)
		if wait == nil {
			return bound, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return session.ID{}, fmt.Errorf("%w: %w", session.ErrStore, context.Cause(ctx))
		case <-st.done:
			return session.ID{}, errClosed
		}
	}
}

// bind is Bind, or returns what to wait for: another Bind of the name is on
// its way.
func (st *Store) bind(ctx context.Context, a alias, id session.ID) (bound session.ID, wait chan struct{}, err error) {
	done := make(chan struct{})
	err = st.commit(ctx, func(b *pebble.Batch) error {
		e, err := st.stage(id)
		if err != nil {
			return err
		}
		if e.info.info.Principal != a.who {
			return session.ErrNotFound
		}
		key := appendAliasKey(nil, a.who, a.name)
		value, closer, err := st.db.Get(key)
		if err == nil {
			defer closer.Close()
			if len(value) != idSize {
				return fmt.Errorf("%w: an alias", errCorrupt)
			}
			bound = session.ID(value)
			st.mu.RLock()
			wait = st.binding[a].done
			st.mu.RUnlock()
			return session.ErrExists
		}
		if !errors.Is(err, pebble.ErrNotFound) {
			return err
		}
		b.Set(key, id[:], nil)
		b.Set(appendBoundKey(nil, id, a.name), nil, nil)
		st.mu.Lock()
		st.binding[a] = binding{id, done}
		st.mu.Unlock()
		return nil
	}, func(uint64) {
		delete(st.binding, a)
		close(done)
	})
	switch {
	case errors.Is(err, session.ErrExists):
		return bound, wait, err
	case err != nil:
		return session.ID{}, nil, err
	}
	return id, nil, nil
}

// graves are the tombstones that there are: their numbers run from first to
// next, and each new one beyond most drops the first.
type graves struct {
	first, next, most uint64
}

// recover reads the numbers from the database.
func (g *graves) recover(db *pebble.DB) error {
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixOrder}, UpperBound: []byte{prefixOrder + 1}})
	if err != nil {
		return err
	}
	defer iter.Close()
	if iter.First() {
		var ok1, ok2 bool
		g.first, ok1 = parseOrderKey(iter.Key())
		iter.Last()
		g.next, ok2 = parseOrderKey(iter.Key())
		if !ok1 || !ok2 {
			return fmt.Errorf("%w: the order of its tombstones", errCorrupt)
		}
		g.next++
	}
	return iter.Error()
}

// bury adds a tombstone to b, and the end of the oldest if there are too many.
func (g *graves) bury(db *pebble.DB, b *pebble.Batch, id session.ID, gone *session.GoneError) error {
	first := g.first
	for ; g.next-first >= g.most; first++ {
		key := appendOrderKey(nil, first)
		value, closer, err := db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		b.Delete(key, nil)
		b.Delete(append([]byte{prefixGrave}, value...), nil)
		closer.Close()
	}
	b.Set(appendIDKey(nil, prefixGrave, id), appendGrave(nil, gone), nil)
	b.Set(appendOrderKey(nil, g.next), id[:], nil)
	g.first = first
	g.next++
	return nil
}
