package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"tokenrelay/chunker"
)

// commitGrace is how long Run waits for a commit that nobody waits for.
const commitGrace = time.Second

// A Manager owns the sessions of one node. Its methods may be called at the
// same time; sessions are created and recovered while Run runs.
type Manager struct {
	opts    Options
	store   Store
	commits *committer
	bytes   quota         // of frames and specs
	evicts  chan struct{} // holds one while ended sessions make room
	readers quota
	held    quota          // bytes of deltas that wait for resume
	unread  quota          // upstreams that run on unread
	keys    keys           // of creations under way
	starts  chan *pump     // to Run
	strays  sync.WaitGroup // changes of the store that somebody may wait for
	stopped chan struct{}

	mu       sync.Mutex      // guards the fields below; never held over I/O
	sessions map[ID]*Session // in memory: all that live, and ended ones that somebody asked for
	ended    map[ID]remains
	live     int  // sessions that have not ended, and those that are being created
	closed   bool // strays takes no more
}

// NewManager returns a manager of the sessions in store.
func NewManager(store Store, o Options) (*Manager, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Manager{
		opts:     o,
		store:    store,
		commits:  newCommitter(store, o.Events.Appended),
		bytes:    quota{max: o.MaxTotalBytes, crowded: make(chan struct{}, 1)},
		evicts:   make(chan struct{}, 1),
		readers:  quota{max: int64(o.MaxReaders)},
		held:     quota{max: o.MaxTotalHold},
		unread:   quota{max: int64(o.MaxUnread)},
		starts:   make(chan *pump),
		stopped:  make(chan struct{}),
		sessions: make(map[ID]*Session),
		ended:    make(map[ID]remains),
	}, nil
}

// Run runs the sessions until ctx is done and all of them have let go of their
// sources, for which one that was stopped at the same moment may take some
// seconds: a model that lives on by itself is to be told. Sessions that have not ended by then have no terminal frame: how
// they go on is up to the store. It must be called once. An error other than
// that of ctx is ErrStore: the store did not return.
func (m *Manager) Run(ctx context.Context) error {
	idle, committed := make(chan struct{}), make(chan struct{})
	m.strays.Go(func() { m.commits.run(idle) })
	var pumps sync.WaitGroup
	pumps.Go(func() { m.tidy(ctx) })
	for ctx.Err() == nil {
		select {
		case p := <-m.starts:
			pumps.Go(func() { p.run(ctx) })
		case <-ctx.Done():
		}
	}
	close(m.stopped)
	pumps.Wait()
	close(idle)
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	go func() {
		m.strays.Wait()
		close(committed)
	}()
	select {
	case <-committed:
		return context.Cause(ctx)
	case <-time.After(commitGrace):
		return ErrStore // no pump waits for it any more
	}
}

// A Use is what a Manager uses of what it may.
type Use struct {
	Live          int // sessions that have not ended
	MaxSessions   int // of those
	Ended         int // sessions that have ended and are kept
	InMemory      int // sessions in memory, all that live among them
	Readers       int
	MaxReaders    int
	Bytes         int64 // of frames, and of what sessions were created with
	MaxTotalBytes int64
	Disk          int64 // bytes that the store takes on its disk
	Unread        int   // upstreams that run on though nobody reads them
	MaxUnread     int
	Held          int64 // bytes that deltas of paused sessions take
	MaxTotalHold  int64
}

// Use returns what is in use now.
func (m *Manager) Use() Use {
	disk := m.store.Stat().Disk
	m.mu.Lock()
	defer m.mu.Unlock()
	return Use{
		Live:          m.live,
		MaxSessions:   m.opts.MaxSessions,
		Ended:         len(m.ended),
		InMemory:      len(m.sessions),
		Readers:       int(m.readers.used.Load()),
		MaxReaders:    m.opts.MaxReaders,
		Bytes:         m.bytes.used.Load(),
		MaxTotalBytes: m.opts.MaxTotalBytes,
		Disk:          disk,
		Unread:        int(m.unread.used.Load()),
		MaxUnread:     m.opts.MaxUnread,
		Held:          m.held.used.Load(),
		MaxTotalHold:  m.opts.MaxTotalHold,
	}
}

