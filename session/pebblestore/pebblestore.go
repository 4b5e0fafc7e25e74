package pebblestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
)

const (
	memTableSize = 8 << 20  // bytes; a write-ahead log has about this size too
	cacheSize    = 32 << 20 // bytes
	// blockSize is what is read at a time, in bytes: readers read on.
	blockSize = 32 << 10
	// openTables bounds how many tables are open at a time.
	openTables = 500

	// watchEvery is how often the store looks at its disk.
	watchEvery = time.Second
	// flushRemoved is how long a removal may wait in memory before it is
	// written to a table, which is what gives its room back.
	flushRemoved = 5 * time.Second
)

// Pebble's own formats, which it only ever raises. At the level power its logs
// tell a torn end from most damage in their middle, and the tally from the
// rest; a log that was not synced may look damaged after a loss of power, and
// must open all the same.
const (
	formatPower   = pebble.FormatWALSyncChunks
	formatProcess = pebble.FormatColumnarBlocks
)

var (
	// ErrLocked reports a data directory that another process has open.
	ErrLocked = errors.New("in use by another relay")

	errClosed = fmt.Errorf("%w: the store is closed", session.ErrStore)
)

// Options say how a Store keeps its sessions. Zero values are the defaults.
type Options struct {
	// Level is what a commit survives: session.LevelPower, which is the
	// default, or session.LevelProcess.
	Level session.Level
	// Logger gets what happens to the disk. Nil means none.
	Logger *slog.Logger

	// For tests; zero values are what the constants above say.
	fs         vfs.FS
	retry      time.Duration
	watch      time.Duration
	tombstones uint64
	ballast    int64
	memTable   uint64
}

func (o Options) withDefaults() Options {
	o.Level = cmp.Or(o.Level, session.LevelPower)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.fs == nil {
		o.fs = vfs.Default
	}
	o.watch = cmp.Or(o.watch, watchEvery)
	o.tombstones = cmp.Or(o.tombstones, maxTombstones)
	o.ballast = cmp.Or(o.ballast, ballastSize)
	o.memTable = cmp.Or(o.memTable, memTableSize)
	return o
}

// A Store keeps sessions in a directory. See the package comment.
type Store struct {
	level   session.Level
	logger  *slog.Logger // it never waits
	log     queue        // where logger leads
	shield  *shield
	ballast *ballast
	tally   tally
	place   place
	db      *pebble.DB
	lock    io.Closer
	disk    atomic.Int64 // bytes that Pebble's files take
	calls   sync.WaitGroup
	waiting atomic.Int64       // calls that wait for what is on its way
	stop    context.CancelFunc // closes shield.closing, and ends the store's own goroutines
	watch   time.Duration

	order      sync.Mutex // held by whoever puts a commit into its place; guards the fields below
	tombstones tombstones
	seq        uint64 // of the last commit that was put into its place: it goes on where the database ends

	mu       sync.RWMutex // guards the fields below and what they point to; held over no I/O
	entries  map[session.ID]*entry
	removing map[session.ID]*entry // those of entries whose removal is on its way
	binding  map[alias]binding     // on their way
	removed  removedSpan           // where the room of removed sessions may be had back
	closed   bool
	failure  error         // why no commit can follow: a failure inside Pebble
	failing  chan struct{} // closed with failure
}

// Open opens the data directory, which it makes if it is not there. A
// directory that holds something else, or that a later version wrote, is
// refused and left as it is; an error that wraps ErrLocked says that another
// process has it open. Open waits while the disk does not take writes, until
// ctx is done: the error wraps its cause then. The store looks after its disk
// in goroutines of its own, for which Close waits.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if o.Level != session.LevelPower && o.Level != session.LevelProcess {
		return nil, fmt.Errorf("a store on disk cannot have the level %q", o.Level)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open the data directory: %w", context.Cause(ctx))
	}
	if dir == "" {
		return nil, errors.New("the data directory has no name: give one")
	}
	if err := o.fs.MkdirAll(dir, ownerOnly); err != nil {
		return nil, unusable(dir, "made", err)
	}
	// First without the lock: a directory that is not ours gets no lock file.
	if _, err := inspect(o.fs, dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(o.fs, dir)
	if err != nil {
		return nil, err
	}
	st, err := open(ctx, dir, lock, o)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return st, nil
}

