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
	most int // tombstones

	mu         sync.Mutex // guards the fields below
	sessions   map[session.ID]*stored
	newest     map[session.Principal][]*stored // in the order of their cursors, the oldest first
	aliases    map[alias]session.ID
	tombstones map[session.ID]*session.GoneError
	removed    []session.ID // those of tombstones, the oldest first
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
		most:       maxTombstones,
		sessions:   make(map[session.ID]*stored),
		newest:     make(map[session.Principal][]*stored),
		aliases:    make(map[alias]session.ID),
		tombstones: make(map[session.ID]*session.GoneError),
	}
}

// Level is session.LevelMemory.
func (st *Store) Level() session.Level { return session.LevelMemory }

// Stat says that all is well: memory is the Manager's to count.
func (st *Store) Stat() session.StoreStat { return session.StoreStat{} }

func (st *Store) Create(ctx context.Context, r session.Record, first session.Wire, aliases ...session.Alias) (session.Token, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	last, ends, err := first.Check(0)
	if err != nil || last != r.Last {
		return 0, session.ErrConflict
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	id, who := r.Info.ID, r.Info.Principal
	if st.sessions[id] != nil || st.tombstones[id] != nil {
		return 0, session.ErrExists
	}
	for _, a := range aliases {
		if bound, taken := st.aliases[alias{who, a.Name}]; taken && !a.Moves {
			return 0, &session.BoundError{ID: bound}
		}
	}
	r.Token, r.Bytes = 1, int64(len(first))
	s := &stored{record: r.Clone(), frames: bytes.Clone(first), ends: ends}
	for _, a := range aliases {
		st.bind(alias{who, a.Name}, s)
	}
	st.sessions[id] = s
	at, _ := slices.BinarySearchFunc(st.newest[who], cursor(s), compare)
	st.newest[who] = slices.Insert(st.newest[who], at, s)
	return r.Token, nil
}

func (st *Store) Acquire(ctx context.Context, id session.ID) (session.Record, error) {
	if ctx.Err() != nil {
		return session.Record{}, context.Cause(ctx)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return session.Record{}, err
	}
	s.record.Token++
	return s.record.Clone(), nil
}

func (st *Store) Given(ctx context.Context, id session.ID) (session.SourceSpec, error) {
	if ctx.Err() != nil {
		return session.SourceSpec{}, context.Cause(ctx)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return session.SourceSpec{}, err
	}
	return s.record.Clone().Info.Spec.Source, nil
}

func (st *Store) Append(ctx context.Context, batches []session.Batch) []error {
	errs := make([]error, len(batches))
	done := context.Cause(ctx)
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, b := range batches {
		if errs[i] = done; done != nil {
			continue
		}
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
	s.record.Last, s.record.State, s.record.Checkpoint = b.Last, b.State, b.Checkpoint.Clone()
	s.record.Bytes = int64(len(s.frames))
	return nil
}

func (st *Store) Load(ctx context.Context, id session.ID) (session.Record, error) {
	if ctx.Err() != nil {
		return session.Record{}, context.Cause(ctx)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	s, err := st.get(id)
	if err != nil {
		return session.Record{}, err
	}
	return s.record.WithoutGiven().Clone(), nil
}

func (st *Store) Read(ctx context.Context, id session.ID, after session.FrameID, size int) (session.Wire, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
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

func (st *Store) Records(ctx context.Context) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) {
		st.mu.Lock()
		records := make([]session.Record, 0, len(st.sessions))
		for _, s := range st.sessions {
			records = append(records, s.record.WithoutGiven().Clone())
		}
		st.mu.Unlock()
		for _, r := range records {
			if ctx.Err() != nil {
				break
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(session.Record{}, err)
		}
	}
}

func (st *Store) List(ctx context.Context, who session.Principal, after session.Cursor, limit int) ([]session.Record, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	all := st.newest[who]
	at := len(all)
	if after != (session.Cursor{}) {
		at, _ = slices.BinarySearchFunc(all, after, compare)
	}
	var page []session.Record
	for ; at > 0 && len(page) < limit; at-- {
		page = append(page, all[at-1].record.WithoutGiven().Clone())
	}
	return page, nil
}

func (st *Store) Remove(ctx context.Context, id session.ID, why session.GoneReason) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
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
	st.tombstones[id] = &session.GoneError{Principal: who, Reason: why}
	st.removed = append(st.removed, id)
	if len(st.removed) > st.most {
		delete(st.tombstones, st.removed[0])
		st.removed = st.removed[1:]
	}
	return nil
}

func (st *Store) Bind(ctx context.Context, who session.Principal, name string, id session.ID) (session.ID, error) {
	if ctx.Err() != nil {
		return session.ID{}, context.Cause(ctx)
	}
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
	st.bind(a, s)
	return id, nil
}

// bind makes a an alias of s, whoever had it. It needs mu.
func (st *Store) bind(a alias, s *stored) {
	if had := st.sessions[st.aliases[a]]; had != nil {
		had.aliases = slices.DeleteFunc(had.aliases, func(other alias) bool { return other == a })
	}
	st.aliases[a] = s.record.Info.ID
	s.aliases = append(s.aliases, a)
}

func (st *Store) Resolve(ctx context.Context, who session.Principal, name string) (session.ID, error) {
	if ctx.Err() != nil {
		return session.ID{}, context.Cause(ctx)
	}
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
	if gone := st.tombstones[id]; gone != nil {
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
