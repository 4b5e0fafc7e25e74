package session

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"log/slog"
)

// An ID names a session: 128 random bits, never reused. Its text form is 26
// characters of lower-case base32 (RFC 4648, no padding), which is safe in
// URLs, file names and shells, and is the only spelling that ParseID takes.
type ID [16]byte

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID returns a fresh random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:]) // never fails: crypto/rand aborts the program instead
	return id
}

// ParseID reads the text form of an ID. It reports false for any other text.
func ParseID(s string) (ID, bool) {
	var id ID
	if len(s) != idEncoding.EncodedLen(len(id)) {
		return ID{}, false
	}
	if _, err := idEncoding.Decode(id[:], []byte(s)); err != nil {
		return ID{}, false
	}
	// The last character carries two unused bits: one ID has one spelling.
	return id, id.String() == s
}

func (id ID) String() string { return idEncoding.EncodeToString(id[:]) }

// MarshalText makes IDs strings in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText makes.
func (id *ID) UnmarshalText(text []byte) error {
	read, ok := ParseID(string(text))
	if !ok {
		return errors.New("not the id of a session")
	}
	*id = read
	return nil
}

// LogValue shortens the ID: whoever knows a whole one may read the text.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.String()[:8]) }

// A Principal is who created a session. Sessions, aliases and listings belong
// to one, and nobody else learns that they exist.
type Principal string

// Anonymous is the principal of every request while access control is off.
const Anonymous Principal = "anonymous"