// open opens what Open has locked.
func open(ctx context.Context, dir string, lock io.Closer, o Options) (*Store, error) {
	fresh, err := inspect(o.fs, dir) // whoever had the lock may have made it meanwhile
	if err != nil {
		return nil, err
	}
	path := o.fs.PathJoin(dir, dbName)
	if err := prepare(o.fs, dir, path, fresh); err != nil {
		return nil, err
	}
	log := newQueue(o.Logger.Handler())
	logger := slog.New(log).With("data", dir)
	running, stop := context.WithCancel(context.Background())
	st := &Store{
		level: o.Level, logger: logger, log: log, place: place{fs: o.fs, dir: dir, logger: logger}, lock: lock, stop: stop, watch: o.watch,
		ballast:    &ballast{fs: o.fs, dir: dir, logger: logger, size: o.ballast},
		tally:      newTally(o.fs, dir, o.Level),
		tombstones: tombstones{most: o.tombstones},
		entries:    make(map[session.ID]*entry),
		removing:   make(map[session.ID]*entry),
		binding:    make(map[alias]binding),
		failing:    make(chan struct{}),
	}
	st.shield = newShield(o.fs, o.Level, st.ballast, logger, running.Done())
	if o.retry > 0 {
		st.shield.soon, st.shield.later = o.retry, o.retry
	}
	st.ballast.find()
	waits := context.AfterFunc(ctx, stop)
	err = st.load(dir, path, fresh, o)
	if !waits() { // stop was called
		err = fmt.Errorf("open the data directory %s: %w", dir, context.Cause(ctx))
		if gaveUp := st.shield.gaveUp(); gaveUp != nil {
			err = fmt.Errorf("%w, and until then its disk did not take writes: %w", err, gaveUp)
		}
	}
	if err != nil {
		stop()
		if st.db != nil {
			st.db.Close() // err says more
		}
		st.tally.close()
		log.close()
		return nil, err
	}
	st.place.remember()
	st.ballast.restore()
	if err := tightenAll(o.fs, dir); err != nil {
		logger.Warn("the mode of the data directory's files cannot be set: other users may read the sessions", "error", cause(err))
	}
	st.measure()
	st.calls.Go(func() { st.watchDisk(running) })
	st.calls.Go(func() { st.reclaim(running) })
	return st, nil
}

// load opens the database, and makes a fresh one complete.
func (st *Store) load(dir, path string, fresh bool, o Options) error {
	if !fresh {
		if err := st.verify(dir, path, o); err != nil {
			return err
		}
	}
	if err := st.openDB(path, fresh, o); err != nil {
		if fresh {
			return unusable(dir, "made", err)
		}
		return damaged(dir, err)
	}
	err := st.recover()
	if err == nil {
		err = st.shield.gaveUp() // then not all of it is on the disk
	}
	if err == nil && fresh {
		err = writeMarker(o.fs, dir, "")
	}
	if err != nil {
		return fmt.Errorf("open the data directory %s: %w", dir, err)
	}
	st.tally.begin(st.seq)
	return nil
}

func (st *Store) openDB(path string, fresh bool, o Options) error {
	p := st.options(fresh, o)
	cache := pebble.NewCache(cacheSize)
	defer cache.Unref()
	p.Cache = cache
	db, err := pebble.Open(path, p)
	if err == nil {
		st.db = db
	}
	return err
}

// options are Pebble's.
func (st *Store) options(fresh bool, o Options) *pebble.Options {
	log := st.logger
	format := formatPower
	if o.Level == session.LevelProcess {
		format = formatProcess
	}
	p := &pebble.Options{
		FS:                 st.shield,
		ErrorIfExists:      fresh,
		ErrorIfNotExists:   !fresh,
		FormatMajorVersion: format,
		Logger:             logger{log, o.Logger},
		MaxOpenFiles:       openTables,
		MemTableSize:       o.memTable,
		// Commits wait for a flush when four memtables are full, and never for
		// a compaction: one that fails for want of room must not stop them.
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       1000,
		FlushDelayDeleteRange:       flushRemoved,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		EventListener: &pebble.EventListener{
			// All are called with Pebble's own locks held.
			BackgroundError: func(err error) {
				log.Debug("pebble: background error", "error", firstLine(err))
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				log.Error("the store is damaged: the sessions in this file cannot be read", "file", info.Path, "error", firstLine(info.Details))
			},
			FlushEnd: func(info pebble.FlushInfo) {
				if info.Err == nil {
					st.shield.tableDone(nil)
				}
			},
			CompactionEnd: func(info pebble.CompactionInfo) {
				if info.Err == nil {
					st.shield.tableDone(nil)
				}
			},
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { st.shield.setStalled(true) },
			WriteStallEnd:   func() { st.shield.setStalled(false) },
		},
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = blockSize
	}
	return p
}

