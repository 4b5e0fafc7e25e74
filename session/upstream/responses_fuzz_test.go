package upstream

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"tokenrelay/session"
)

// readResponses decodes what follows a cursor, as one connection brings it.
func readResponses(body, cursor string) ([]session.Delta, error) {
	var deltas []session.Delta
	w := newWatch(Limits{}.withDefaults(), func(error) {}, true)
	defer w.close()
	d := &decoder{
		watch: w, cursor: cursor, holdHalves: true, end: func() {}, failure: new(provider).reported,
		yield: func(d session.Delta, err error) bool {
			if err == nil {
				deltas = append(deltas, d)
			}
			return true
		},
	}
	err := responses{background: true}.read(strings.NewReader(body), d)
	if waiting := d.waiting(); d.held != waiting {
		panic(fmt.Sprintf("%d halves are counted, %d are held", d.held, waiting))
	}
	return deltas, err
}

// waiting counts what d.held counts.
func (d *decoder) waiting() (n int) {
	all := []halves{d.texts, d.reasoning}
	for _, c := range d.calls {
		all = append(all, c.arguments)
	}
	for _, h := range all {
		if h.high != "" {
			n++
		}
	}
	return n
}

// FuzzResponses reads any stream, and then what follows each cursor that it
// gave.
func FuzzResponses(f *testing.F) {
	add := func(events ...string) {
		var body strings.Builder
		for i, e := range events {
			fmt.Fprintf(&body, "data: {\"sequence_number\":%d,\"type\":\"response.%s}\n\n", i, e)
		}
		f.Add(body.String())
	}
	const created = `created","response":{"id":"r"}`
	add(created, `output_text.delta","delta":"a\ud83d"`, `output_text.delta","delta":"\ude00"`, `completed","response":{"usage":{"input_tokens":0}}`)
	add(created, `output_text.delta","delta":"a\ud83d"`, `reasoning_text.delta","delta":"\ude00\ud83d"`, `refusal.delta","delta":"b"`, `incomplete","response":{"status":"cancelled"}`)
	add(created, `reasoning_summary_part.added","summary_index":1`, `output_item.added","item":{"type":"function_call","id":"f"}`, `function_call_arguments.delta","delta":"\ud83d"`, `failed","response":{"error":{"message":"m"}}`)
	add(created, `output_item.added","output_index":1`, `output_text.done","output_index":1,"text":"x"`, `completed","response":{"output":[{"type":"message","content":[{"text":"a"}]},{"type":"function_call","arguments":"{}"}]}`)
	f.Add("event: error\ndata: x\n\ndata: [DONE]\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		deltas, err := readResponses(body, "")
		finished, last := false, int64(-1)
		for i, d := range deltas {
			switch {
			case finished:
				t.Fatalf("%+v comes after the end", d)
			case !utf8.ValidString(d.Text) || !utf8.ValidString(d.Call.Arguments):
				t.Fatalf("%+v is not UTF-8", d)
			case d.Text == "" && (d.Kind == session.DeltaText || d.Kind == session.DeltaReasoning):
				t.Fatalf("%+v has no text", d)
			}
			finished = d.Kind == session.DeltaFinish
			if d.Cursor == "" {
				continue
			}
			_, number, err := parseResponsesCursor(d.Cursor)
			if err != nil {
				t.Fatalf("cursor %q: %v", d.Cursor, err)
			}
			if number < last {
				return // what is not in order cannot be cut
			}
			if number == last && i > 0 {
				return // nor what has numbers twice, or all at the end
			}
			last = number
		}
		if finished != (err == nil) {
			t.Fatalf("finished %v with error %v", finished, err)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			if _, told := errors.AsType[*session.Failure](err); !told && !strings.Contains(err.Error(), "too long") {
				t.Fatalf("error %v has no code", err)
			}
		}
	})
}

