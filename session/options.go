package session

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"
)

// Defaults of Options.
const (
	DefaultMaxSessions   = 10_000
	DefaultMaxReaders    = 20_000
	DefaultMaxBytes      = 16 << 20
	DefaultMaxTotalBytes = 1 << 30
	DefaultMaxHold       = 1 << 20
	DefaultMaxTotalHold  = 256 << 20
	DefaultMaxUnread     = 1000
	DefaultMaxUnreadTime = time.Hour
	DefaultMaxIdle       = 24 * time.Hour
	DefaultMaxLog        = 64 << 10
	DefaultRetain        = 24 * time.Hour
)

// DefaultNoReader is what becomes of a session that nobody reads.
var DefaultNoReader = NoReader{Policy: PolicyContinue, After: 5 * time.Minute}

// Options say what a Manager may use. The zero value of each field means its
// default; negative values are errors.
type Options struct {
	// Upstreams makes the sources of upstream sessions; nil means there are none.
	Upstreams Opener
	// MaxSessions bounds how many sessions there are that have not ended.
	MaxSessions int
	// MaxReaders bounds how many readers all sessions have together.
	MaxReaders int
	// MaxBytes bounds one session's log, in bytes of frames, to 1 GiB at most.
	// A session that reaches it ends with a failed frame; nothing in it is dropped.
	MaxBytes int64
	// MaxTotalBytes bounds what all sessions keep together, in bytes of frames
	// and of what they were created with. Before it is reached ended sessions
	// are removed, those first that ended first. Where that does not help, a
	// session whose text reaches it ends as if it had reached MaxBytes.
	MaxTotalBytes int64
	// MaxHold bounds what a paused upstream session reads on, in bytes that its
	// deltas take.
	MaxHold int
	// MaxTotalHold bounds what all of them read on together, but for one delta
	// each, which is in memory anyway. One that found no room is read on after
	// resume only.
	MaxTotalHold int64
	// NoReader is for sessions that do not say what becomes of them while nobody
	// reads them. Its zero fields mean those of DefaultNoReader.
	NoReader NoReader
	// MaxUnread bounds how many upstreams may run on with PolicyContinue though
	// nobody has read them for their NoReader.After. One that would be more is
	// stopped.
	MaxUnread int
	// MaxUnreadTime bounds for how long one of them may run on so, after its
	// NoReader.After; then it is stopped.
	MaxUnreadTime time.Duration
	// MaxIdle is how long nobody may read a session, be it paused, in which
	// nothing happens; then it is stopped.
	MaxIdle time.Duration
	// MaxLog is how much of a session's log is in memory at least, in bytes of
	// frames; at most it is twice as much and what one commit adds. Readers
	// that are further behind read from the store.
	MaxLog int
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
	o.MaxTotalHold = cmp.Or(o.MaxTotalHold, DefaultMaxTotalHold)
	o.NoReader.Policy = cmp.Or(o.NoReader.Policy, DefaultNoReader.Policy)
	o.NoReader.After = cmp.Or(o.NoReader.After, DefaultNoReader.After)
	o.MaxUnread = cmp.Or(o.MaxUnread, DefaultMaxUnread)
	o.MaxUnreadTime = cmp.Or(o.MaxUnreadTime, DefaultMaxUnreadTime)
	o.MaxIdle = cmp.Or(o.MaxIdle, DefaultMaxIdle)
	o.MaxLog = cmp.Or(o.MaxLog, DefaultMaxLog)
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
		{"MaxTotalBytes", o.MaxTotalBytes}, {"MaxHold", int64(o.MaxHold)}, {"MaxTotalHold", o.MaxTotalHold},
		{"MaxUnread", int64(o.MaxUnread)}, {"MaxUnreadTime", int64(o.MaxUnreadTime)}, {"MaxIdle", int64(o.MaxIdle)}, {"MaxLog", int64(o.MaxLog)}, {"Retain", int64(o.Retain)},
	} {
		if limit.value < 0 {
			return fmt.Errorf("%s must not be negative", limit.name)
		}
	}
	if o.MaxBytes > 1<<30 {
		return fmt.Errorf("MaxBytes is %d, but a session's log holds 1 GiB at most", o.MaxBytes)
	}
	return o.NoReader.validate()
}
