package pebblestore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"tokenrelay/session"
)

// What an iterator sees of a session is committed if the session had no entry
// when the iterator was made: whoever commits makes an entry first. So readers
// look for the entry and make their iterator in one go, with mu held.

// lookup reads a session that has no entry.
func (st *Store) lookup(id session.ID) (*info, state, error) {
	it, err := st.db.NewIter(nil)
	if err != nil {
		return nil, state{}, err
	}
	defer it.Close()
	return readRecord(it, id)
}

// readRecord returns what it holds about a session, or an error of Load.
func readRecord(it *pebble.Iterator, id session.ID) (*info, state, error) {
	key := appendRecordKey(nil, id, partInfo)
	if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
		return readParts(it, id)
	}
	found := false
	if it.Error() == nil { // the next seek would forget it
		key = appendIDKey(nil, prefixTombstone, id)
		found = it.SeekGE(key) && bytes.Equal(it.Key(), key)
	}
	if err := it.Error(); err != nil {
		return nil, state{}, fmt.Errorf("session %s…: %w", short(id), err)
	}
	if !found {
		return nil, state{}, session.ErrNotFound
	}
	gone, err := parseTombstone(it.Value())
	if err != nil {
		return nil, state{}, fmt.Errorf("the tombstone of session %s…: %w", short(id), err)
	}
	return nil, state{}, gone
}

// readParts reads the record that it stands at. It leaves it at the last part.
func readParts(it *pebble.Iterator, id session.ID) (*info, state, error) {
	in, err := parseInfo(id, it.Value())
	if err != nil {
		return nil, state{}, err
	}
	if !it.Next() || !bytes.Equal(it.Key(), appendRecordKey(nil, id, partState)) {
		return nil, state{}, fmt.Errorf("session %s… has no state: %w", short(id), cmp.Or(it.Error(), errCorrupt))
	}
	s, err := parseState(it.Value())
	if err != nil {
		return nil, state{}, fmt.Errorf("session %s…: %w", short(id), err)
	}
	return in, s, nil
}

// A view is what a reader was given of one session: what is committed, and an
// iterator that sees all of it, and more perhaps.
type view struct {
	*info
	state
	*pebble.Iterator
}

// view returns a session's view, which is to be closed, or an error of Load.
func (st *Store) view(id session.ID) (view, error) {
	v, err := st.entryView(id)
	if err != nil || v.info != nil {
		return v, err
	}
	if v.info, v.state, err = readRecord(v.Iterator, id); err != nil {
		v.Close()
		return view{}, err
	}
	return v, nil
}

// entryView is view without info and state for a session that has no entry.
func (st *Store) entryView(id session.ID) (v view, err error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	e := st.entries[id]
	switch {
	case e == nil:
		v.Iterator, err = st.db.NewIter(nil)
		return v, err
	case e.gone != nil:
		return view{}, e.gone
	case e.committed.token == 0:
		return view{}, session.ErrNotFound
	case e.before != nil:
		v.Iterator, err = e.before.NewIter(nil)
	default:
		v.Iterator, err = st.db.NewIter(nil)
	}
	v.info, v.state = e.info, e.committed
	return v, err
}

// Load returns the session's record. See session.Store.
func (st *Store) Load(ctx context.Context, id session.ID) (session.Record, error) {
	if err := st.begin(ctx); err != nil {
		return session.Record{}, err
	}
	defer st.calls.Done()
	return st.record(id)
}

func (st *Store) record(id session.ID) (session.Record, error) {
	v, err := st.view(id)
	if err != nil {
		return session.Record{}, err
	}
	defer v.Close()
	return v.record(v.state), nil
}

// Given returns what the session's source was given. See session.Store.
func (st *Store) Given(ctx context.Context, id session.ID) (session.SourceSpec, error) {
	if err := st.begin(ctx); err != nil {
		return session.SourceSpec{}, err
	}
	defer st.calls.Done()
	v, err := st.view(id)
	if err != nil {
		return session.SourceSpec{}, err
	}
	defer v.Close()
	given, key := v.info.info.Spec.Source, appendIDKey(nil, prefixGiven, id)
	if !v.SeekGE(key) || !bytes.Equal(v.Key(), key) {
		err = cmp.Or(v.Error(), errCorrupt)
	} else {
		err = parseGiven(v.Value(), &given)
	}
	if err != nil {
		return session.SourceSpec{}, fmt.Errorf("what the source of session %s… was given: %w", short(id), err)
	}
	return given, nil
}

// Read returns frames past after. See session.Store.
func (st *Store) Read(ctx context.Context, id session.ID, after session.FrameID, size int) (session.Wire, error) {
	if err := st.begin(ctx); err != nil {
		return nil, err
	}
	defer st.calls.Done()
	if st.isLast(id, after) {
		return nil, nil
	}
	v, err := st.view(id)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	if after > v.last {
		return nil, &session.AheadError{After: after, Last: v.last}
	}
	return v.frames(id, after, size)
}

// isLast reports whether after is the last frame of a session that lives, which
// is what who follows it asks most.
func (st *Store) isLast(id session.ID, after session.FrameID) bool {
	st.mu.RLock()
	defer st.mu.RUnlock()
	e := st.entries[id]
	return e != nil && e.gone == nil && e.committed.token > 0 && e.committed.last == after
}

