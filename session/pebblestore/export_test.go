package pebblestore

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
)

// OnFS returns o for a store on another file system than the machine's.
func (o Options) OnFS(fs vfs.FS) Options {
	o.fs = fs
	return o
}

// Quick returns o for a store that tries again, and looks at its disk, after
// milliseconds, and whose memtables and ballast are small.
func (o Options) Quick() Options {
	o.retry, o.watch = 2*time.Millisecond, 5*time.Millisecond
	o.ballast, o.memTable = 64<<10, 64<<10
	return o
}

// QuickWatch returns o for a store that looks at its disk often.
func (o Options) QuickWatch() Options {
	o.watch = 5 * time.Millisecond
	return o
}

// WithTombstones returns o for a store that remembers n removed sessions.
func (o Options) WithTombstones(n uint64) Options {
	o.tombstones = n
	return o
}

// Live returns how many sessions the store has in memory.
func (st *Store) Live() int {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return len(st.entries)
}

// NoteTally does what the store does when it looks at its disk.
func (st *Store) NoteTally() { st.tally.note() }

// Flush writes what is in memory to tables.
func (st *Store) Flush() error { return st.db.Flush() }

// RecodeState returns the state that value holds as it would be written, or
// why it holds none.
func RecodeState(value []byte) ([]byte, error) {
	s, err := parseState(value)
	if err != nil {
		return nil, err
	}
	return appendState(nil, &s), nil
}

// SomeState returns the value of a state with something in each field.
func SomeState(c session.Checkpoint) []byte {
	return appendState(nil, &state{3, session.Paused, 1 << 40, 99, c})
}

// ParseGiven reads the value of what a source was given.
func ParseGiven(value []byte) (given session.SourceSpec, err error) {
	err = parseGiven(value, &given)
	return given, err
}

// ParseInfo reads the value of what never changes about a session.
func ParseInfo(value []byte) (session.Info, error) {
	in, err := parseInfo(session.ID{}, value)
	if err != nil {
		return session.Info{}, err
	}
	return in.info, nil
}

// RecodeInfo is RecodeState for what never changes about a session.
func RecodeInfo(value []byte) ([]byte, error) {
	in, err := parseInfo(session.ID{}, value)
	if err != nil {
		return nil, err
	}
	return appendInfo(nil, in.info)
}

// SomeInfo returns the value of an info.
func SomeInfo(r session.Record) []byte {
	value, err := appendInfo(nil, r.Info)
	if err != nil {
		panic(err)
	}
	return value
}

// RecodeKey returns the key that key is parsed as, written again, or false.
func RecodeKey(key []byte) ([]byte, bool) {
	if len(key) == 0 {
		return nil, false
	}
	switch key[0] {
	case prefixRecord:
		id, part, ok := parseRecordKey(key)
		return appendRecordKey(nil, id, part), ok
	case prefixFrames:
		created, id, last, ok := parseFramesKey(key)
		return appendFramesKey(nil, created, id, last), ok
	case prefixListing:
		who, created, id, ok := parseListingKey(key)
		return appendListingKey(nil, who, created, id), ok
	case prefixBound:
		id, name, ok := parseBoundKey(key)
		return appendBoundKey(nil, id, name), ok
	case prefixOrder:
		n, ok := parseOrderKey(key)
		return appendOrderKey(nil, n), ok
	}
	return nil, false
}

// SomeKeys returns a key of each kind that is parsed.
func SomeKeys(id session.ID) [][]byte {
	return [][]byte{
		appendRecordKey(nil, id, partInfo), appendRecordKey(nil, id, partState),
		appendFramesKey(nil, -1, id, 7), appendListingKey(nil, "who", 1<<40, id),
		appendBoundKey(nil, id, "chat"), appendOrderKey(nil, 12),
	}
}

// OnTheirWay returns how many changes of sessions, and of aliases, are in their
// place and not done.
func (st *Store) OnTheirWay() int {
	st.mu.RLock()
	defer st.mu.RUnlock()
	n := len(st.binding)
	for _, e := range st.entries {
		n += e.inFlight
	}
	return n
}

// Waiting returns how many commits wait for an alias that is on its way.
func (st *Store) Waiting() int { return int(st.waiting.Load()) }

// Format is the version of what the store writes.
const Format = format

// RaiseFormat makes the store one that a later version has opened.
func (st *Store) RaiseFormat() error { return st.db.Set(formatKey, []byte{format + 1}, nil) }

// Break makes the store one in which a commit has failed inside Pebble.
func (st *Store) Break(err error) { st.fail(err) }
