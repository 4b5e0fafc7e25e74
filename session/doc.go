// Package session is the domain of the relay: texts that are written once and
// read by anybody, any number of times, from any event on.
//
// # Words
//
// A [Session] owns one text. Its [Source] yields [Delta]s: the text given
// whole, a generator, a model provider, or, for push sessions, the appends of
// clients. A chunker cuts them into units, each chunk becomes a [Frame] with
// the next [FrameID], and frames make up the append-only [Log]. A [Reader] is
// a position in a log. A [Store] keeps logs beyond the process, and more of
// them than memory holds. The [Manager] owns all sessions of a node.
//
// # Flow
//
//	source ──delta──▶ chunker ──chunk──▶ frame ──commit──▶ log ──After(id)──▶ reader
//	└──────── one pump goroutine per live session ────────┘ │
//	                                                      store
//
// A pump waits for a delta, a command or its pace, takes what else is ready,
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
// log; then the session goes on at the next id. Where that is not exact, because
// the source cannot be asked for the rest or would be cut in another way, it
// ends as interrupted, after all that was taken from the source.
//
// # Invariants
//
//   - Frames of a session are numbered 1, 2, 3 … without a gap, and never change.
//   - What a reader has seen, and what a client was told is done, is committed.
//   - The join of the text frames is the text that the source gave, to the
//     byte; of a session that was stopped or failed, a beginning of it.
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
// Log.mu; committer.mu is taken alone. None is held over I/O.
package session
