package pebblestore

import (
	"encoding/binary"

	"tokenrelay/session"
)

// The first byte of a key says what is under it: see the package comment.
const (
	prefixAlias     = 'a' // principal, name → id
	prefixBound     = 'b' // id, name → nothing
	prefixGiven     = 'c' // id → what the source was given
	prefixFrames    = 'f' // created, id, last frame → frames
	prefixListing   = 'l' // principal, created, id → nothing
	prefixMeta      = 'm'
	prefixOrder     = 'o' // number of a tombstone → id
	prefixRecord    = 'r' // id, part → part of a record
	prefixTombstone = 't' // id → tombstone
)

// The parts of a record, in the order of their keys.
const (
	partInfo  = 'i'
	partState = 's'
)

const (
	idSize     = len(session.ID{})
	framesSize = 1 + 8 + idSize + 8 // of a frames key
)

// formatKey holds the format of the newest value that there may be: see format.
var formatKey = []byte{prefixMeta, 'f'}

// countKey holds the number of the last commit: see tally.
var countKey = []byte{prefixMeta, 's'}

func appendRecordKey(dst []byte, id session.ID, part byte) []byte {
	return append(append(append(dst, prefixRecord), id[:]...), part)
}

func parseRecordKey(key []byte) (id session.ID, part byte, ok bool) {
	if len(key) != 1+idSize+1 || key[0] != prefixRecord {
		return id, 0, false
	}
	return session.ID(key[1 : 1+idSize]), key[1+idSize], true
}

// appendIDKey makes the keys that are a prefix and an id.
func appendIDKey(dst []byte, prefix byte, id session.ID) []byte {
	return append(append(dst, prefix), id[:]...)
}

// appendFramesKey makes the key of the frames up to last. Times before 1970
// come first.
func appendFramesKey(dst []byte, created int64, id session.ID, last session.FrameID) []byte {
	dst = append(dst, prefixFrames)
	dst = binary.BigEndian.AppendUint64(dst, uint64(created)^1<<63)
	dst = append(dst, id[:]...)
	return binary.BigEndian.AppendUint64(dst, uint64(last))
}

func parseFramesKey(key []byte) (created int64, id session.ID, last session.FrameID, ok bool) {
	if len(key) != framesSize || key[0] != prefixFrames {
		return 0, id, 0, false
	}
	created = int64(binary.BigEndian.Uint64(key[1:]) ^ 1<<63)
	return created, session.ID(key[9 : 9+idSize]), session.FrameID(binary.BigEndian.Uint64(key[9+idSize:])), true
}

// appendListingPrefix makes what all listing keys of a principal start with,
// and no key of another.
func appendListingPrefix(dst []byte, who session.Principal) []byte {
	return appendString(append(dst, prefixListing), string(who))
}

func appendListingKey(dst []byte, who session.Principal, created int64, id session.ID) []byte {
	dst = appendListingPrefix(dst, who)
	dst = binary.BigEndian.AppendUint64(dst, uint64(created)^1<<63)
	return append(dst, id[:]...)
}

func parseListingKey(key []byte) (who session.Principal, created int64, id session.ID, ok bool) {
	if len(key) == 0 || key[0] != prefixListing {
		return "", 0, id, false
	}
	d := decoder{rest: key[1:]}
	who = session.Principal(d.string())
	if d.bad || len(d.rest) != 8+idSize {
		return "", 0, id, false
	}
	return who, int64(binary.BigEndian.Uint64(d.rest) ^ 1<<63), session.ID(d.rest[8:]), true
}

func appendAliasKey(dst []byte, who session.Principal, name string) []byte {
	return append(appendString(append(dst, prefixAlias), string(who)), name...)
}

func appendBoundKey(dst []byte, id session.ID, name string) []byte {
	return append(appendIDKey(dst, prefixBound, id), name...)
}

func parseBoundKey(key []byte) (id session.ID, name string, ok bool) {
	if len(key) < 1+idSize || key[0] != prefixBound {
		return id, "", false
	}
	return session.ID(key[1 : 1+idSize]), string(key[1+idSize:]), true
}

func appendOrderKey(dst []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixOrder), n)
}

func parseOrderKey(key []byte) (n uint64, ok bool) {
	if len(key) != 9 || key[0] != prefixOrder {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}
