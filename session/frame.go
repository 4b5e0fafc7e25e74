package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"unicode/utf8"
)

const (
	// MaxFrame bounds a frame's wire form, in bytes: Go clients commonly stop
	// at lines of 64 KiB, and then ask for the same id for ever.
	MaxFrame = 60 << 10

	// MaxFrameID is the last id that every JavaScript number holds exactly.
	MaxFrameID FrameID = 1<<53 - 1
)

// A FrameID numbers the frames of one session: 1 is the first, 0 stands before it.
type FrameID uint64

// A Kind is what a frame is, and its event's name on the wire. Kinds that are
// not listed here are names that clients of push sessions chose.
type Kind string

const (
	KindText      Kind = ""          // {"text":…}: without a name, so that EventSource calls onmessage
	KindSession   Kind = "session"   // the first frame: {"id":…,"unit":…,"created":…}
	KindReasoning Kind = "reasoning" // {"text":…}, not part of the text
	KindToolCall  Kind = "tool_call" // {"index":…,"id":…,"name":…,"arguments":…}, a fragment
	KindPaused    Kind = "paused"    // {}, or {"reason":"no_reader"}
	KindResumed   Kind = "resumed"   // {}, or {"reason":"reader"}
	KindProvider  Kind = "provider"  // {"protocol":…,…}: what a provider sent that no other frame carries
	KindSeam      Kind = "seam"      // {"by":…,"offset":…}: behind that many bytes of the text another generation goes on

	// Terminal kinds: nothing follows. Their payload is an End.
	KindDone        Kind = "done"
	KindStopped     Kind = "stopped"
	KindFailed      Kind = "failed"
	KindInterrupted Kind = "interrupted"
)

// reserved lists the names that no client may give to its own events: ours,
// those that later versions of the protocol may use, and those that
// EventSource itself fires.
var reserved = map[Kind]bool{
	KindText: true, KindSession: true, KindReasoning: true, KindToolCall: true,
	KindProvider: true, KindPaused: true, KindResumed: true, KindSeam: true,
	KindDone: true, KindStopped: true, KindFailed: true, KindInterrupted: true,
	"ping": true, "error": true, "open": true,
}

// Terminal reports whether a frame of this kind is its log's last.
func (k Kind) Terminal() bool {
	return k == KindDone || k == KindStopped || k == KindFailed || k == KindInterrupted
}

// Custom reports whether a kind is one that clients of push sessions may give to
// their own events.
func (k Kind) Custom() bool { return !reserved[k] }

// A Frame is one numbered event of a session's log. It never changes.
type Frame struct {
	ID   FrameID
	Kind Kind
	Data []byte // one line of JSON
}

// AppendWire appends the frame as a server-sent event (HTML standard, section
// 9.2). This is the form in which frames are kept, stored and sent.
func (f Frame) AppendWire(dst []byte) []byte {
	return append(append(appendHead(dst, f.ID, f.Kind), f.Data...), "\n\n"...)
}

func appendHead(dst []byte, id FrameID, kind Kind) []byte {
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, uint64(id), 10)
	if kind != KindText {
		dst = append(dst, "\nevent: "...)
		dst = append(dst, kind...)
	}
	return append(dst, "\ndata: "...)
}

// appendText appends the wire form of a frame whose payload is {"text":text}.
func appendText(dst []byte, id FrameID, kind Kind, text string) []byte {
	dst = append(appendHead(dst, id, kind), `{"text":`...)
	return append(appendString(dst, text), "}\n\n"...)
}

// Text returns the text that a text or reasoning frame carries, and "" for
// any other frame.
func (f Frame) Text() string {
	if f.Kind != KindText && f.Kind != KindReasoning {
		return ""
	}
	var payload struct{ Text string }
	if json.Unmarshal(f.Data, &payload) != nil {
		return ""
	}
	return payload.Text
}

// Wire is a run of whole frames in wire form, with ids that follow each other.
type Wire []byte

// Frames yields the frames one by one; their payloads share w's memory. It
// ends early at bytes that are no frame: see Check.
func (w Wire) Frames() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for len(w) > 0 {
			f, rest, ok := cutFrame(w)
			if !ok || !yield(f) {
				return
			}
			w = rest
		}
	}
}

// Check returns the id of the last frame of w, and where each frame ends, if
// w holds nothing but whole frames whose ids follow after without a gap.
func (w Wire) Check(after FrameID) (last FrameID, ends []uint32, err error) {
	last = after
	for rest := w; len(rest) > 0; {
		f, next, ok := cutFrame(rest)
		if !ok || f.ID != last+1 {
			return last, ends, fmt.Errorf("no frame %d at byte %d", last+1, len(w)-len(rest))
		}
		last, rest = f.ID, next
		ends = append(ends, uint32(len(w)-len(rest)))
	}
	return last, ends, nil
}

// First returns the first frames of w: as many as size bytes hold, and at least
// one if there is one; what follows them; and the id of the last of them, 0 if
// there is none.
func (w Wire) First(size int) (first, rest Wire, last FrameID) { return w.until(MaxFrameID, size) }

// until is First of the frames up to most.
func (w Wire) until(most FrameID, size int) (first, rest Wire, last FrameID) {
	rest = w
	for len(rest) > 0 {
		f, next, ok := cutFrame(rest)
		if !ok || f.ID > most || last > 0 && len(w)-len(next) > size {
			break
		}
		last, rest = f.ID, next
	}
	n := len(w) - len(rest)
	return w[:n:n], rest, last
}

// cutFrame reads the frame at the start of w. It takes exactly what
// AppendWire writes.
func cutFrame(w Wire) (f Frame, rest Wire, ok bool) {
	// A payload is one line, so an empty line always ends a frame.
	event, rest, found := bytes.Cut(w, []byte("\n\n"))
	id, event, hasData := bytes.Cut(event, []byte("\n"))
	id, hasID := bytes.CutPrefix(id, []byte("id: "))
	if !found || !hasID || !hasData {
		return Frame{}, w, false
	}
	if name, named := bytes.CutPrefix(event, []byte("event: ")); named {
		name, event, hasData = bytes.Cut(name, []byte("\n"))
		f.Kind = Kind(name)
		hasData = hasData && f.Kind != KindText
	}
	f.Data, ok = bytes.CutPrefix(event, []byte("data: "))
	n, err := strconv.ParseUint(string(id), 10, 64)
	f.ID = FrameID(n)
	return f, rest, ok && hasData && err == nil && id[0] != '0'
}

// appendString appends s, which must be valid UTF-8, as a JSON string on one
// line. Beyond what RFC 8259 asks it escapes U+0085, U+2028 and U+2029, at
// which some clients split lines; it leaves <, > and & alone.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= 0x20 && b < utf8.RuneSelf && b != '"' && b != '\\' && b != 0x7f {
			i++
			continue
		}
		r, size := rune(b), 1
		if b >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if r != 0x85 && r != 0x2028 && r != 0x2029 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// lineOf returns the JSON value in raw on one line: white space between its
// tokens removed, line separators inside strings escaped.
func lineOf(raw json.RawMessage) ([]byte, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return nil, err
	}
	// In compact JSON these can only stand inside a string.
	out := line.Bytes()
	for _, sep := range [...]struct{ char, escape string }{{"\u0085", `\u0085`}, {"\u2028", `\u2028`}, {"\u2029", `\u2029`}} {
		out = bytes.ReplaceAll(out, []byte(sep.char), []byte(sep.escape))
	}
	return out, nil
}
