package upstream_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"tokenrelay/session/upstream"
)

func TestEvents(t *testing.T) {
	type events = []upstream.Event
	for _, test := range []struct {
		name, in string
		want     events
	}{
		{"nothing", "", nil},
		{"one", "data: a\n\n", events{{Data: "a"}}},
		{"carriage returns", "data: a\r\rdata: b\r\r", events{{Data: "a"}, {Data: "b"}}},
		{"both", "data: a\r\n\r\ndata: b\r\n\r\n", events{{Data: "a"}, {Data: "b"}}},
		{"mixed", "data: a\r\n\ndata: b\n\rdata: c\r\r\ndata: d\n\n", events{{Data: "a"}, {Data: "b"}, {Data: "c"}, {Data: "d"}}},
		{"byte order mark", "\ufeffdata: a\n\n", events{{Data: "a"}}},
		{"second mark is text", "\ufeff\ufeffdata: a\n\ndata: b\n\n", events{{Data: "b"}}},
		{"mark in the middle", "data: a\n\n\ufeffdata: b\n\n", events{{Data: "a"}}},
		{"mark alone", "\ufeff\ndata: a\n\n", events{{Data: "a"}}},
		{"comments", ": ka\n:\n\n: x\ndata: a\n: y\n\n", events{{Data: "a"}}},
		{"comment and event in one block", ": OPENROUTER PROCESSING\n\ndata: a\n\n", events{{Data: "a"}}},
		{"data lines", "data: a\ndata:\ndata: b\n\n", events{{Data: "a\n\nb"}}},
		{"empty data", "data:\n\ndata\n\ndata:\ndata:\n\n", events{{Data: ""}, {Data: ""}, {Data: "\n"}}},
		{"no data", "event: x\nid: 1\n\ndata: a\n\n", events{{ID: "1", Data: "a"}}},
		{"one space", "data:a\n\ndata: a\n\ndata:  a\n\ndata:\ta\n\n", events{{Data: "a"}, {Data: "a"}, {Data: " a"}, {Data: "\ta"}}},
		{"colons", "data: a: b\n\ndata::c\n\n", events{{Data: "a: b"}, {Data: ":c"}}},
		{"name", "event: x\ndata: a\n\ndata: b\n\nevent\ndata: c\n\n", events{{Name: "x", Data: "a"}, {Data: "b"}, {Data: "c"}}},
		{"last name", "event: x\nevent: y\ndata: a\n\n", events{{Name: "y", Data: "a"}}},
		{"id stays", "id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", events{{ID: "1", Data: "a"}, {ID: "1", Data: "b"}, {Data: "c"}}},
		{"id with NUL", "id: 1\ndata: a\n\nid: 2\x00\ndata: b\n\n", events{{ID: "1", Data: "a"}, {ID: "1", Data: "b"}}},
		{"retry", "retry: 10\ndata: a\n\nretry: x\nretry: -1\nretry: +1\nretry: 1 \nretry\ndata: b\n\n", events{{Data: "a", Retry: 10 * time.Millisecond}, {Data: "b", Retry: 10 * time.Millisecond}}},
		{"unknown fields", "foo: x\nDATA: x\n data: x\ndata : x\ndata: a\n\n", events{{Data: "a"}}},
		{"unfinished event", "data: a\n\ndata: b\n", events{{Data: "a"}}},
		{"unfinished line", "data: a\n\ndata: b\n\ndata", events{{Data: "a"}, {Data: "b"}}},
		{"unfinished end", "data: a\r\n\r\ndata: b\r\n", events{{Data: "a"}}},
		{"text of every size", "data: aé€😀\n\n", events{{Data: "aé€😀"}}},
		{"invalid bytes", "data: \xff\n\n", events{{Data: "\xff"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			check := func(how string, r io.Reader) {
				got, err := collect(r)
				if err != nil || !slices.Equal(got, test.want) {
					t.Errorf("%s:\n got %+v, error %v\nwant %+v", how, got, err, test.want)
				}
			}
			check("whole", strings.NewReader(test.in))
			check("byte by byte", iotest.OneByteReader(strings.NewReader(test.in)))
			check("end with the last byte", iotest.DataErrReader(strings.NewReader(test.in)))
			for at := range len(test.in) + 1 {
				check(fmt.Sprintf("cut at %d", at), cutReader(test.in, at))
			}
			if got := reference(test.in); !slices.Equal(got, test.want) {
				t.Errorf("the reference of FuzzEvents disagrees:\n got %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// An event is yielded before what follows it has arrived.
func TestEventsAtOnce(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r", "\r\n\r\n"} {
		var got []string
		rest := "data: a" + end + "data: b" + end
		r := readerFunc(func(p []byte) (int, error) {
			if rest == "" {
				got = append(got, "reads on")
				return 0, io.EOF
			}
			n := copy(p, rest)
			rest = rest[n:]
			return n, nil
		})
		for event, err := range upstream.Events(r) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, event.Data)
		}
		if want := []string{"a", "b", "reads on"}; !slices.Equal(got, want) {
			t.Errorf("end %q: got %q, want %q", end, got, want)
		}
	}
}

func TestEventsTooLong(t *testing.T) {
	const limit = 4 << 20
	for name, in := range map[string]io.Reader{
		"line": io.MultiReader(strings.NewReader("data: "), repeated("x", limit)),
		"data": repeated("data: "+strings.Repeat("x", 1000)+"\n", 2*limit),
	} {
		rest := &counter{r: io.MultiReader(in, repeated("x", 10*limit))}
		_, err := collect(rest)
		if !errors.Is(err, bufio.ErrTooLong) {
			t.Errorf("%s: error %v, want %v", name, err, bufio.ErrTooLong)
		}
		if rest.n > 2*limit {
			t.Errorf("%s: read %d bytes before it gave up, want about %d", name, rest.n, limit)
		}
	}
	// It is a bound of each event, not of the stream.
	many := repeated("data: "+strings.Repeat("x", 1000)+"\n\n", 2*limit)
	if _, err := collect(many); err != nil {
		t.Errorf("many events: %v", err)
	}
}

// FuzzEvents compares what comes of in, read in pieces, with a reading of the
// standard that is as plain as can be.
func FuzzEvents(f *testing.F) {
	f.Add("\ufeffid: 1\r\nevent: x\rdata: a\ndata:b\r\n\r\n: c\n\nretry: 5\ndata\n\ndata: lost", uint64(3))
	f.Add("data: a\r\r\n\ndata: b\r\n\n\r", uint64(1<<40+77))
	f.Fuzz(func(t *testing.T, in string, cuts uint64) {
		want := reference(in)
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), &raggedReader{in, cuts}} {
			got, err := collect(r)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%q from a %T:\n got %+v, error %v\nwant %+v", in, r, got, err, want)
			}
		}
	})
}

func collect(r io.Reader) (all []upstream.Event, err error) {
	for event, failed := range upstream.Events(r) {
		if err != nil {
			return all, errors.New("an event or error after an error")
		}
		if err = failed; err == nil {
			all = append(all, event)
		}
	}
	return all, err
}

// reference reads the events of in as section 9.2.6 of the HTML standard
// says, step by step.
func reference(in string) (all []upstream.Event) {
	in = strings.TrimPrefix(in, "\ufeff")
	in = strings.ReplaceAll(in, "\r\n", "\n")
	in = strings.ReplaceAll(in, "\r", "\n")
	lines := strings.Split(in, "\n")
	var id, name, data string
	var retry time.Duration
	for _, line := range lines[:len(lines)-1] {
		field, value := line, ""
		if at := strings.Index(line, ":"); at >= 0 {
			field, value = line[:at], strings.TrimPrefix(line[at+1:], " ")
		}
		switch {
		case line == "":
			if data != "" {
				all = append(all, upstream.Event{ID: id, Name: name, Data: data[:len(data)-1], Retry: retry})
			}
			name, data = "", ""
		case field == "data":
			data += value + "\n"
		case field == "event":
			name = value
		case field == "id" && !strings.Contains(value, "\x00"):
			id = value
		case field == "retry" && value != "" && strings.Trim(value, "0123456789") == "":
			if ms, err := strconv.ParseInt(value, 10, 32); err == nil {
				retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
	return all
}

func cutReader(s string, at int) io.Reader {
	return io.MultiReader(strings.NewReader(s[:at]), strings.NewReader(s[at:]))
}

// A raggedReader gives pieces whose sizes are the octal digits of cuts.
type raggedReader struct {
	rest string
	cuts uint64
}

func (r *raggedReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, r.rest[:min(len(r.rest), int(r.cuts&7)+1)])
	r.rest = r.rest[n:]
	r.cuts = r.cuts>>3 | r.cuts<<61
	return n, nil
}

// repeated reads as s, over and over, for at least n bytes.
func repeated(s string, n int) io.Reader {
	return strings.NewReader(strings.Repeat(s, n/len(s)+1))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
