package sessiontest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tokenrelay/session"
)

const (
	// afterCancel is how much text may follow the end of the context, in
	// bytes: what the source has read already.
	afterCancel = 64 << 10

	// promptly is how long a source may take to end once its context has ended.
	promptly = 5 * time.Second

	// everyFrom is the longest text that is read from each of its bytes on.
	everyFrom = 512
)

// A SourceWant is what a source under test is to yield.
type SourceWant struct {
	Text string // the join of its text deltas
	// Breaks says that it breaks after Text instead of finishing.
	Breaks bool
	// FromStart says that it can only be read from its start.
	FromStart bool
}

// TestSource runs the conformance suite of session.Source. open returns a
// source of want, and is called once for each test.
func TestSource(t *testing.T, want SourceWant, open func(t *testing.T) session.Source) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, SourceWant, session.Source)
	}{
		{"whole", testWhole},
		{"again", testAgain},
		{"from every byte", testFrom},
		{"left at every delta", testLeft},
		{"context ends at every delta", testCancel},
		{"context has ended", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, want, open(t)) })
	}
}

func testWhole(t *testing.T, want SourceWant, s session.Source) {
	text, _, err := readSource(t, s.Deltas(t.Context(), session.Position{}), nil)
	checkSource(t, want, text, want.Text, err)
}

func testAgain(t *testing.T, want SourceWant, s session.Source) {
	deltas := s.Deltas(t.Context(), session.Position{})
	for range 2 {
		text, _, err := readSource(t, deltas, nil)
		checkSource(t, want, text, want.Text, err)
	}
	text, _, err := readSource(t, s.Deltas(t.Context(), session.Position{}), nil)
	checkSource(t, want, text, want.Text, err)
}

func testFrom(t *testing.T, want SourceWant, s session.Source) {
	size := len(want.Text)
	step := 1
	if want.FromStart {
		step = max(size/3, 1)
	} else if size > everyFrom {
		step = size/everyFrom | 1 // odd, so that it falls into characters
	}
	for from := 1; from < size+step; from += step {
		from := min(from, size)
		text, _, err := readSource(t, s.Deltas(t.Context(), session.Position{Bytes: int64(from)}), nil)
		if !want.FromStart {
			checkSource(t, want, text, want.Text[from:], err)
			continue
		}
		if !errors.Is(err, session.ErrNotContinuable) || text != "" {
			t.Fatalf("from %d: %q, then %v, want %v", from, text, err, session.ErrNotContinuable)
		}
	}
	// It is never done at a place that it does not have.
	text, _, err := readSource(t, s.Deltas(t.Context(), session.Position{Bytes: int64(size) + 1}), nil)
	if text != "" || err == nil {
		t.Errorf("from past the end: %q, then error %v, want an error only", text, err)
	}
}

func testLeft(t *testing.T, want SourceWant, s session.Source) {
	_, total, _ := readSource(t, s.Deltas(t.Context(), session.Position{}), nil)
	for _, n := range places(total) {
		// That nothing is yielded after the break is seen to by the language.
		seen := 0
		for range s.Deltas(t.Context(), session.Position{}) {
			if seen++; seen == n {
				break
			}
		}
		if seen != n {
			t.Fatalf("left at delta %d of %d: saw %d", n, total, seen)
		}
	}
	text, _, err := readSource(t, s.Deltas(t.Context(), session.Position{}), nil)
	checkSource(t, want, text, want.Text, err)
}

func testCancel(t *testing.T, want SourceWant, s session.Source) {
	_, total, _ := readSource(t, s.Deltas(t.Context(), session.Position{}), nil)
	for _, n := range places(total) {
		ctx, cancel := context.WithCancel(t.Context())
		var at, cancelled int // bytes so far
		var when time.Time
		seen := 0
		text, _, err := readSource(t, s.Deltas(ctx, session.Position{}), func(d session.Delta) {
			if d.Kind == session.DeltaText {
				at += len(d.Text)
			}
			if seen++; seen == n {
				cancelled, when = at, time.Now()
				cancel()
			}
		})
		cancel()
		if when.IsZero() {
			continue // it was the error at the end
		}
		if took := time.Since(when); took > promptly {
			t.Errorf("context ended at delta %d: the source went on for %v", n, took)
		}
		if after := len(text) - cancelled; after > afterCancel {
			t.Errorf("context ended at delta %d: %d bytes of text followed", n, after)
		}
		// A source that had come to its end may still say so.
		switch {
		case !strings.HasPrefix(want.Text, text):
			t.Errorf("context ended at delta %d: the text is not the beginning of what was wanted", n)
		case err == nil && text != want.Text:
			t.Errorf("context ended at delta %d: finished after %d of %d bytes", n, len(text), len(want.Text))
		}
	}
}

func testCancelled(t *testing.T, want SourceWant, s session.Source) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	text, _, err := readSource(t, s.Deltas(ctx, session.Position{}), nil)
	if want.Text != "" && (text != "" || err == nil) {
		t.Errorf("%d bytes of text, then error %v, want an error only", len(text), err)
	}
}

// readSource ranges over deltas and holds them to the order that every source
// keeps. It returns the text, how many pairs there were, and the error that
// stood for the finish, nil if that came.
func readSource(t *testing.T, deltas iter.Seq2[session.Delta, error], see func(session.Delta)) (string, int, error) {
	t.Helper()
	var text strings.Builder
	var broke error
	total, ended := 0, false
	for d, err := range deltas {
		total++
		if ended {
			t.Fatalf("delta %d, %+v with error %v, comes after the end", total, d, err)
		}
		if err != nil {
			broke, ended = err, true
			continue
		}
		switch d.Kind {
		case session.DeltaText:
			text.WriteString(d.Text)
		case session.DeltaReasoning, session.DeltaUsage, session.DeltaCursor, session.DeltaSeam:
		case session.DeltaToolCall:
			if d.Call == (session.ToolCall{Index: d.Call.Index}) {
				t.Errorf("delta %d: a tool call of nothing", total)
			}
		case session.DeltaProvider:
			if !strings.HasPrefix(d.Text, "{") || !utf8.ValidString(d.Text) || !json.Valid([]byte(d.Text)) {
				t.Errorf("delta %d: %q is no JSON object", total, d.Text)
			}
		case session.DeltaFinish:
			if ended = true; d.Reason == "" {
				t.Errorf("delta %d: finish without a reason", total)
			}
		default:
			t.Errorf("delta %d: unknown kind %d", total, d.Kind)
		}
		if see != nil {
			see(d)
		}
	}
	if !ended {
		t.Fatalf("%d deltas and no end: neither a finish nor an error", total)
	}
	return text.String(), total, broke
}

func checkSource(t *testing.T, want SourceWant, text, wantText string, err error) {
	t.Helper()
	if text != wantText {
		t.Fatalf("text is %d bytes, want %d:\n got %.200q\nwant %.200q", len(text), len(wantText), text, wantText)
	}
	if broke := err != nil; broke != want.Breaks {
		t.Fatalf("ended with error %v, want one: %v", err, want.Breaks)
	}
}

// places returns every number from 1 to n, or some of them if n is large.
func places(n int) []int {
	var all []int
	for at := 1; at <= n; at += 1 + at/16 {
		all = append(all, at)
	}
	return all
}
