package session

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"time"
)

// Errors of a Store.
var (
	// ErrExists reports the creation of a session or alias that is there.
	ErrExists = errors.New("already exists")
	// ErrFenced reports a batch whose token is not the session's latest:
	// another owner has taken the session over.
	ErrFenced = errors.New("fenced: the session has another owner")
	// ErrConflict reports frames that do not follow the stored ones.
	ErrConflict = errors.New("batch does not follow the stored frames")
	// ErrNoSpace reports that there is no room for that much text: of batches
	// those are taken that end their session. It passes when there is room again.
	ErrNoSpace = errors.New("the disk of the store is full")
)

// A Token is a session's fencing token. It grows by one with every change of
// owner; only the holder of the latest one can append.
type Token uint64

// A Level says what a commit survives.
type Level string

const (
	LevelMemory  Level = "memory"  // nothing: it is gone with the process
	LevelProcess Level = "process" // the end of the process, however it comes
	LevelPower   Level = "power"   // the loss of power
)

// Info is what never changes about a session.
type Info struct {
	ID        ID
	Principal Principal
	Created   time.Time // in milliseconds
	Spec      Spec
	// EncodingSource is empty for a unit without encodings. The encoding itself
	// stands in Spec: what models are known to have may change.
	EncodingSource EncodingSource
	// Version of what cut the text, so that it is only ever cut again alike.
	Unicode   string
	Generator int // version, for a generate source
	// Size is what the Spec takes for as long as the session is there, in bytes.
	Size int64
}

// A Checkpoint is what is needed, beside the frames, to go on after a crash.
// It is committed together with the frames that it belongs to.
type Checkpoint struct {
	// Position is how many bytes of the source's text stand in frames.
	Position int64
	// Held is text that the source gave, and that a push producer was told is
	// safe, which stands in no frame yet because its unit may go on. HeldKind
	// is the kind of the frame that it belongs into. Of a source that can be
	// asked for its text again, nothing is kept here.
	Held     string
	HeldKind Kind
	// Units is how many of them stand in text frames.
	Units int64
	// Cursor is the source's, behind all that stands in frames and in Held.
	Cursor string
	// Released says that the source was let go when the session was paused.
	Released bool
	// PausedUnread says that the session is paused because nobody reads it.
	PausedUnread bool
	// Output is how many tokens the model has written, by our own count, and
	// Earlier how many of them before the last seam.
	Output, Earlier int64
	// FirstToken is how long the first token took, zero until it came, and
	// Streaming for how long tokens have been coming.
	FirstToken, Streaming time.Duration
	// Producers holds the last sequence number of each.
	Producers map[string]uint64
	// Usage is the last that the source reported.
	Usage Usage
	// FirstText and Ended are when these came, in milliseconds UTC; zero until
	// then.
	FirstText, Ended time.Time
}

// A Batch is what one flush of one session commits, whole or not at all.
type Batch struct {
	ID         ID
	Token      Token
	After      FrameID // last id that must be stored already
	Last       FrameID // last id of Frames; equal to After if there are none
	Frames     Wire
	State      State // after the batch
	Checkpoint Checkpoint
}

// A Record is what a Store holds about a session, its frames apart.
type Record struct {
	Info       Info
	Token      Token
	State      State
	Last       FrameID
	Bytes      int64 // of all frames; the store counts them
	Checkpoint Checkpoint
}

// An Alias is another name for a session among those of its principal.
type Alias struct {
	Name string
	// Moves says that the name may be bound to another session, of which it is
	// an alias no more.
	Moves bool
}

// A BoundError reports an alias that is bound to another session. It is an
// ErrExists.
type BoundError struct{ ID ID }

func (e *BoundError) Error() string { return "the alias is bound to another session" }

func (e *BoundError) Unwrap() error { return ErrExists }

// A StoreStat is how a Store is doing.
type StoreStat struct {
	// Err is why new sessions are refused at the moment: it wraps ErrNoSpace,
	// or ErrStore while nothing can be committed. Nil if all is well.
	Err error
	// Disk is what the store takes on its disk, in bytes; 0 if it has none.
	Disk int64
}

// A Cursor is a place in a listing. The zero Cursor stands before the newest.
type Cursor struct {
	Created time.Time
	ID      ID
}

