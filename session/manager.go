package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tokenrelay/chunker"
)

// Defaults of Options.
const (
	DefaultMaxSessions   = 10_000
	DefaultMaxReaders    = 20_000
	DefaultMaxBytes      = 16 << 20
	DefaultMaxTotalBytes = 1 << 30
	DefaultMaxHold       = 1 << 20
	DefaultRetain        = 24 * time.Hour
)

// sweepEvery is how often expired sessions give their memory back. They are
// gone for their readers at once.
const sweepEvery = 15 * time.Second

// Options say what a Manager may use. The zero value of each field means its
// default; negative values are errors.
type Options struct {
	// Upstreams makes the sources of upstream sessions; nil means there are none.
	Upstreams Opener
	// MaxSessions bounds how many sessions there are, ended ones included.
	MaxSessions int
	// MaxReaders bounds how many readers all sessions have together.
	MaxReaders int
	// MaxBytes bounds one session's log, in bytes of frames, to 1 GiB at most.
	// A session that reaches it ends with a failed frame; nothing in it is dropped.
	MaxBytes int64
	// MaxTotalBytes bounds what all sessions keep together, in bytes of frames
	// and of what they were created with. A session whose text reaches it ends
	// as if it had reached MaxBytes.
	MaxTotalBytes int64
	// MaxHold bounds what a paused upstream session reads on, in bytes that its
	// deltas take.
	MaxHold int
	// Retain is how long an ended session stays readable, and the most that a
	// session can ask for.
	Retain time.Duration
	// Events are told of what becomes of sessions, for metrics.
	Events Events
	// Logger takes the lives of sessions; nil discards them.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.MaxSessions = cmp.Or(o.MaxSessions, DefaultMaxSessions)
	o.MaxReaders = cmp.Or(o.MaxReaders, DefaultMaxReaders)
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxTotalBytes = cmp.Or(o.MaxTotalBytes, DefaultMaxTotalBytes)
	o.MaxHold = cmp.Or(o.MaxHold, DefaultMaxHold)
	o.Retain = cmp.Or(o.Retain, DefaultRetain)
	o.Events = o.Events.withDefaults()
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

func (o Options) validate() error {
	for _, limit := range [...]struct {
		name  string
		value int64
	}{
		{"MaxSessions", int64(o.MaxSessions)}, {"MaxReaders", int64(o.MaxReaders)}, {"MaxBytes", o.MaxBytes},
		{"MaxTotalBytes", o.MaxTotalBytes}, {"MaxHold", int64(o.MaxHold)}, {"Retain", int64(o.Retain)},
	} {
		if limit.value < 0 {
			return fmt.Errorf("%s must not be negative", limit.name)
		}
	}
	if o.MaxBytes > 1<<30 {
		return fmt.Errorf("MaxBytes is %d, but a session's log holds 1 GiB at most", o.MaxBytes)
	}
	return nil
}

// limits are those that a pump keeps.
type limits struct {
	session int64  // bytes of frames
	hold    int    // bytes of deltas
	total   *quota // bytes
}

// A quota counts the use of something that all sessions share.
type quota struct {
	used atomic.Int64
	max  int64
}

func (q *quota) add(n int64) { q.used.Add(n) }
func (q *quota) over() bool  { return q.used.Load() >= q.max }

// take adds n if that stays within the quota.
func (q *quota) take(n int64) bool {
	if q.used.Add(n) > q.max {
		q.used.Add(-n)
		return false
	}
	return true
}

// A Manager owns the sessions of one node. Its methods may be called at the
// same time; sessions are created while Run runs.
type Manager struct {
	opts    Options
	store   Store
	bytes   quota // of frames and specs
	readers quota
	starts  chan *pump  // to Run
	commits chan *flush // to persist
	stopped chan struct{}

	mu       sync.Mutex // guards sessions and creating; never held over I/O
	sessions map[ID]*Session
	creating int // sessions that have a place but are not in sessions yet
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
		bytes:    quota{max: o.MaxTotalBytes},
		readers:  quota{max: int64(o.MaxReaders)},
		starts:   make(chan *pump),
		commits:  make(chan *flush),
		stopped:  make(chan struct{}),
		sessions: make(map[ID]*Session),
	}, nil
}

