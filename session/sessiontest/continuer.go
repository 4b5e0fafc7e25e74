package sessiontest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"tokenrelay/session"
)

// A ContinuerWant is what a continuer under test is to yield.
type ContinuerWant struct {
	// Text is the whole of its answer: what follows a beginning of it is the
	// rest. It begins with no blank.
	Text string
	// By is how the rest of a text is asked for.
	By session.Continuation
}

// TestContinuer runs the conformance suite of session.Continuer. open returns a
// continuer of want, and is called once for each test.
func TestContinuer(t *testing.T, want ContinuerWant, open func(t *testing.T) session.Continuer) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, ContinuerWant, session.Continuer)
	}{
		{"anew", testAnew},
		{"from some of the text", testContinue},
		{"again and again", testContinueAgain},
		{"context ends at every delta", testContinueCancel},
		{"context has ended", testContinueCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, want, open(t)) })
	}
}

func testAnew(t *testing.T, want ContinuerWant, c session.Continuer) {
	want.continued(t, c.Continue(t.Context(), ""), 0)
}

func testContinue(t *testing.T, want ContinuerWant, c session.Continuer) {
	for _, at := range want.places() {
		want.continued(t, c.Continue(t.Context(), want.Text[:at]), at)
	}
}

// testContinueAgain goes on from what the one before was left at.
func testContinueAgain(t *testing.T, want ContinuerWant, c session.Continuer) {
	at := 0
	for at < len(want.Text) {
		before := at
		deltas := c.Continue(t.Context(), want.Text[:at])
		for d, err := range deltas {
			if err != nil {
				t.Fatalf("from %d: %v", at, err)
			}
			if d.Kind == session.DeltaText {
				at += len(d.Text)
				break
			}
		}
		if at == before {
			t.Fatalf("from %d: no text", at)
		}
		want.continued(t, deltas, before)
	}
}

func testContinueCancel(t *testing.T, want ContinuerWant, c session.Continuer) {
	all := want.places()
	from := all[len(all)/4]
	_, total, _ := readSource(t, c.Continue(t.Context(), want.Text[:from]), nil)
	cause := errors.New("a cause")
	for _, n := range places(total) {
		ctx, end := context.WithCancelCause(t.Context())
		seen := 0
		text, _, err := readSource(t, c.Continue(ctx, want.Text[:from]), func(session.Delta) {
			if seen++; seen == n {
				end(cause)
			}
		})
		end(nil)
		// A source that had come to its end may still say so.
		switch rest := want.Text[from:]; {
		case err != nil && !errors.Is(err, cause):
			t.Errorf("context ended at delta %d: %v, want its cause", n, err)
		case err == nil && text != rest || !strings.HasPrefix(rest, text):
			t.Errorf("context ended at delta %d: %d of %d bytes, then error %v", n, len(text), len(rest), err)
		}
	}
}

func testContinueCancelled(t *testing.T, want ContinuerWant, c session.Continuer) {
	cause := errors.New("a cause")
	ctx, end := context.WithCancelCause(t.Context())
	end(cause)
	for _, given := range []string{"", want.Text[:want.places()[0]]} {
		if text, _, err := readSource(t, c.Continue(ctx, given), nil); text != "" || !errors.Is(err, cause) {
			t.Errorf("behind %d bytes: %d bytes of text, then error %v, want the context's cause only", len(given), len(text), err)
		}
	}
}

// continued holds deltas to what follows the first bytes of the text.
func (want ContinuerWant) continued(t *testing.T, deltas iter.Seq2[session.Delta, error], from int) {
	t.Helper()
	by := want.By
	if from == 0 {
		by = session.ByAnew
	}
	seen, seams := 0, 0
	text, _, err := readSource(t, deltas, func(d session.Delta) {
		if d.Kind == session.DeltaSeam {
			if seams++; seen > 0 || d.By != by {
				t.Errorf("from %d: seam by %q behind %d deltas, want one by %q before all", from, d.By, seen, by)
			}
		}
		seen++
	})
	if err != nil || seams != 1 {
		t.Fatalf("from %d: %d seams, then error %v, want one and a finish", from, seams, err)
	}
	if text != want.Text[from:] {
		t.Fatalf("from %d: text is %d bytes, want %d:\n got %.200q\nwant %.200q", from, len(text), len(want.Text)-from, text, want.Text[from:])
	}
}

// places returns some ends of characters within the text.
func (want ContinuerWant) places() (all []int) {
	step := len(want.Text)/24 | 1
	for at := range want.Text {
		if at > 0 && (len(all) == 0 || at >= all[len(all)-1]+step) {
			all = append(all, at)
		}
	}
	return all
}

// TestCursors holds a source that gives cursors to their law: what is behind a
// cursor is what was behind it. It runs no subtests.
func TestCursors(t *testing.T, s session.Source) {
	t.Helper()
	all := collect(t, s.Deltas(t.Context(), session.Position{}))
	var at session.Position
	given := 0
	for i, d := range all {
		if d.Kind == session.DeltaText {
			at.Bytes += int64(len(d.Text))
		}
		if d.Cursor == "" {
			continue
		}
		given++
		at.Cursor = d.Cursor
		got, want := digest(t, collect(t, s.Deltas(t.Context(), at))), digest(t, all[i+1:])
		if !slices.Equal(got, want) {
			t.Fatalf("behind %q, of delta %d of %d:\n got %q\nwant %q", d.Cursor, i+1, len(all), got, want)
		}
	}
	if given == 0 {
		t.Error("no cursor was given")
	}
}

func collect(t *testing.T, deltas iter.Seq2[session.Delta, error]) (all []session.Delta) {
	t.Helper()
	_, _, err := readSource(t, deltas, func(d session.Delta) { all = append(all, d) })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// digest is what deltas say, however they are cut: the same for two that only
// differ in that.
func digest(t *testing.T, deltas []session.Delta) (lines []string) {
	t.Helper()
	var joined []session.Delta
	for _, d := range deltas {
		if d.Cursor = ""; d.Kind == session.DeltaCursor {
			continue
		}
		if n := len(joined); n == 0 || !join(&joined[n-1], d) {
			joined = append(joined, d)
		}
	}
	for _, d := range joined {
		line, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}

// join adds next to d, and reports whether it is a part of the same.
func join(d *session.Delta, next session.Delta) bool {
	if d.Kind != next.Kind {
		return false
	}
	switch d.Kind {
	case session.DeltaText, session.DeltaReasoning:
		d.Text += next.Text
	case session.DeltaToolCall:
		if d.Call.Index != next.Call.Index || next.Call.ID != "" || next.Call.Name != "" {
			return false
		}
		d.Call.Arguments += next.Call.Arguments
	case session.DeltaUsage:
		d.Usage = next.Usage
	default:
		return false
	}
	return true
}