// recover reads what the store must know before it can be used, and notes the
// format that it will write.
func (st *Store) recover() error {
	value, closer, err := st.db.Get(formatKey)
	newest := byte(0)
	switch {
	case err == nil:
		d := newDecoder(value)
		newest = d.format
		closer.Close()
		if d.bad && newest <= format {
			return fmt.Errorf("%w: the format of its values", errCorrupt)
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	if newest > format {
		return fmt.Errorf("it holds values of format %d, and this version knows formats up to %d: they were %w", newest, format, errLater)
	}
	if newest < format {
		if err := st.db.Set(formatKey, []byte{format}, pebble.Sync); err != nil {
			return err
		}
	}
	if st.seq, err = readCount(st.db); err != nil {
		return err
	}
	return st.tombstones.recover(st.db)
}

// Close lets the calls that run come to their end, and closes the store. It
// waits for no disk that does not take writes: calls that do fail then, and
// whether what they were to commit is there shows when the store is opened
// again, and the error that Close returns is why. What is still to be logged
// is, before Close returns.
func (st *Store) Close() error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return errClosed
	}
	st.closed = true
	st.mu.Unlock()
	st.stop()
	st.calls.Wait()
	st.tally.close()
	err := st.db.Close()
	if gaveUp := st.shield.gaveUp(); gaveUp != nil {
		err = &closeError{fmt.Sprintf("the data directory %s was closed while its disk did not take writes (%s): what was not acknowledged may be missing", st.place.dir, firstLine(gaveUp)), gaveUp}
	} else if err != nil {
		err = &closeError{fmt.Sprintf("the data directory %s was not closed as it should be: %s", st.place.dir, firstLine(err)), err}
	}
	if lockErr := st.lock.Close(); err == nil && lockErr != nil {
		err = &closeError{fmt.Sprintf("the data directory %s stays locked: %s", st.place.dir, firstLine(lockErr)), lockErr}
	}
	st.log.close()
	return err
}

// A closeError is an ErrStore that says all in its own words.
type closeError struct {
	text  string
	cause error
}

func (e *closeError) Error() string   { return e.text }
func (e *closeError) Unwrap() []error { return []error{session.ErrStore, e.cause} }

// begin lets a call in, unless ctx is done or the store is closed. Who is let
// in calls st.calls.Done.
func (st *Store) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.closed {
		return errClosed
	}
	st.calls.Add(1)
	return nil
}

func cancelled(ctx context.Context) error {
	return fmt.Errorf("%w: %w", session.ErrStore, context.Cause(ctx))
}

// Level is what the Options said.
func (st *Store) Level() session.Level { return st.level }

// Stat returns how the store is doing. Disk is at most a second or so old.
func (st *Store) Stat() session.StoreStat {
	stat := session.StoreStat{Err: st.down(), Disk: st.disk.Load()}
	if stat.Err == nil && st.ballast.full.Load() {
		stat.Err = session.ErrNoSpace
	}
	return stat
}

// down is why nothing can be committed at the moment, or nil.
func (st *Store) down() error {
	return cmp.Or(st.failed(), st.place.lost(), st.shield.down())
}

// watchDisk looks at the disk until the store is closed.
func (st *Store) watchDisk(ctx context.Context) {
	tick := time.NewTicker(st.watch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st.place.look()
		st.tally.note()
		st.ballast.restore()
		st.measure()
	}
}

func (st *Store) measure() { st.disk.Store(int64(st.db.Metrics().DiskSpaceUsage())) }

// A logger passes on what Pebble logs. Its files are its own affair; what
// matters of them the shield logs.
type logger struct {
	*slog.Logger              // it never waits
	last         *slog.Logger // for when nothing else follows
}

func (l logger) Infof(format string, args ...any) {
	if l.Enabled(context.Background(), slog.LevelDebug) {
		l.Debug("pebble", "message", fmt.Sprintf(format, args...))
	}
}

func (l logger) Errorf(format string, args ...any) {
	message, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n") // a stack may follow
	l.Warn("pebble", "message", message)
}

// firstLine is what err says. Printed by a log, Pebble's errors bring a stack.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Fatalf ends the process: Pebble calls it when it finds itself in a state
// that cannot be, and must not be returned to.
func (l logger) Fatalf(format string, args ...any) {
	l.last.Error("pebble", "message", fmt.Sprintf(format, args...))
	os.Exit(1)
}
