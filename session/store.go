package session

import (
	"context"
	"errors"
	"time"
)

// StoreFormat is the version of what a Store keeps: Info, Checkpoint and the
// wire form of frames. It stands in every Record.
const StoreFormat = 1

// Errors of a Store.
var (
	// ErrExists reports the creation of a session or alias that is there.
	ErrExists = errors.New("already exists")
	// ErrFenced reports a batch whose token is not the session's latest:
	// another node has taken the session over.
	ErrFenced = errors.New("fenced: the session has another owner")
	// ErrConflict reports a batch that does not follow the stored frames.
	ErrConflict = errors.New("batch does not follow the stored frames")
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
}

// A Checkpoint is what is needed, beside the frames, to go on after a crash.
// It is committed together with the frames that it belongs to.
type Checkpoint struct {
	// Position is how many bytes of the source's text stand in frames.
	Position int64
	// Held is text that a push producer was told is safe and that stands in
	// no frame yet, because its unit may go on.
	Held string
	// Producers holds the last sequence number of each.
	Producers map[string]uint64
	// Usage is the last that the source reported.
	Usage Usage
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
	Format     int
	Info       Info
	Token      Token
	State      State
	Last       FrameID
	Checkpoint Checkpoint
}

// A Cursor is a place in a listing. The zero Cursor stands before the newest.
type Cursor struct {
	Created time.Time
	ID      ID
}

// A Store keeps sessions beyond the memory of the process that runs them. All
// methods may be called at the same time. What a method has returned without
// an error is committed at the store's level: it is there for every later
// call, and after whatever that level survives. sessiontest.TestStore holds an
// implementation to all that is said here.
type Store interface {
	// Create commits a new session with its first frames, at token 1. It
	// returns ErrExists if the id is or ever was in use.
	Create(ctx context.Context, r Record, first Wire) (Token, error)

	// Acquire makes the caller the owner: it raises the session's token by one
	// and returns the record with the new token. Errors are those of Load.
	Acquire(ctx context.Context, id ID) (Record, error)

	// Append commits the batches, in one commit where it can, and returns one
	// error for each: nil, or why nothing of that batch was committed. These
	// are ErrFenced for a token that is not the latest, ErrConflict if After is
	// not the last stored id, if the frames do not run from After to Last, or
	// if a terminal frame is stored, and the errors of Load. A refused batch
	// leaves the others alone. The same batch again is an ErrConflict, unless
	// it held no frames. The store keeps neither the slice nor the frames.
	Append(ctx context.Context, batches []Batch) []error

	// Load returns the session's record: ErrNotFound for an id that never was,
	// a *GoneError for one that was removed.
	Load(ctx context.Context, id ID) (Record, error)

	// Read returns all frames past after, or an error and none of them. A
	// cursor past the last frame is an *AheadError; others are those of Load.
	Read(ctx context.Context, id ID, after FrameID) (Wire, error)

	// List returns up to limit records of one principal, newest first, that
	// stand after the cursor. It returns none, and no error, at the end.
	List(ctx context.Context, who Principal, after Cursor, limit int) ([]Record, error)

	// Remove forgets a session's frames, record and aliases, and leaves a
	// tombstone that gives Load's *GoneError its reason and keeps the id from
	// being used again. The store may drop tombstones, the oldest first.
	// Errors are those of Load.
	Remove(ctx context.Context, id ID, why GoneReason) error

	// Bind makes name an alias of a session among those of its principal.
	// ErrExists reports a name that is bound, and comes with the bound id. A
	// name whose session was removed is free.
	Bind(ctx context.Context, who Principal, name string, id ID) (ID, error)

	// Resolve returns the session that name is bound to, or ErrNotFound.
	Resolve(ctx context.Context, who Principal, name string) (ID, error)

	// Level is what a commit survives.
	Level() Level
}
