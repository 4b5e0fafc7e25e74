// Package session is the domain of the relay: texts that are written once and
// read by anybody, any number of times, from any event on.
//
// # Words
//
// A [Session] owns one text. Its [Source] yields [Delta]s: the text given
// whole, a generator, a model provider (the upstream), or, for push sessions,
// the appends of clients. A chunker cuts them into units, each chunk becomes a [Frame] with
// the next [FrameID], and frames make up the append-only [Log]. A [Reader] is
// a position in a log. A [Store] keeps logs beyond the process, and more of
// them than memory holds. The [Manager] owns all sessions of a node.
//
// While a session is paused its upstream is on hold, which reads it on, or
// released, which lets the model go. A released one goes on as another
// generation ([Continuer]), and so does a new session that continues one that
// has ended; the seam is the frame that marks where. A cursor is the upstream's
// own name for a place in its answer. A session is unread while it has no
// reader: then its [NoReader] says what becomes of it.
//
// # Flow
//
//	source ──delta──▶ chunker ──chunk──▶ frame ──commit──▶ log ──After(id)──▶ reader
//	└──────── one pump goroutine per live session ────────┘ │
//	                                                      store
//
// A source runs in a goroutine of its own, the feed; a pump waits for all feeds
// that it has started. A pump waits for a delta, a command, a reader that comes
// or leaves, or its pace, takes what else is ready,
// and hands the frames that came of it to the manager as a [Batch], together
// with the [Checkpoint] that belongs to them. The manager commits the batches
// of all sessions that wait, in one call of the store. Only then are frames
// visible and commands answered.
//
// A log keeps the newest frames in memory. A reader that is further behind reads
// from the store, up to where memory goes on. A session that has ended leaves
// memory when nobody asks for it any more, and comes back without its frames.
//
// # After a restart
//
// [Manager.Recover] takes over what the store holds. Each session that has not
// ended gets a pump, which gives a new chunker the text of the log and what the
// checkpoint says was held. The chunks that come of it must be those of the
// log; then the session goes on at the next id: an upstream behind the cursor of
// the checkpoint, or, if it was released, when it is resumed. Where that is not
// exact, because the source cannot be asked for the rest or would be cut in
// another way, it ends as interrupted, after all that was taken from the source.
//
// # Invariants
//
//   - Frames of a session are numbered 1, 2, 3 … without a gap, and never change.
//   - What a reader has seen, and what a client was told is done, is committed.
//   - The join of the text frames is the text that the source gave, to the
//     byte; of a session that was stopped or failed, a beginning of it. Behind
//     a seam it is another generation's, and units run over the seam. A session
//     that continues another begins with all of the other's text.
//   - The cursor of a checkpoint stands behind nothing but what is in frames and
//     in Held. What a paused upstream is read on is in neither.
//   - A terminal frame is a log's last. A done frame is there only after the
//     source's own end marker. A session that is broken off (the relay ends,
//     another owns it) has no terminal frame, and its readers get an error.
//   - Nothing that a producer was told is safe is lost, in a frame or not: it
//     is in the checkpoint, and framed before any end.
//   - Nobody waits for a reader: it has a position and nothing else.
//
// # Locks
//
// A pump's fields belong to its goroutine, and need none. Session.mu guards
// what others see of it. Manager.mu is taken before Session.mu, and that before
// Log.mu; committer.mu and keys.mu are taken alone. None is held over I/O. A source's own
// locks come last: it calls nothing of this package under them.
package session