// frameRoom is what a reader has room for beyond what it asked, in bytes.
const frameRoom = 4 << 10

// frames reads frames past after, up to the last that is committed.
func (v view) frames(id session.ID, after session.FrameID, size int) (session.Wire, error) {
	at := after
	left := v.bytes / int64(v.last+1) * int64(v.last-after+1) // about as much
	w := make(session.Wire, 0, min(int64(size), left)+frameRoom)
	for ok := v.SeekGE(appendFramesKey(nil, v.created(), id, after+1)); at < v.last && (at == after || len(w) < size); ok = v.Next() {
		if err := v.Error(); err != nil {
			return nil, fmt.Errorf("session %s…, frames after %d: %w", short(id), at, err)
		}
		if !ok {
			return nil, missing(id, at)
		}
		created, owner, last, ok := parseFramesKey(v.Key())
		if !ok || owner != id || created != v.created() {
			return nil, missing(id, at)
		}
		value, err := v.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("session %s…, frames after %d: %w", short(id), at, err)
		}
		run := session.Wire(value)
		first := session.FrameID(0)
		for f := range run.Frames() {
			first = f.ID
			break
		}
		if first == 0 || first > at+1 || last > v.last {
			return nil, missing(id, at)
		}
		end, ends, err := run.Check(first - 1)
		if err != nil || end != last || end <= at {
			return nil, missing(id, at)
		}
		if skip := at + 1 - first; skip > 0 {
			run = run[ends[skip-1]:]
		}
		w, at = append(w, run...), last
	}
	if len(w) > size {
		w, _, _ = w.First(size)
	}
	return w, nil
}

func missing(id session.ID, after session.FrameID) error {
	return fmt.Errorf("%w: session %s…, the frames after %d", errCorrupt, short(id), after)
}

// Records yields all records. See session.Store.
func (st *Store) Records(ctx context.Context) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) {
		if err := st.begin(ctx); err != nil {
			yield(session.Record{}, err)
			return
		}
		defer st.calls.Done()
		st.mu.RLock()
		it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixRecord}, UpperBound: []byte{prefixRecord + 1}})
		live := make(map[session.ID]bool, len(st.entries))
		records := make([]session.Record, 0, len(st.entries))
		for id, e := range st.entries {
			live[id] = true
			if e.gone == nil && e.committed.token > 0 {
				records = append(records, e.record(e.committed))
			}
		}
		st.mu.RUnlock()
		if err != nil {
			yield(session.Record{}, err)
			return
		}
		defer it.Close()
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
		for ok := it.First(); ok; ok = it.Next() {
			if ctx.Err() != nil {
				yield(session.Record{}, cancelled(ctx))
				return
			}
			id, part, valid := parseRecordKey(it.Key())
			if !valid || part != partInfo && !live[id] {
				yield(session.Record{}, fmt.Errorf("%w: a record's key", errCorrupt))
				return
			}
			if live[id] {
				continue
			}
			in, s, err := readParts(it, id)
			if err != nil {
				yield(session.Record{}, err)
				return
			}
			if !yield(in.record(s), nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(session.Record{}, err)
		}
	}
}

// List returns a page of one principal's records. See session.Store.
func (st *Store) List(ctx context.Context, who session.Principal, after session.Cursor, limit int) ([]session.Record, error) {
	if err := st.begin(ctx); err != nil {
		return nil, err
	}
	defer st.calls.Done()
	if limit <= 0 {
		return nil, nil
	}
	prefix := appendListingPrefix(nil, who)
	from := append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 8+idSize+1)...)
	if after != (session.Cursor{}) {
		from = appendListingKey(nil, who, after.Created.UnixMilli(), after.ID)
	}
	// Who is on the way out has left the listing already, and is in it still.
	var page []session.Record
	seen := make(map[session.ID]bool)
	st.mu.RLock()
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: from})
	for id, e := range st.removing {
		key := appendListingKey(nil, e.info.info.Principal, e.created(), id)
		if e.info.info.Principal == who && e.committed.token > 0 && bytes.Compare(key, from) < 0 {
			page, seen[id] = append(page, e.record(e.committed)), true
		}
	}
	st.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	defer it.Close()
	n := 0
	for ok := it.Last(); ok && n < limit; ok = it.Prev() {
		_, _, id, ok := parseListingKey(it.Key())
		if !ok {
			return nil, fmt.Errorf("%w: a listing", errCorrupt)
		}
		if seen[id] {
			continue
		}
		r, err := st.record(id)
		if _, gone := errors.AsType[*session.GoneError](err); gone || errors.Is(err, session.ErrNotFound) {
			continue // it came or went just now
		}
		if err != nil {
			return nil, err
		}
		page = append(page, r)
		n++
	}
	if err := it.Error(); err != nil {
		return nil, fmt.Errorf("a listing: %w", err)
	}
	if len(seen) > 0 {
		slices.SortFunc(page, func(a, b session.Record) int {
			return cmp.Or(b.Info.Created.Compare(a.Info.Created), bytes.Compare(b.Info.ID[:], a.Info.ID[:]))
		})
	}
	return page[:min(limit, len(page))], nil
}