// A Store keeps sessions beyond the memory of the process that runs them. All
// methods may be called at the same time. What a method has returned without
// an error is committed at the store's level: it is there for every later
// call, and after whatever that level survives; and nothing is returned that
// is not committed. sessiontest.TestStore holds an implementation to all that
// is said here.
//
// Beside the errors named below, every method gives those of the medium. A ctx
// that is done before a call makes it return an error that wraps the cause of
// ctx, with nothing done. A ctx that ends later may do so too, except with
// Append; what the call was to commit may then be committed all the same, and
// a call after it may find it so. The same holds for an error of the medium.
//
// No slices, maps and pointers are shared, in neither direction, but for the
// frames that Read returns, which must not be changed: a store keeps none that
// it is given, and what a caller does with its own is seen by nobody else.
//
// Records come without what their source was given (the Text, Prompt,
// Messages and Parameters of a SourceSpec), which few who ask need: only Acquire
// and Given return it.
//
// A store that can be closed is closed by whoever opened it. Its methods then
// return errors that wrap ErrStore, and so do those that are waiting: an
// Append too, with which it is open what has been committed.
type Store interface {
	// Create commits a new session with its first frames and its aliases, all or
	// nothing, at token 1. Of r the Token and Bytes are ignored. It returns
	// ErrConflict if the frames do not run from 1 to r.Last, ErrNoSpace, and
	// ErrExists if the id is in use or has a tombstone, or as a *BoundError if
	// an alias that does not move is bound. With an id whose tombstone was
	// dropped a session can be created again.
	Create(ctx context.Context, r Record, first Wire, aliases ...Alias) (Token, error)

	// Acquire makes the caller the owner: it raises the session's token by one
	// and returns the whole record with the new token. That a session has ended
	// makes no difference. Errors are those of Load.
	Acquire(ctx context.Context, id ID) (Record, error)

	// Append commits the batches, in one commit where it can, and returns one
	// error for each: nil, or why nothing of that batch was committed. These
	// are, and the first that holds is returned: the errors of Load; ErrFenced
	// for a token that is not the latest; ErrConflict if After is not the last
	// stored id, if the frames do not run from After to Last, or if the session
	// has ended; ErrNoSpace, unless the batch's State is terminal. A refused
	// batch leaves the others alone. Batches of one session are taken in their
	// order, each as if those before it had been committed or refused in calls
	// of their own. The same batch again is an ErrConflict, unless it held no
	// frames.
	//
	// While its medium fails Append does not return, and does not look at ctx:
	// whether a batch that is on its way has been committed is known only when
	// the medium is back. Closing the store ends the waiting.
	Append(ctx context.Context, batches []Batch) []error

	// Load returns the session's record: ErrNotFound for an id that never was,
	// a *GoneError for one that was removed, and ErrNotFound again when its
	// tombstone has been dropped.
	Load(ctx context.Context, id ID) (Record, error)

	// Given returns the session's SourceSpec with what the source was given.
	// Errors are those of Load.
	Given(ctx context.Context, id ID) (SourceSpec, error)

	// Read returns frames past after: as many as size bytes hold, and at least
	// one if there is one. A cursor past the last frame is an *AheadError;
	// others are those of Load.
	Read(ctx context.Context, id ID, after FrameID, size int) (Wire, error)

	// Records yields all records, in any order. An error is the last that it
	// yields. Sessions that come or go meanwhile may be among them or not.
	Records(ctx context.Context) iter.Seq2[Record, error]

	// List returns up to limit records of one principal that stand after the
	// cursor: newest first, and of those created in the same millisecond the
	// greatest id first, by its bytes. The session of the cursor need not be
	// there any more. At the end, and with a limit below 1, it returns none and
	// no error.
	List(ctx context.Context, who Principal, after Cursor, limit int) ([]Record, error)

	// Remove forgets a session's frames, record and aliases, and leaves a
	// tombstone that gives Load's *GoneError its reason and keeps the id from
	// being used again. The store may drop tombstones, the oldest first. The
	// room comes back, if not at once. Errors are those of Load. Remove asks
	// for no token: that no other owner runs the session is the caller's affair,
	// who would learn of it by a *GoneError.
	Remove(ctx context.Context, id ID, why GoneReason) error

	// Bind makes name an alias of a session among those of its principal, and
	// returns the id. Errors are those of Load; ErrNotFound if the session is
	// not who's; and ErrExists for a name that is bound, which comes with the
	// bound id, be it another or the same. A name whose session was removed is
	// free.
	Bind(ctx context.Context, who Principal, name string, id ID) (ID, error)

	// Resolve returns the session that name is bound to, or ErrNotFound, which
	// it is for the names of a removed session too.
	Resolve(ctx context.Context, who Principal, name string) (ID, error)

	// Level is what a commit survives.
	Level() Level

	// Stat returns how the store is doing. It does not wait.
	Stat() StoreStat
}

// Clone returns a copy of r that shares nothing with it that can be changed.
func (r Record) Clone() Record {
	r.Info.Spec.Metadata = maps.Clone(r.Info.Spec.Metadata)
	given := &r.Info.Spec.Source
	given.Messages, given.Parameters = bytes.Clone(given.Messages), bytes.Clone(given.Parameters)
	recorded := &r.Info.Spec.Projection.Recorded
	*recorded = bytes.Clone(*recorded)
	r.Checkpoint = r.Checkpoint.Clone()
	return r
}

// Clone returns a copy of c that shares nothing with it that can be changed.
func (c Checkpoint) Clone() Checkpoint {
	c.Producers = maps.Clone(c.Producers)
	for _, p := range []**int64{&c.Usage.Input, &c.Usage.Output} {
		if *p != nil {
			*p = new(**p)
		}
	}
	return c
}

// WithoutGiven returns r without what its source was given.
func (r Record) WithoutGiven() Record {
	given := &r.Info.Spec.Source
	given.Text, given.Prompt, given.Messages, given.Parameters = "", "", nil, nil
	return r
}
