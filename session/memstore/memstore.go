// Package memstore is a session.Store in the memory of the process: nothing
// of it outlives the process.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"

	"tokenrelay/session"
)

// maxTombstones bounds how many removed sessions are remembered.
const maxTombstones = 100_000

// A Store keeps sessions in memory, at session.LevelMemory.
type Store struct {
	mu       sync.Mutex // guards the fields below
	sessions map[session.ID]*stored
	newest   map[session.Principal][]*stored // in the order of their cursors, the oldest first
	aliases  map[alias]session.ID
	graves   map[session.ID]*session.GoneError
	buried   []session.ID // the oldest first
}

type stored struct {
	record  session.Record
	frames  session.Wire
	ends    []uint32 // ends[i] is where frame i+1 ends in frames
	aliases []alias
}

type alias struct {
	who  session.Principal
	name string
}

// New returns an empty store.
func New() *Store {
	return &Store{
		sessions: make(map[session.ID]*stored),
		newest:   make(map[session.Principal][]*stored),
		aliases:  make(map[alias]session.ID),
		graves:   make(map[session.ID]*session.GoneError),
	}
}

// Level is session.LevelMemory.
func (st *Store) Level() session.Level { return session.LevelMemory }

// Stat says that all is well: memory is the Manager's to count.
func (st *Store) Stat() session.StoreStat { return session.StoreStat{} }

func (st *Store) Create(_ context.Context, r session.Record, first session.Wire) (session.Token, error) {
	last, ends, err := first.Check(0)
	if err != nil || last != r.Last {
		return 0, session.ErrConflict
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	id, who := r.Info.ID, r.Info.Principal
	if st.sessions[id] != nil || st.graves[id] != nil {
		return 0, session.ErrExists
	}
	r.Token, r.Bytes = 1, int64(len(first))
	s := &stored{record: r, frames: bytes.Clone(first), ends: ends}
	st.sessions[id] = s
	at, _ := slices.BinarySearchFunc(st.newest[who], cursor(s), compare)
	st.newest[who] = slices.Insert(st.newest[who], at, s)
	return r.Token, nil
}

func (st *Store) Acquire(_ context.Context, id session.ID) (session.Record, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return session.Record{}, err
	}
	s.record.Token++
	return s.record, nil
}

func (st *Store) Append(_ context.Context, batches []session.Batch) []error {
	st.mu.Lock()
	defer st.mu.Unlock()
	errs := make([]error, len(batches))
	for i, b := range batches {
		errs[i] = st.append(b)
	}
	return errs
}

func (st *Store) append(b session.Batch) error {
	s, err := st.get(b.ID)
	switch {
	case err != nil:
		return err
	case b.Token != s.record.Token:
		return session.ErrFenced
	case b.After != s.record.Last || s.record.State.Terminal():
		return session.ErrConflict
	}
	last, ends, err := b.Frames.Check(b.After)
	if err != nil || last != b.Last {
		return session.ErrConflict
	}
	base := uint32(len(s.frames))
	s.frames = append(s.frames, b.Frames...)
	for _, end := range ends {
		s.ends = append(s.ends, base+end)
	}
	s.record.Last, s.record.State, s.record.Checkpoint = b.Last, b.State, b.Checkpoint
	s.record.Bytes = int64(len(s.frames))
	return nil
}

func (st *Store) Load(_ context.Context, id session.ID) (session.Record, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return session.Record{}, err
	}
	return s.record.WithoutGiven(), nil
}

func (st *Store) Read(_ context.Context, id session.ID, after session.FrameID, size int) (session.Wire, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	switch {
	case err != nil:
		return nil, err
	case after > s.record.Last:
		return nil, &session.AheadError{After: after, Last: s.record.Last}
	}
	start := uint32(0)
	if after > 0 {
		start = s.ends[after-1]
	}
	first, _, _ := s.frames[start:].First(size)
	return first, nil
}

func (st *Store) Records(context.Context) iter.Seq2[session.Record, error] {
	st.mu.Lock()
	defer st.mu.Unlock()
	records := make([]session.Record, 0, len(st.sessions))
	for _, s := range st.sessions {
		records = append(records, s.record.WithoutGiven())
	}
	return func(yield func(session.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (st *Store) List(_ context.Context, who session.Principal, after session.Cursor, limit int) ([]session.Record, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	all := st.newest[who]
	at := len(all)
	if after != (session.Cursor{}) {
		at, _ = slices.BinarySearchFunc(all, after, compare)
	}
	var page []session.Record
	for ; at > 0 && len(page) < limit; at-- {
		page = append(page, all[at-1].record.WithoutGiven())
	}
	return page, nil
}

func (st *Store) Remove(_ context.Context, id session.ID, why session.GoneReason) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return err
	}
	who := s.record.Info.Principal
	delete(st.sessions, id)
	if at, found := slices.BinarySearchFunc(st.newest[who], cursor(s), compare); found {
		st.newest[who] = slices.Delete(st.newest[who], at, at+1)
	}
	if len(st.newest[who]) == 0 {
		delete(st.newest, who)
	}
	for _, a := range s.aliases {
		delete(st.aliases, a)
	}
	st.graves[id] = &session.GoneError{Principal: who, Reason: why}
	st.buried = append(st.buried, id)
	if len(st.buried) > maxTombstones {
		delete(st.graves, st.buried[0])
		st.buried = st.buried[1:]
	}
	return nil
}

func (st *Store) Bind(_ context.Context, who session.Principal, name string, id session.ID) (session.ID, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return session.ID{}, err
	}
	if s.record.Info.Principal != who {
		return session.ID{}, session.ErrNotFound
	}
	a := alias{who, name}
	if bound, ok := st.aliases[a]; ok {
		return bound, session.ErrExists
	}
	st.aliases[a] = id
	s.aliases = append(s.aliases, a)
	return id, nil
}

func (st *Store) Resolve(_ context.Context, who session.Principal, name string) (session.ID, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	id, ok := st.aliases[alias{who, name}]
	if !ok {
		return session.ID{}, session.ErrNotFound
	}
	return id, nil
}

// get needs mu.
func (st *Store) get(id session.ID) (*stored, error) {
	if s := st.sessions[id]; s != nil {
		return s, nil
	}
	if gone := st.graves[id]; gone != nil {
		return nil, gone
	}
	return nil, session.ErrNotFound
}

func cursor(s *stored) session.Cursor {
	return session.Cursor{Created: s.record.Info.Created, ID: s.record.Info.ID}
}

func compare(s *stored, c session.Cursor) int {
	return cmp.Or(s.record.Info.Created.Compare(c.Created), bytes.Compare(s.record.Info.ID[:], c.ID[:]))
}