// Unresumable returns how many sessions run that would end as interrupted if
// the process ended now.
func (m *Manager) Unresumable() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if !s.resumable() {
			n++
		}
	}
	return n
}

// Level is what a frame that is shown, and a command that is answered, survives.
func (m *Manager) Level() Level { return m.store.Level() }

// Ready returns nil, or why no new session is taken at the moment: an error
// that wraps ErrStore, and ErrNoSpace if it is for want of room.
func (m *Manager) Ready() error {
	if err := m.store.Stat().Err; err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if took := m.commits.waits(); took > storePatience {
		return fmt.Errorf("%w: it has not answered for %v", ErrStore, took.Round(time.Second))
	}
	return nil
}

// see runs do, which changes the store, to its end, whoever waits for it: only
// then is it known what there is. It returns do's error, or ErrStore when ctx
// or storePatience is over before. The context of do ends then too.
func (m *Manager) see(ctx context.Context, do func(context.Context) error) error {
	waiting, leave := context.WithTimeout(ctx, storePatience)
	done := make(chan error, 1)
	defer leave()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrShutdown
	}
	m.strays.Add(1)
	m.mu.Unlock()
	go func() {
		defer m.strays.Done()
		done <- do(waiting)
	}()
	select {
	case err := <-done:
		return err
	case <-waiting.Done():
		return ErrStore
	}
}

// Create makes a session without names, whose first frame is committed when it
// returns. Errors are *InvalidError, ErrOverloaded, ErrShutdown and those of Ready.
func (m *Manager) Create(ctx context.Context, who Principal, spec Spec) (*Session, error) {
	s, _, err := m.CreateNamed(ctx, who, Names{}, func() (Spec, error) { return spec, nil })
	return s, err
}

