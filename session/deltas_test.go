package session_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

func TestKindsOfDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec, Unit: chunker.Line})
		up.deltas <- session.Delta{Kind: session.DeltaReasoning, Text: "Let me see"}
		up.text("It")
		up.text(" is")
		up.deltas <- session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: 1, Name: "f\u2028"}}
		up.text(" so")
		zero, five := int64(0), int64(5)
		up.deltas <- session.Delta{Kind: session.DeltaUsage, Usage: session.Usage{Input: &zero, Output: &five, Source: session.UsageReported}}
		up.finish()
		frames := readAll(t, s, 0)
		if got, want := kinds(frames), "session|reasoning|It is|tool_call| so|done"; got != want {
			t.Errorf("frames = %s, want %s", got, want)
		}
		if got, want := string(frames[3].Data), `{"index":1,"name":"f\u2028","arguments":""}`; got != want {
			t.Errorf("tool call = %s, want %s", got, want)
		}
		if got, want := string(frames[5].Data), `{"reason":"length","usage":{"input_tokens":0,"output_tokens":5,"source":"reported"},"timings":{"first_token_ms":0}}`; got != want {
			t.Errorf("done = %s, want %s", got, want)
		}
		if got := join(frames); got != "It is so" {
			t.Errorf("text = %q, want only the text", got)
		}
	})
}

// Arguments that no frame can carry come in several.
func TestLargeToolCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec})
		arguments := strings.Repeat("€\u2028\x01", session.MaxFrame/4)
		up.deltas <- session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: 2, ID: "c", Name: "f", Arguments: arguments}}
		up.finish()
		var got strings.Builder
		for i, f := range readAll(t, s, 0) {
			if f.Kind != session.KindToolCall {
				continue
			}
			part := payload[session.ToolCall](t, f)
			if got.WriteString(part.Arguments); part.Index != 2 || (part.ID == "c") != (i == 1) || (part.Name == "f") != (i == 1) {
				t.Errorf("frame %d = %.100s", f.ID, f.Data)
			}
			if n := len(f.AppendWire(nil)); n > session.MaxFrame {
				t.Errorf("frame %d has %d bytes", f.ID, n)
			}
		}
		if got.String() != arguments {
			t.Errorf("the arguments have %d bytes, want %d", got.Len(), len(arguments))
		}
	})
}

func TestHugeToolCallFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newScript()
		m := start(t, session.Options{Upstreams: up})
		s := create(t, m, session.Spec{Source: upstreamSpec})
		up.text("kept")
		up.deltas <- session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Name: strings.Repeat("x", session.MaxFrame)}}
		frames := readAll(t, s, 0)
		if kind, end := endOf(t, frames); join(frames) != "kept" || kind != session.KindFailed || end.Error.Code != session.CodeSourceFailed {
			t.Errorf("frames = %s %+v, want what came before, and failed", kinds(frames), end)
		}
	})
}
