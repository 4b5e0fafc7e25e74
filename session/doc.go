// Package session is the domain of the relay: texts that are written once and
// read by anybody, any number of times, from any event on.
//
// # Words
//
// A [Session] owns one text. Its [Source] yields [Delta]s: the text given
// whole, a generator, a model provider, or, for push sessions, the appends of
// clients. A chunker cuts them into units, each chunk becomes a [Frame] with
// the next [FrameID], and frames make up the append-only [Log]. A [Reader] is
// a position in a log. A [Store] keeps logs beyond the process. The [Manager]
// owns all sessions of a node.
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
// # Invariants
//
//   - Frames of a session are numbered 1, 2, 3 … without a gap, and never change.
//   - What a reader has seen, and what a client was told is done, is committed.
//   - The join of the text frames is the text that the source gave, to the
//     byte; of a session that was stopped or failed, a beginning of it.
//   - A terminal frame is a log's last. A done frame is there only after the
//     source's own end marker. A session that is broken off (the relay ends,
//     the store refuses) has no terminal frame, and its readers get an error.
//   - Nobody waits for a reader: it has a position and nothing else.
//
// # Locks
//
// A pump's fields belong to its goroutine, and need none. Session.mu guards
// what others see of it and is taken before Log.mu; Manager.mu is taken alone.
// None is held over I/O.
package session
