// Package pebblestore is a session.Store on the disk, in a Pebble database.
//
// # What stands where
//
// The data directory holds a marker (tokenrelay.format, which says what the
// directory is and in which format), a lock, a ballast, a tally of the commits
// (tokenrelay.commits) and the database (pebble). A key is a letter and what
// follows it; numbers in keys are big endian, times milliseconds, and a string
// that is not the last of its key comes after its length.
//
//	r id i                     what never changes about a session (most of it JSON)
//	r id s                     what does: token, state, last, bytes, checkpoint
//	c id                       what its source was given
//	f created id last          the frames of one commit, of which last is the last
//	l principal created id     nothing: the listing
//	a principal name           the id that the alias is bound to
//	b id name                  nothing: the aliases of a session
//	t id                       the tombstone of a session that was removed
//	o number                   the id of a tombstone: the lowest number is the oldest
//	m f                        the newest format of any value
//	m s                        the number of the last commit
//
// Values begin with the format they are written in: see format. The number in
// the marker is another: it is raised only when what stands where in the
// directory, beside the database, is no longer as above.
//
// So a replay is one seek and a scan, and sessions that end their time
// together lie together: the room of expired ones comes back as whole tables.
//
// # Commits
//
// Every call that changes something is one batch of Pebble's, and one record
// in its write-ahead log. A batch is put into its place in the log with order
// held, so that the order of the log is that in which batches were checked
// against each other; who put it there then waits for the log without a lock,
// together with all who did so meanwhile. Pebble shows a batch to readers
// before the log is synced; this package does not. A session that a commit is
// on its way for, or that lives, has an entry in memory, which says what is
// committed, and readers see no more than that. Entries of other sessions
// leave, so there are about as many as sessions live. So it is with an alias
// that a commit is on its way for; the next commit that changes it waits.
//
//   - At session.LevelPower a commit returns when the log is synced.
//   - At session.LevelProcess it returns when the log was written. Loss of
//     power may take what came after the last sync by the kernel, never
//     something in between.
//
// # Invariants
//
//   - The frames of a session are dense and end at the last of its state.
//     Both are written by the same batch.
//   - Records, listing, aliases and tombstones of a session come and go by the
//     same batch.
//   - Without an entry, all that the database shows of a session is committed,
//     and so is what it shows of an alias that no commit is on its way for.
//   - An alias has one session, and stands among the aliases of that one only.
//   - Commits are numbered in the order of the log, and each writes its number.
//     The tally holds one up to which all commits survive the loss of power; a
//     database that holds less has lost some that were acknowledged. It is
//     opened without changing it first, and refused.
//
// # A disk that fails
//
// See shield and ballast: logs wait for the disk, and a ballast keeps enough
// room for sessions to end. What is larger than a part of the ballast is held
// against what is free before it is written. A failure inside Pebble, which
// leaves open what is committed, ends all commits until the store is opened
// again. A data directory that is no longer where it was is another reason to
// take no sessions: see place.
//
// # Room
//
// A removal is one range tombstone for the frames. It is in a table seconds
// later, and the range of many removals is compacted in the background: see
// reclaim. Up to about five logs, of a memtable each, are kept to be used again.
//
// # Locks
//
// Store.order before Store.mu; shield.mu and ballast.mu are leaves. Only order
// and ballast.mu are held over I/O, and no reader takes them. What is logged
// with one of them held, or by Pebble with its own, goes through a queue.
package pebblestore
