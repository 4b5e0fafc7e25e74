package server_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"tokenrelay/server"
	"tokenrelay/session"
)

// frame is one of a log, without its number.
func frame(kind session.Kind, data string) session.Frame {
	return session.Frame{Kind: kind, Data: []byte(data)}
}

// What an answer costs grows with its length, and not faster: neither with its
// parts nor with its calls.
func TestManyParts(t *testing.T) {
	// About a second's work. If each part took as long as there are others, it
	// would not be done within the time that tests have.
	parts, calls := 200_000, 100_000
	if testing.Short() {
		parts, calls = parts/10, calls/10
	}
	frames := []session.Frame{frame(session.KindSession, `{"created":"2026-01-02T03:04:05Z"}`)}
	for range parts / 2 {
		frames = append(frames, frame(session.KindReasoning, `{"text":"a"}`), frame(session.KindText, `{"text":"b"}`))
	}
	for n := range calls {
		frames = append(frames, frame(session.KindToolCall, fmt.Sprintf(`{"index":%d,"id":"c%d","name":"f","arguments":"{}"}`, n, n)))
	}
	frames = append(frames, frame(session.Kind(session.Stopped), `{"reason":"stopped"}`))
	shown := server.Project(session.Info{ID: session.NewID()}, math.MaxInt64, frames...)
	object := string(shown["responses"].Object)
	if got := strings.Count(object, `"status":"incomplete"`); got != calls {
		t.Errorf("%d items are incomplete, want the %d calls", got, calls)
	}
	if got := strings.Count(object, `"status":"completed"`); got != parts {
		t.Errorf("%d items are completed, want the %d parts", got, parts)
	}
}

// What a call is named by is settled where it is first shown, in all protocols
// alike: a client answers it by that name.
func TestCallsAreNamedOnce(t *testing.T) {
	id := session.NewID()
	fragment := func(index int, id, name, arguments string) session.Frame {
		return frame(session.KindToolCall, fmt.Sprintf(`{"index":%d,"id":%q,"name":%q,"arguments":%q}`, index, id, name, arguments))
	}
	shown := server.Project(session.Info{ID: id}, 0,
		frame(session.KindSession, `{"created":"2026-01-02T03:04:05Z"}`), frame(session.KindText, `{"text":"a"}`),
		fragment(3, "", "f", "{"), fragment(7, "c", "g", "{"), fragment(8, "c", "h", "{}"),
		fragment(3, "late", "later", "}"), fragment(7, "late", "later", "}"),
		frame(session.Kind(session.Done), `{"reason":"tool_calls"}`),
	)
	for name, made := range shown {
		wire := string(made.Wire) + string(made.Object)
		if strings.Contains(wire, "late") {
			t.Errorf("%s has names that came late: %s", name, wire)
		}
		for _, want := range []string{"call_" + id.String() + "_0", "c", "call_" + id.String() + "_2"} {
			if !strings.Contains(wire, `"`+want+`"`) {
				t.Errorf("%s has no call %q: %s", name, want, wire)
			}
		}
	}
}