// FuzzResponsesCut makes a stream of events by the bytes of a plan, and reads
// on behind each of its cursors.
func FuzzResponsesCut(f *testing.F) {
	kinds := []string{
		`keepalive"`,
		`response.output_text.delta","delta":"a"`,
		`response.output_text.delta","delta":"b\ud83d"`,
		`response.output_text.delta","delta":"\ude00"`,
		`response.output_text.delta","delta":"\ude00\ud83d"`,
		`response.output_text.delta","delta":""`,
		`response.refusal.delta","output_index":1,"delta":"c\ud83d"`,
		`response.reasoning_text.delta","delta":"d"`,
		`response.reasoning_summary_text.delta","delta":"\ud83d"`,
		`response.reasoning_summary_part.added","summary_index":1`,
		`response.reasoning_summary_text.delta","delta":"\ude00e"`,
		`response.output_item.added","output_index":#,"item":{"type":"function_call","call_id":"x","name":"f"}`,
		`response.function_call_arguments.delta","output_index":2,"delta":"{\ud83d"`,
		`response.function_call_arguments.delta","output_index":2,"delta":"\ude00}"`,
		`response.in_progress","response":{"id":"r"}`,
		`response.new","delta":{}`,
	}
	f.Add([]byte{1, 2, 3, 8, 10, 9, 7, 11, 12, 13})
	f.Add([]byte{2, 0, 4, 15, 3, 2, 8, 6, 12, 5, 14})
	f.Fuzz(func(t *testing.T, plan []byte) {
		events := []string{`data: {"sequence_number":0,"type":"response.created","response":{"id":"r"}}` + "\n\n"}
		for _, b := range plan[:min(len(plan), 64)] {
			number := strconv.Itoa(len(events))
			kind := strings.ReplaceAll(kinds[int(b)%len(kinds)], "#", number) // an item begins once
			events = append(events, `data: {"sequence_number":`+number+`,"type":"`+kind+"}\n\n")
		}
		events = append(events, fmt.Sprintf("data: {\"sequence_number\":%d,\"type\":\"response.completed\",\"response\":{\"usage\":{\"output_tokens\":1},\"output\":[{\"type\":\"function_call\"}]}}\n\n", len(events)))
		uncut, err := readResponses(strings.Join(events, ""), "")
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range uncut {
			if d.Cursor == "" {
				continue
			}
			_, number, err := parseResponsesCursor(d.Cursor)
			if err != nil {
				t.Fatalf("cursor %q: %v", d.Cursor, err)
			}
			rest, err := readResponses(strings.Join(events[number+1:], ""), d.Cursor)
			if err != nil || len(rest) != len(uncut)-i-1 || len(rest) > 0 && !reflect.DeepEqual(rest, uncut[i+1:]) {
				t.Fatalf("behind %+v, error %v\ngot  %+v\nwant %+v\nof %s", d, err, rest, uncut[i+1:], strings.Join(events, ""))
			}
		}
	})
}

func FuzzResponsesCursor(f *testing.F) {
	for _, cursor := range []string{"", "r 1", "resp_1 0", "a/../b?c#d%2F 7", ".. 1", "r 01", "r -1", "r 9223372036854775808", "é 1"} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		attach, err := responses{}.attach(cursor)
		cancel, cancelErr := responses{}.cancel(cursor)
		if (err != nil) != (cancelErr != nil) {
			t.Fatalf("attach says %v, cancel %v", err, cancelErr)
		}
		if err != nil {
			if !errors.Is(err, session.ErrNotContinuable) {
				t.Fatalf("error %v", err)
			}
			return
		}
		id, number, err := parseResponsesCursor(cursor)
		if err != nil || responsesCursor(id, number) != cursor {
			t.Fatalf("parsed as %q, %d, %v", id, number, err)
		}
		p := provider{Config: Config{BaseURL: "http://provider.test/v1"}, protocol: responses{}}
		for path, want := range map[string]string{attach: "/v1/responses/" + id, cancel: "/v1/responses/" + id + "/cancel"} {
			request, err := p.newRequest(t.Context(), "GET", path, nil)
			if err != nil {
				t.Fatalf("path %q: %v", path, err)
			}
			if request.URL.Host != "provider.test" || request.URL.Path != want || strings.Count(request.URL.EscapedPath(), "/") != strings.Count(path, "/")+1 {
				t.Fatalf("path %q asks %s", path, request.URL)
			}
		}
	})
}
