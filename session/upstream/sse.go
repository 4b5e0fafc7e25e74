package upstream

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"strconv"
	"time"
)

// maxEvent bounds one line of a stream, and the data of one event, in bytes;
// more is bufio.ErrTooLong. The last event of Responses repeats the whole answer.
const maxEvent = 4 << 20

// sse is the media type of protocols that answer by server-sent events.
type sse struct{}

func (sse) mediaType() string { return "text/event-stream" }

// An Event is one server-sent event.
type Event struct {
	ID    string        // last id so far, of this event or an earlier one
	Name  string        // "" if it has none
	Data  string        // the data lines, joined by line feeds
	Retry time.Duration // last reconnection time so far; 0 if there was none
}

// Events reads server-sent events as the HTML standard says (section 9.2.6):
// an event that no empty line ends is dropped. It ends at the end of r, with
// r's error if that is not io.EOF.
func Events(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var (
			lines = bufio.NewScanner(r)
			first = true
			event Event
			data  []byte // each line with a line feed behind it
			id    string
		)
		lines.Buffer(nil, maxEvent)
		lines.Split(splitLines())
		for lines.Scan() {
			line := lines.Bytes()
			if first {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
				first = false
			}
			if len(line) == 0 {
				event.ID = id
				if len(data) > 0 {
					event.Data = string(data[:len(data)-1])
					if !yield(event, nil) {
						return
					}
				}
				data = data[:0]
				event.Name = ""
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "data":
				if len(data)+len(value) >= maxEvent {
					yield(Event{}, bufio.ErrTooLong)
					return
				}
				data = append(append(data, value...), '\n')
			case "event":
				event.Name = string(value)
			case "id":
				if bytes.IndexByte(value, 0) < 0 {
					id = string(value)
				}
			case "retry":
				if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
					event.Retry = time.Duration(ms) * time.Millisecond
				}
			}
		}
		if err := lines.Err(); err != nil {
			yield(Event{}, err)
		}
	}
}

// splitLines splits at CR, LF and CRLF. A CR ends its line at once: whether a
// line feed follows may not be known for long.
func splitLines() bufio.SplitFunc {
	afterCR := false
	scanned := 0 // bytes that hold no end of a line
	return func(data []byte, atEOF bool) (advance int, line []byte, err error) {
		// A line feed that belongs to it goes with the next line: for an
		// advance without a line the Scanner would read on first.
		start := 0
		if afterCR && len(data) > 0 {
			afterCR = false
			if data[0] == '\n' {
				start = 1
			}
		}
		from := max(start, scanned)
		i := bytes.IndexAny(data[from:], "\r\n")
		switch {
		case i >= 0:
			end := from + i
			afterCR, scanned = data[end] == '\r', 0
			return end + 1, data[start:end], nil
		case atEOF:
			scanned = 0
			return len(data), nil, nil // a line that nothing ends
		}
		scanned = len(data) - start
		return start, nil, nil
	}
}
