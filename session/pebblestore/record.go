package pebblestore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tokenrelay/session"
)

// format is the version of what this package writes: of the layout of values,
// of what session.Info and session.Checkpoint mean, and of the wire form of
// frames. It is the first byte of each value but frames, ids and empty ones.
// Values keep the format they were written in until they are written again.
// The store notes the newest of them under formatKey when it is opened; so a
// version of this package that does not know it refuses the store.
//
// What comes to a value later is appended to it, with a format that is one
// higher; its parse function reads it if the decoder's format says that it is
// there, and else leaves what older values mean, such as zero:
//
//	if d.format >= 2 {
//		c.New = d.varint()
//	}
const format = 3

var (
	errCorrupt = errors.New("the store is damaged")
	errLater   = errors.New("written by a later version of tokenrelay: use that version, or one that came after it")
)

// A state is what changes about a session.
type state struct {
	token      session.Token // 0 if the session is not there
	state      session.State
	last       session.FrameID
	bytes      int64
	checkpoint session.Checkpoint
}

// An info is what never changes, without what the source was given.
type info struct{ info session.Info }

func (in *info) record(s state) session.Record {
	return session.Record{
		Info: in.info, Token: s.token, State: s.state, Last: s.last, Bytes: s.bytes, Checkpoint: s.checkpoint,
	}.Clone()
}

// Which of the rare fields of a state follow.
const (
	hasFirstText = 1 << iota
	hasEnded
	hasProducers
	hasUsage
	hasInput
	hasOutput
	hasUpstream // since format 2
	isReleased  // since format 2

	hasAny = 1<<iota - 1
)

func appendState(dst []byte, s *state) []byte {
	c := &s.checkpoint
	var has byte
	set := func(bit byte, there bool) {
		if there {
			has |= bit
		}
	}
	set(hasFirstText, !c.FirstText.IsZero())
	set(hasEnded, !c.Ended.IsZero())
	set(hasProducers, c.Producers != nil)
	set(hasUsage, c.Usage != session.Usage{})
	set(hasInput, c.Usage.Input != nil)
	set(hasOutput, c.Usage.Output != nil)
	set(hasUpstream, c.Cursor != "" || c.Output != 0 || c.Earlier != 0 || c.FirstToken != 0 || c.Streaming != 0 || c.PausedUnread)
	set(isReleased, c.Released)

	dst = append(dst, format, has)
	dst = binary.AppendUvarint(dst, uint64(s.token))
	dst = appendString(dst, string(s.state))
	dst = binary.AppendUvarint(dst, uint64(s.last))
	dst = binary.AppendVarint(dst, s.bytes)
	dst = binary.AppendVarint(dst, c.Position)
	dst = binary.AppendVarint(dst, c.Units)
	dst = appendString(dst, c.Held)
	dst = appendString(dst, string(c.HeldKind))
	if has&hasFirstText != 0 {
		dst = binary.AppendVarint(dst, c.FirstText.UnixMilli())
	}
	if has&hasEnded != 0 {
		dst = binary.AppendVarint(dst, c.Ended.UnixMilli())
	}
	if has&hasProducers != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(c.Producers)))
		for _, name := range slices.Sorted(maps.Keys(c.Producers)) {
			dst = binary.AppendUvarint(appendString(dst, name), c.Producers[name])
		}
	}
	if has&hasUsage != 0 {
		dst = appendString(dst, string(c.Usage.Source))
	}
	if has&hasInput != 0 {
		dst = binary.AppendVarint(dst, *c.Usage.Input)
	}
	if has&hasOutput != 0 {
		dst = binary.AppendVarint(dst, *c.Usage.Output)
	}
	if has&hasUpstream != 0 {
		dst = appendString(dst, c.Cursor)
		dst = binary.AppendVarint(dst, c.Output)
		dst = binary.AppendVarint(dst, c.Earlier)
		dst = binary.AppendVarint(dst, int64(c.FirstToken))
		dst = binary.AppendVarint(dst, int64(c.Streaming))
		dst = append(dst, flag(c.PausedUnread))
	}
	return dst
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// parseState reads exactly what appendState writes.
func parseState(value []byte) (s state, err error) {
	d := newDecoder(value)
	has := d.byte()
	s.token = session.Token(d.uvarint())
	s.state = session.State(d.string())
	s.last = session.FrameID(d.uvarint())
	s.bytes = d.varint()
	c := &s.checkpoint
	c.Position = d.varint()
	c.Units = d.varint()
	c.Held = d.string()
	c.HeldKind = session.Kind(d.string())
	if has&hasFirstText != 0 {
		c.FirstText = time.UnixMilli(d.varint()).UTC()
	}
	if has&hasEnded != 0 {
		c.Ended = time.UnixMilli(d.varint()).UTC()
	}
	if has&hasProducers != 0 {
		n := d.uvarint()
		if n > uint64(len(d.rest)) {
			d.bad = true
		}
		c.Producers = make(map[string]uint64)
		for previous := ""; n > 0 && !d.bad; n-- {
			name := d.string()
			if len(c.Producers) > 0 && name <= previous {
				d.bad = true
			}
			c.Producers[name], previous = d.uvarint(), name
		}
	}
	if has&hasUsage != 0 {
		c.Usage.Source = session.UsageSource(d.string())
	}
	if has&hasInput != 0 {
		c.Usage.Input = new(d.varint())
	}
	if has&hasOutput != 0 {
		c.Usage.Output = new(d.varint())
	}
	if has&hasUpstream != 0 {
		c.Cursor = d.string()
		c.Output = d.varint()
		c.Earlier = d.varint()
		c.FirstToken = time.Duration(d.varint())
		c.Streaming = time.Duration(d.varint())
		unread := d.byte()
		c.PausedUnread = unread == 1
		d.bad = d.bad || unread > 1
	}
	c.Released = has&isReleased != 0
	if d.format < 2 && has&(hasUpstream|isReleased) != 0 {
		d.bad = true
	}
	if has&^hasAny != 0 || s.token == 0 {
		d.bad = true
	}
	if err := d.end(); err != nil {
		return state{}, fmt.Errorf("%w: a session's state", err)
	}
	return s, nil
}