func (m *Manager) newSession(ctx context.Context, who Principal, spec Spec, aliases []Alias) (*Session, error) {
	spec = spec.withDefaults(m.opts)
	if err := spec.validate(m.opts.Retain); err != nil {
		return nil, err
	}
	if err := m.Ready(); err != nil {
		return nil, err
	}
	source, err := spec.Source.open(m.opts.Upstreams)
	if err != nil {
		return nil, err
	}
	info := newInfo(who, spec)
	cut, err := chunker.New(spec.Unit, info.Spec.Encoding)
	if err != nil {
		return nil, err
	}
	if err := m.reserve(ctx, info.Size); err != nil {
		return nil, err
	}
	var s *Session
	err = m.see(ctx, func(ctx context.Context) (err error) {
		if s, err = m.create(ctx, info, source, cut, aliases); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.live--
			m.bytes.add(-info.Size)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// reserve takes a place among the sessions that live, and room for size bytes.
func (m *Manager) reserve(ctx context.Context, size int64) error {
	if m.bytes.above(crowdedAbove) {
		m.evict(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live >= m.opts.MaxSessions || !m.bytes.take(size) {
		return ErrOverloaded
	}
	m.live++
	return nil
}

// newInfo settles what a new session is, its encoding too.
func newInfo(who Principal, spec Spec) Info {
	info := Info{
		ID:        NewID(),
		Principal: who,
		Created:   time.Now().UTC().Truncate(time.Millisecond),
		Spec:      spec,
		Unicode:   chunker.UnicodeVersion(spec.Unit),
	}
	info.Spec.Encoding, info.EncodingSource = spec.encoding()
	info.Size = spec.size()
	if spec.Source.Type == SourceGenerate {
		info.Generator = GeneratorVersion
	}
	return info
}

func (m *Manager) create(ctx context.Context, info Info, source Source, cut chunker.Chunker, aliases []Alias) (*Session, error) {
	spec := info.Spec
	var continues *ID
	if spec.Continues != (ID{}) {
		continues = &spec.Continues
	}
	first, err := json.Marshal(struct {
		ID             ID             `json:"id"`
		Unit           chunker.Unit   `json:"unit"`
		Encoding       string         `json:"encoding,omitempty"`
		EncodingSource EncodingSource `json:"encoding_source,omitempty"`
		Unicode        string         `json:"unicode,omitempty"`
		Created        time.Time      `json:"created"`
		Continues      *ID            `json:"continues,omitempty"`
	}{info.ID, spec.Unit, spec.Encoding, info.EncodingSource, info.Unicode, info.Created, continues})
	if err != nil {
		return nil, err
	}
	wire := Wire(Frame{1, KindSession, first}.AppendWire(nil))
	kept := context.WithoutCancel(ctx)
	token, err := m.store.Create(kept, Record{Info: info, State: Running, Last: 1}, wire, aliases...)
	if _, bound := errors.AsType[*BoundError](err); bound {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("create session: %w: %w", ErrStore, err)
	}
	if ctx.Err() != nil { // nobody waits for it any more
		return nil, errors.Join(context.Cause(ctx), m.store.Remove(kept, info.ID, Deleted))
	}
	s := newSession(m, info, 0)
	p := m.newPump(s, source, Record{Info: info, Token: token, State: Running, Last: 1, Bytes: int64(len(wire))})
	p.cut = cut
	s.commit(wire, []uint32{uint32(len(wire))}, p.status)
	m.mu.Lock()
	m.sessions[info.ID] = s
	m.mu.Unlock()
	select {
	case m.starts <- p:
	case <-m.stopped:
		m.mu.Lock()
		delete(m.sessions, info.ID)
		m.mu.Unlock()
		s.leave(ErrShutdown)
		return nil, errors.Join(ErrShutdown, m.store.Remove(kept, info.ID, Deleted))
	}
	m.bytes.add(int64(len(wire)))
	m.opts.Logger.Info("session created", "session", info.ID, "source", spec.Source.Type, logged("model", spec.Source.Model), "unit", spec.Unit,
		logged("encoding", spec.Encoding), logged("encoding_source", string(info.EncodingSource)))
	return s, nil
}

// newPump returns the pump of a session that stands where r says.
func (m *Manager) newPump(s *Session, source Source, r Record) *pump {
	p := &pump{
		s:      s,
		source: source,
		token:  r.Token,
		limits: limits{
			session: m.opts.MaxBytes, hold: m.opts.MaxHold, held: &m.held, total: &m.bytes,
			unread: &m.unread, unreadTime: m.opts.MaxUnreadTime, idle: m.opts.MaxIdle,
		},
		write:  m.commits.write,
		retire: m.settle,
		makeRoom: func() bool {
			m.evict(context.Background())
			return !m.bytes.over()
		},
		events: m.opts.Events,
		logger: m.opts.Logger,
		pace:   newPace(r.Info.Spec.Rate),
		check:  r.Checkpoint,
		size:   r.Bytes,
		owed:   r.Checkpoint.Position + int64(len(r.Checkpoint.Held)),
	}
	p.clock.check = &p.check
	if p.upstream() {
		p.tally = newTally(r.Info.Spec.Source.Model)
		if spec := r.Info.Spec; p.check.Output == 0 && spec.Unit == chunker.Token && spec.Continues == (ID{}) {
			p.check.Output = p.check.Units // of a checkpoint from before there was a count
		}
	}
	p.status = Status{
		State: r.State, Last: r.Last, Usage: p.usage(), Timings: p.timings(),
		FirstText: r.Checkpoint.FirstText, Producers: r.Checkpoint.Producers, resumable: p.resumable(),
	}
	p.kept = standing{p.status, p.check}
	return p
}

// logged returns an attribute, or the one that handlers leave out if value is
// empty.
func logged(key, value string) slog.Attr {
	if value == "" {
		return slog.Attr{}
	}
	return slog.String(key, value)
}

// Get returns a principal's session. Errors are ErrNotFound, also for the
// sessions of others, *GoneError, ErrElsewhere, and the store's.
func (m *Manager) Get(ctx context.Context, who Principal, id ID) (*Session, error) {
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	if s == nil {
		r, err := m.store.Load(ctx, id)
		if gone, ok := errors.AsType[*GoneError](err); ok && gone.Principal != who {
			return nil, ErrNotFound
		}
		switch {
		case err != nil:
			return nil, err
		case r.Info.Principal != who:
			return nil, ErrNotFound
		}
		if s, err = m.recall(ctx, r); err != nil {
			return nil, err
		}
	}
	if s.info.Principal != who {
		return nil, ErrNotFound
	}
	at := time.Now()
	if s.expired(at) {
		return nil, &GoneError{who, Expired}
	}
	s.touch(at)
	return s, nil
}

// recall brings a session that has ended back into memory, its log apart.
func (m *Manager) recall(ctx context.Context, r Record) (*Session, error) {
	if !r.State.Terminal() {
		return nil, ErrElsewhere
	}
	w, err := m.store.Read(ctx, r.Info.ID, r.Last-1, 0)
	if err != nil {
		return nil, err
	}
	s := newSession(m, r.Info, r.Last)
	s.status = Status{
		State: r.State, Last: r.Last, End: new(End),
		FirstText: r.Checkpoint.FirstText, Ended: r.Checkpoint.Ended, Producers: r.Checkpoint.Producers,
	}
	for f := range w.Frames() {
		if err := json.Unmarshal(f.Data, s.status.End); err != nil {
			return nil, fmt.Errorf("terminal frame: %w", err)
		}
	}
	s.status.Usage, s.status.Timings = s.status.End.Usage, s.status.End.Timings
	s.log.Break(io.EOF)
	s.leave(nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.sessions[r.Info.ID]; other != nil {
		return other, nil
	}
	if _, kept := m.ended[r.Info.ID]; kept { // or it was removed meanwhile
		m.sessions[r.Info.ID] = s
	}
	return s, nil
}

// List returns up to limit sessions of one principal, newest first, from
// after on, and where the next page begins; the zero Cursor if nowhere.
func (m *Manager) List(ctx context.Context, who Principal, after Cursor, limit int) ([]*Session, Cursor, error) {
	records, err := m.store.List(ctx, who, after, limit+1)
	if err != nil {
		return nil, Cursor{}, err
	}
	next := Cursor{}
	if len(records) > limit {
		records = records[:limit]
		last := records[limit-1].Info
		next = Cursor{Created: last.Created, ID: last.ID}
	}
	sessions := make([]*Session, 0, len(records))
	for _, r := range records {
		m.mu.Lock()
		s, err := m.sessions[r.Info.ID], error(nil)
		m.mu.Unlock()
		if s == nil {
			s, err = m.recall(ctx, r)
		}
		_, gone := errors.AsType[*GoneError](err)
		switch {
		case gone || errors.Is(err, ErrNotFound) || errors.Is(err, ErrElsewhere): // it may have gone meanwhile
		case err != nil:
			return nil, Cursor{}, err
		case !s.expired(time.Now()):
			sessions = append(sessions, s)
		}
	}
	return sessions, next, nil
}

// Delete stops a session and forgets it. Its readers see the end.
func (m *Manager) Delete(ctx context.Context, who Principal, id ID) error {
	s, err := m.Get(ctx, who, id)
	if err != nil {
		return err
	}
	if err := s.stop(ctx, ReasonDeleted); err != nil {
		return err
	}
	select {
	case <-s.gone:
		return m.remove(ctx, id, Deleted)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
