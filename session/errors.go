package session

import (
	"cmp"
	"errors"
	"fmt"
)

// Errors without data. Their texts are shown to clients.
var (
	// ErrNotFound reports an id that the principal has no session under.
	ErrNotFound = errors.New("no such session")
	// ErrPaused reports an append to, or the finish of, a paused session: a
	// push source stops while its session is paused.
	ErrPaused = errors.New("the session is paused: resume it first")
	// ErrNotPush reports an append to, or the finish of, a session whose text
	// comes from another source.
	ErrNotPush = errors.New("only a push session takes text from its clients")
	// ErrNotEnded reports a session to be continued that goes on by itself.
	ErrNotEnded = errors.New("the session has not ended: only one that was stopped, failed or was interrupted can be continued")
	// ErrNotUpstream reports a session to be continued whose text no model wrote.
	ErrNotUpstream = errors.New("only a session of an upstream can be continued")
	// ErrToolCall reports a session to be continued whose answer has called tools.
	ErrToolCall = errors.New("the answer has begun to call a tool, which cannot be continued")
	// ErrKeyReused reports a creation whose key was used for something else.
	ErrKeyReused = errors.New("the idempotency key was used with another request: take a new key, or repeat that request")
	// ErrFull reports an append that reached the session's or the relay's
	// limit of bytes. The session has ended with a failed frame.
	ErrFull = errors.New("the session has reached its limit of bytes and has ended")
	// ErrStore reports that the store has not said that it took something.
	// Nothing of it is shown; whether it is kept is not known, and a repeated
	// append finds out. It wraps ErrNoSpace where it is known not to be.
	ErrStore = errors.New("the store did not take it")
	// ErrElsewhere reports a session that has not ended and that this relay does
	// not run: another has taken it over, or it is to go on with the next start.
	ErrElsewhere = errors.New("the session is not run by this relay at the moment: try again")
	// ErrOverloaded reports that the relay holds as much as it may; it passes.
	ErrOverloaded = errors.New("the relay is at its limit: try again later")
	// ErrShutdown reports that the relay is going away; it passes.
	ErrShutdown = errors.New("the relay is shutting down: try again")
)

// An InvalidError reports a value that no session can have.
type InvalidError struct {
	Field  string // as in the JSON of the native protocol
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// An UnsupportedError reports a value that is right in itself, and that this
// session's source cannot be asked for. It is an *InvalidError too.
type UnsupportedError struct{ InvalidError }

func (e *UnsupportedError) Unwrap() error { return &e.InvalidError }

// A ModelError reports a model that is not there. It is an *InvalidError too.
type ModelError struct {
	InvalidError
	NoUpstream bool // nor is any other
}

func (e *ModelError) Unwrap() error { return &e.InvalidError }

// An AheadError reports a resume point past the end of the log.
type AheadError struct{ After, Last FrameID }

func (e *AheadError) Error() string {
	return fmt.Sprintf("cursor %d is ahead of the log, whose last id is %d", e.After, e.Last)
}

// An EndedError reports a command that only a session that has not ended takes.
type EndedError struct{ State State }

func (e *EndedError) Error() string { return fmt.Sprintf("the session has ended (%s)", e.State) }

// A GoneError reports a session that was there and is no more.
type GoneError struct {
	Principal Principal // whose it was: nobody else is told
	Reason    GoneReason
}

func (e *GoneError) Error() string { return "the session is gone: " + e.Why() }

// Why says the reason in words.
func (e *GoneError) Why() string {
	why := map[GoneReason]string{
		Expired: "its time of retention is over",
		Evicted: "it had ended, and its room was needed",
		Deleted: "it was deleted",
	}[e.Reason]
	return cmp.Or(why, string(e.Reason))
}

// IsNone reports whether an error of Get or Resolve says that there is no such
// session, be it not any more.
func IsNone(err error) bool {
	_, gone := errors.AsType[*GoneError](err)
	return gone || errors.Is(err, ErrNotFound)
}

// A GoneReason says why a session is no more.
type GoneReason string

const (
	Expired GoneReason = "expired" // its time of retention is over
	Deleted GoneReason = "deleted" // its principal deleted it
	Evicted GoneReason = "evicted" // it had ended, and its room was needed
)

// A SequenceError reports an append that does not follow its producer's last
// one: Want is the only new sequence number that would be taken.
type SequenceError struct {
	Producer  string
	Seq, Want uint64
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("append %d of producer %q is out of order: expected %d", e.Seq, e.Producer, e.Want)
}

// A TooLargeError reports an event that no frame can carry.
type TooLargeError struct{ Max int } // bytes

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the event is larger than %d bytes on the wire", e.Max)
}

// A Failure is why a session failed, as its terminal frame tells it. A source
// that knows why it broke returns one; its texts are shown to clients.
type Failure struct {
	Code    string `json:"code"` // stable: snake_case, for programs
	Message string `json:"message"`
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// Codes of a Failure that this package itself gives.
const (
	CodeSessionFull  = "session_full"   // Options.MaxBytes was reached
	CodeRelayFull    = "relay_full"     // Options.MaxTotalBytes was reached
	CodeSourceFailed = "source_failed"  // the source broke for a reason of its own
	CodeStoreFull    = "storage_full"   // the store had no room for the text
	CodeStoreFailed  = "storage_failed" // the store took nothing for too long

	// Of interrupted sessions: why they did not go on after a restart.
	CodeNotContinuable   = "not_continuable"   // the source can only be read from its start
	CodeUpstreamRemoved  = "upstream_removed"  // no upstream has its model any more
	CodeGeneratorChanged = "generator_changed" // another version of it wrote the text so far
	CodeUnicodeChanged   = "unicode_changed"   // the text so far was cut by other tables
	CodeLogMismatch      = "log_mismatch"      // the source or the chunker gives other text than the log holds
)

// Codes lists these codes. Sources have others of their own.
func Codes() []string {
	return []string{
		CodeSessionFull, CodeRelayFull, CodeSourceFailed, CodeStoreFull, CodeStoreFailed,
		CodeNotContinuable, CodeUpstreamRemoved, CodeGeneratorChanged, CodeUnicodeChanged, CodeLogMismatch,
	}
}