// A storedInfo is the JSON of an info. The id stands in the key. What is to come
// back byte for byte stands before the JSON, which would write it anew: the
// principal, and since format 3 what is recorded for projections.
type storedInfo struct {
	Created        int64 // in milliseconds UTC
	Spec           session.Spec
	EncodingSource session.EncodingSource `json:",omitempty"`
	Unicode        string                 `json:",omitempty"`
	Generator      int                    `json:",omitempty"`
	Size           int64
}

func appendInfo(dst []byte, in session.Info) ([]byte, error) {
	dst = appendString(append(dst, format), string(in.Principal))
	dst = appendRaw(dst, in.Spec.Projection.Recorded)
	spec := in.Spec
	spec.Projection.Recorded = nil
	given := &spec.Source
	given.Text, given.Prompt, given.Messages, given.Parameters = "", "", nil, nil
	text, err := json.Marshal(storedInfo{
		Created: in.Created.UnixMilli(), Spec: spec,
		EncodingSource: in.EncodingSource, Unicode: in.Unicode, Generator: in.Generator, Size: in.Size,
	})
	return append(dst, text...), err
}

func parseInfo(id session.ID, value []byte) (*info, error) {
	d := newDecoder(value)
	who := d.string()
	var recorded json.RawMessage
	if d.format >= 3 {
		recorded = d.raw()
	}
	var in storedInfo
	if !d.bad && json.Unmarshal(d.rest, &in) != nil {
		d.bad = true
	}
	d.rest = nil
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("%w: the record of session %s…", err, short(id))
	}
	in.Spec.Source.Messages, in.Spec.Source.Parameters = nil, nil // null in the JSON
	in.Spec.Projection.Recorded = recorded
	return &info{session.Info{
		ID: id, Principal: session.Principal(who), Created: time.UnixMilli(in.Created).UTC(), Spec: in.Spec,
		EncodingSource: in.EncodingSource, Unicode: in.Unicode, Generator: in.Generator, Size: in.Size,
	}}, nil
}

func appendGiven(dst []byte, given session.SourceSpec) []byte {
	dst = append(dst, format)
	dst = appendString(dst, given.Text)
	dst = appendString(dst, given.Prompt)
	return appendRaw(appendRaw(dst, given.Messages), given.Parameters)
}

// parseGiven sets the fields of spec that appendGiven has kept.
func parseGiven(value []byte, spec *session.SourceSpec) error {
	d := newDecoder(value)
	spec.Text, spec.Prompt, spec.Messages, spec.Parameters = d.string(), d.string(), nil, nil
	if d.format < 2 {
		if len(d.rest) > 0 {
			spec.Messages = json.RawMessage(d.string())
		}
		return d.end()
	}
	spec.Messages, spec.Parameters = d.raw(), d.raw()
	return d.end()
}

// appendTombstone makes a tombstone.
func appendTombstone(dst []byte, gone *session.GoneError) []byte {
	return appendString(appendString(append(dst, format), string(gone.Principal)), string(gone.Reason))
}

func parseTombstone(value []byte) (*session.GoneError, error) {
	d := newDecoder(value)
	gone := &session.GoneError{Principal: session.Principal(d.string()), Reason: session.GoneReason(d.string())}
	return gone, d.end()
}

// appendString appends s after its length, so that no string is the start of
// another.
func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendRaw appends raw, nil or not.
func appendRaw(dst []byte, raw json.RawMessage) []byte {
	return appendString(append(dst, flag(raw != nil)), string(raw))
}

// A decoder reads what the append functions wrote. Once bad it gives zeros.
type decoder struct {
	format byte // of the value
	rest   []byte
	bad    bool
}

func newDecoder(value []byte) decoder {
	d := decoder{rest: value}
	d.format = d.byte()
	d.bad = d.format == 0 || d.format > format
	return d
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 || d.bad {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad = true
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

// raw reads what appendRaw writes.
func (d *decoder) raw() json.RawMessage {
	there, text := d.byte(), d.string()
	if there > 1 || there == 0 && text != "" {
		d.bad = true
	}
	if d.bad || there == 0 {
		return nil
	}
	return json.RawMessage(text)
}

// end reports what was bad, or that there is more.
func (d *decoder) end() error {
	if d.format > format {
		return errLater
	}
	if d.bad || len(d.rest) > 0 {
		return errCorrupt
	}
	return nil
}

// short names a session in an error: whoever knows a whole id may read it.
func short(id session.ID) string { return id.String()[:8] }
