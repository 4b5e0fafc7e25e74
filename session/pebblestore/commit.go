package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

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
	staged  state              // what committed becomes with the commits on their way
	leaving *session.GoneError // what gone becomes
}

// leaves reports whether an entry can be read from the disk as well.
func (e *entry) leaves() bool {
	return e.inFlight == 0 && (e.committed.token == 0 || e.gone != nil || e.committed.state.Terminal())
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
		if e.leaving != nil {
			return nil, e.leaving
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

// commit runs stage, which fills a batch and has order, puts the batch into its
// place behind all that came before it, waits until it is done, and runs
// publish, which has mu. An error of stage is returned, and nothing done.
func (st *Store) commit(stage func(*pebble.Batch) error, publish func(seq uint64)) error {
	b := st.db.NewBatch()
	st.order.Lock()
	err := st.failed()
	if err == nil {
		err = stage(b)
	}
	if err != nil || b.Empty() {
		st.order.Unlock()
		b.Close()
		return err
	}
	st.seq++
	seq := st.seq
	var count [1 + binary.MaxVarintLen64]byte
	b.Set(countKey, appendCount(count[:0], seq), nil)
	err = st.db.ApplyNoSyncWait(b, pebble.Sync)
	st.order.Unlock()
	if err == nil {
		err = b.SyncWait()
	}
	if err != nil {
		return st.fail(err)
	}
	if st.shield.abandoned.Load() {
		return errClosed
	}
	st.tally.acknowledge(seq)
	b.Close()
	st.mu.Lock()
	defer st.mu.Unlock()
	publish(seq)
	return nil
}

// tryCommit is commit for calls that do not wait for a disk that fails: it
// refuses while the disk does not take writes, and when ctx is done before the
// commit is, it returns, and the rest follows behind it. A stage that returns a
// *busyError has done nothing, and runs again when that is over.
func (st *Store) tryCommit(ctx context.Context, stage func(*pebble.Batch) error, publish func(seq uint64)) error {
	for {
		err := st.tryOnce(ctx, stage, publish)
		busy, ok := errors.AsType[*busyError](err)
		if !ok {
			return err
		}
		if err := st.await(ctx, busy); err != nil {
			return err
		}
	}
}

// await waits until what another commit is on its way for is done, or the store
// has failed, so that it will never be.
func (st *Store) await(ctx context.Context, busy *busyError) error {
	st.waiting.Add(1)
	defer st.waiting.Add(-1)
	select {
	case <-busy.done:
	case <-st.failing:
	case <-ctx.Done():
		return cancelled(ctx)
	case <-st.shield.closing:
		return errClosed
	}
	return nil
}

func (st *Store) tryOnce(ctx context.Context, stage func(*pebble.Batch) error, publish func(seq uint64)) error {
	if err := st.begin(ctx); err != nil {
		return err
	}
	if err := st.down(); err != nil {
		st.calls.Done()
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer st.calls.Done() // Close waits for it
		done <- st.commit(stage, publish)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return cancelled(ctx)
	}
}

// failed is why no commit can follow any more, or nil.
func (st *Store) failed() error {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.failure == nil && st.shield.abandoned.Load() {
		return errClosed
	}
	return st.failure
}

// fail takes note that no commit can follow: what was staged is not what is
// there.
func (st *Store) fail(err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.failure == nil {
		st.failure = fmt.Errorf("%w: %w", session.ErrStore, err)
		close(st.failing)
		st.logger.Error("the store takes nothing until it is opened again", "error", firstLine(err))
	}
	return st.failure
}

// publish shows readers what a commit has done. It needs mu. Commits are done
// in the order of their places, but may come here in another; the changes of
// one commit come in their order.
func (st *Store) publish(seq uint64, c change) {
	e := c.entry
	if seq >= e.seq {
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
func (st *Store) Append(ctx context.Context, batches []session.Batch) []error {
	errs := make([]error, len(batches))
	if err := st.append(ctx, batches, errs); err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
	}
	return errs
}

// append is Append. An error is that of all batches that have none of their own.
func (st *Store) append(ctx context.Context, batches []session.Batch, errs []error) error {
	if err := st.begin(ctx); err != nil {
		return err
	}
	defer st.calls.Done()
	if err := st.place.lost(); err != nil {
		return err // it would go to files that nobody finds again
	}
	size := int64(0)
	for i := range batches {
		size += sizeOf(&batches[i])
	}
	room := st.ballast.room(size)
	changes := make([]change, 0, len(batches))
	return st.commit(func(b *pebble.Batch) error {
		var buf []byte
		for i := range batches {
			var e *entry
			if e, errs[i] = st.accept(&batches[i], &room); errs[i] == nil {
				buf = e.put(b, buf[:0], &batches[i])
				changes = append(changes, st.pin(e))
			}
		}
		return nil
	}, func(seq uint64) {
		for _, c := range changes {
			st.publish(seq, c)
		}
	})
}

// sizeOf is about what a batch takes on the disk, in bytes.
func sizeOf(b *session.Batch) int64 { return int64(len(b.Frames) + len(b.Checkpoint.Held)) }

// accept returns the entry that a batch is for, with the batch staged, or why
// it is refused: it takes what it needs of room. It needs order.
func (st *Store) accept(b *session.Batch, room *int64) (*entry, error) {
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
	size := sizeOf(b)
	if size > *room && !b.State.Terminal() {
		return nil, session.ErrNoSpace
	}
	*room -= size
	s.state, s.last, s.bytes, s.checkpoint = b.State, b.Last, s.bytes+int64(len(b.Frames)), b.Checkpoint.Clone()
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

// Create commits a new session with its aliases. See session.Store.
func (st *Store) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	last, _, err := first.Check(0)
	if err != nil || last != r.Last {
		return 0, session.ErrConflict
	}
	if err := st.down(); err != nil {
		return 0, err
	}
	r, aliases = r.Clone(), slices.Clone(aliases) // ctx may be done before the commit
	value, err := appendInfo(nil, r.Info)
	if err != nil {
		return 0, err
	}
	given := appendGiven(nil, r.Info.Spec.Source)
	if size := int64(len(value) + len(given) + len(first) + len(r.Checkpoint.Held)); size > st.ballast.room(size) {
		return 0, session.ErrNoSpace
	}
	e := &entry{
		info:   &info{r.WithoutGiven().Info},
		staged: state{1, r.State, r.Last, int64(len(first)), r.Checkpoint},
	}
	frames := append(session.Wire(nil), first...)
	var c change
	var names renaming
	err = st.tryCommit(ctx, func(b *pebble.Batch) error {
		id := r.Info.ID
		if _, err := st.stage(id); err == nil || !errors.Is(err, session.ErrNotFound) {
			if gone, ok := errors.AsType[*session.GoneError](err); err == nil || ok && gone != nil {
				return session.ErrExists
			}
			return err
		}
		var err error
		if names, err = st.take(r.Info.Principal, aliases, id); err != nil {
			return err
		}
		b.Set(appendRecordKey(nil, id, partInfo), value, nil)
		b.Set(appendIDKey(nil, prefixGiven, id), given, nil)
		b.Set(appendListingKey(nil, r.Info.Principal, e.created(), id), nil, nil)
		e.put(b, nil, &session.Batch{ID: id, Last: r.Last, Frames: frames})
		c = st.pin(e)
		st.rename(b, names)
		return nil
	}, func(seq uint64) {
		st.publish(seq, c)
		st.renamed(names)
	})
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// Acquire raises the session's token. See session.Store.
func (st *Store) Acquire(ctx context.Context, id session.ID) (session.Record, error) {
	var c change
	var r session.Record
	err := st.tryCommit(ctx, func(b *pebble.Batch) error {
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
	var names renaming
	var freed removedSpan
	return st.tryCommit(ctx, func(b *pebble.Batch) (err error) {
		if e, err = st.stage(id); err != nil {
			return err
		}
		who := e.info.info.Principal
		if names, err = st.free(who, id); err != nil {
			return err
		}
		gone := &session.GoneError{Principal: who, Reason: why}
		if err := st.tombstones.put(st.db, b, id, gone); err != nil {
			return err
		}
		st.rename(b, names)
		b.Delete(appendRecordKey(nil, id, partInfo), nil)
		b.Delete(appendRecordKey(nil, id, partState), nil)
		b.Delete(appendIDKey(nil, prefixGiven, id), nil)
		b.Delete(appendListingKey(nil, who, e.created(), id), nil)
		freed = removedSpan{
			appendFramesKey(nil, e.created(), id, 0), appendFramesKey(nil, e.created(), id, session.MaxFrameID+1), e.staged.bytes,
		}
		b.DeleteRange(freed.low, freed.high, nil)
		e.leaving = gone
		before := st.db.NewSnapshot()
		st.pin(e)
		st.mu.Lock()
		e.before, st.removing[id] = before, e
		st.mu.Unlock()
		return nil
	}, func(uint64) {
		e.gone = e.leaving
		e.before.Close()
		e.before = nil
		delete(st.removing, id)
		st.unpin(e)
		st.renamed(names)
		st.removed.join(freed)
	})
}