// Run runs the sessions until ctx is done and all of them have let go of their
// sources. Sessions that have not ended by then have no terminal frame: how
// they go on is up to the store. It must be called once.
func (m *Manager) Run(ctx context.Context) error {
	var pumps, persist sync.WaitGroup
	persist.Go(m.persist)
	defer persist.Wait()
	defer close(m.commits)
	defer pumps.Wait()
	defer close(m.stopped)
	pumps.Go(func() { m.expire(ctx) })
	for {
		select {
		case p := <-m.starts:
			pumps.Go(func() { p.run(ctx) })
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A flush is a batch on its way to the store.
type flush struct {
	batch Batch
	done  chan error // buffered
}

// persist commits batches until commits is closed: all that wait, in one
// commit, as soon as the last commit has returned.
func (m *Manager) persist() {
	var batches []Batch
	var waiting []*flush
	for f := range m.commits {
		batches, waiting = append(batches[:0], f.batch), append(waiting[:0], f)
		for more := true; more; {
			select {
			case f, more = <-m.commits:
				if more {
					batches, waiting = append(batches, f.batch), append(waiting, f)
				}
			default:
				more = false
			}
		}
		for i, err := range m.store.Append(context.Background(), batches) {
			waiting[i].done <- err
		}
		clear(batches) // lets go of their frames
	}
}

// write commits one batch and waits for it.
func (m *Manager) write(b Batch) error {
	f := &flush{batch: b, done: make(chan error, 1)}
	m.commits <- f
	return <-f.done
}

// A Use is what a Manager uses of what it may.
type Use struct {
	Sessions    int // ended ones included
	MaxSessions int
	Readers     int
	MaxReaders  int
	Bytes       int64 // of frames, and of what sessions were created with
	MaxBytes    int64
}

// Use returns what is in use now.
func (m *Manager) Use() Use {
	m.mu.Lock()
	sessions := len(m.sessions)
	m.mu.Unlock()
	return Use{
		Sessions:    sessions,
		MaxSessions: m.opts.MaxSessions,
		Readers:     int(m.readers.used.Load()),
		MaxReaders:  m.opts.MaxReaders,
		Bytes:       m.bytes.used.Load(),
		MaxBytes:    m.opts.MaxTotalBytes,
	}
}

// Create makes a session, whose first frame is committed when it returns.
// Errors are *InvalidError, ErrOverloaded, ErrShutdown and the store's.
func (m *Manager) Create(ctx context.Context, who Principal, spec Spec) (*Session, error) {
	spec = spec.withDefaults(m.opts.Retain)
	if err := spec.validate(m.opts.Retain); err != nil {
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
	if err := m.reserve(spec); err != nil {
		return nil, err
	}
	s, err := m.create(ctx, info, source, cut)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.creating--
	if err != nil {
		m.bytes.add(-spec.size())
		return nil, err
	}
	m.sessions[s.info.ID] = s
	return s, nil
}

// reserve takes a place among the sessions, and room for the spec.
func (m *Manager) reserve(spec Spec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sessions)+m.creating >= m.opts.MaxSessions || m.bytes.over() || !m.bytes.take(spec.size()) {
		return ErrOverloaded
	}
	m.creating++
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
	if spec.Source.Type == SourceGenerate {
		info.Generator = GeneratorVersion
	}
	return info
}

func (m *Manager) create(ctx context.Context, info Info, source Source, cut chunker.Chunker) (*Session, error) {
	spec := info.Spec
	first, err := json.Marshal(struct {
		ID             ID             `json:"id"`
		Unit           chunker.Unit   `json:"unit"`
		Encoding       string         `json:"encoding,omitempty"`
		EncodingSource EncodingSource `json:"encoding_source,omitempty"`
		Unicode        string         `json:"unicode,omitempty"`
		Created        time.Time      `json:"created"`
	}{info.ID, spec.Unit, spec.Encoding, info.EncodingSource, info.Unicode, info.Created})
	if err != nil {
		return nil, err
	}
	wire := Wire(Frame{1, KindSession, first}.AppendWire(nil))
	token, err := m.store.Create(ctx, Record{Format: StoreFormat, Info: info, State: Running, Last: 1}, wire)
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	s := &Session{
		info:     info,
		log:      NewLog(),
		commands: make(chan *command),
		gone:     make(chan struct{}),
		seats:    &m.readers,
	}
	p := &pump{
		s:      s,
		source: source,
		token:  token,
		limits: limits{session: m.opts.MaxBytes, hold: m.opts.MaxHold, total: &m.bytes},
		write:  m.write,
		events: m.opts.Events,
		logger: m.opts.Logger,
		cut:    cut,
		pace:   newPace(spec.Rate),
		status: Status{State: Running, Last: 1},
		size:   int64(len(wire)),
	}
	p.status.Usage = p.usage()
	s.commit(wire, []uint32{uint32(len(wire))}, p.status)
	select {
	case m.starts <- p:
	case <-m.stopped:
		return nil, errors.Join(ErrShutdown, m.store.Remove(context.WithoutCancel(ctx), info.ID, Deleted))
	}
	m.bytes.add(int64(len(wire)))
	m.opts.Logger.Info("session created", "session", info.ID, "source", spec.Source.Type, "unit", spec.Unit,
		logged("encoding", spec.Encoding), logged("encoding_source", string(info.EncodingSource)))
	return s, nil
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
// sessions of others, *GoneError, and the store's.
func (m *Manager) Get(ctx context.Context, who Principal, id ID) (*Session, error) {
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	if s == nil {
		_, err := m.store.Load(ctx, id)
		if gone, ok := errors.AsType[*GoneError](err); ok && gone.Principal != who {
			return nil, ErrNotFound
		}
		return nil, cmp.Or(err, ErrNotFound)
	}
	if s.info.Principal != who {
		return nil, ErrNotFound
	}
	if s.expired(time.Now()) {
		return nil, &GoneError{who, Expired}
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
		if s, err := m.Get(ctx, who, r.Info.ID); err == nil { // it may have gone meanwhile
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
	if err := s.stop(ctx, ReasonDeleted); err != nil && !s.isBroken() {
		return err
	}
	return m.remove(ctx, s, Deleted)
}

// remove takes an ended session out of the store, then out of memory.
func (m *Manager) remove(ctx context.Context, s *Session, why GoneReason) error {
	if err := m.store.Remove(ctx, s.info.ID, why); err != nil {
		return fmt.Errorf("remove session: %w", err)
	}
	m.mu.Lock()
	_, there := m.sessions[s.info.ID]
	delete(m.sessions, s.info.ID)
	m.mu.Unlock()
	if there {
		m.bytes.add(-s.log.size() - s.info.Spec.size())
		m.opts.Logger.Info("session removed", "session", s.info.ID, "reason", why)
	}
	return nil
}

// expire removes sessions whose time of retention is over, until ctx is done.
func (m *Manager) expire(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-sweep.C:
			m.sweep(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (m *Manager) sweep(ctx context.Context) {
	now := time.Now()
	var expired []*Session
	m.mu.Lock()
	for _, s := range m.sessions {
		if s.expired(now) {
			expired = append(expired, s)
		}
	}
	m.mu.Unlock()
	for _, s := range expired {
		if err := m.remove(ctx, s, Expired); err != nil {
			m.opts.Logger.Error("sweep", "session", s.info.ID, "error", err)
		}
	}
}

// expired reports whether the time of retention was over at now: it begins
// when the pump leaves, with the session's end or because it was broken off.
func (s *Session) expired(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.left.IsZero() && now.Sub(s.left) >= s.info.Spec.Retain
}

func (s *Session) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken != nil
}
