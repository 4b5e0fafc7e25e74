package server_test

import (
	"fmt"
	"strings"
	"testing"

	"tokenrelay/server"
	"tokenrelay/session"
)

// A provider's fields stand in every chunk only if they are small and few: what
// a page of chunks takes does not grow with what a provider once sent.
func TestChatSharedFieldsAreBounded(t *testing.T) {
	const chunks = 2000
	provider := func(fields string) session.Frame {
		return frame(session.KindProvider, `{"protocol":"chat","fields":{`+strings.TrimPrefix(fields, ",")+`}}`)
	}
	var large, small strings.Builder
	for n := range 8 {
		fmt.Fprintf(&large, `,"large%d":%q`, n, strings.Repeat("x", 50<<10))
	}
	for n := range 20 {
		fmt.Fprintf(&small, `,"small%02d":%q`, n, strings.Repeat("y", 256-len(`"small00":""`)))
	}
	frames := []session.Frame{
		frame(session.KindSession, `{"created":"2026-01-02T03:04:05Z"}`),
		provider(large.String()), provider(small.String()),
	}
	for range chunks {
		frames = append(frames, frame(session.KindText, `{"text":"a"}`))
	}
	frames = append(frames, provider(`,"small00":"`+strings.Repeat("z", 256)+`"`), frame(session.KindText, `{"text":"b"}`), frame(session.KindText, `{"text":"c"}`))
	page := server.RenderChat(session.Info{}, frames...)
	if got, want := len(page), 8*51<<10+chunks*(16*257+300); got > want {
		t.Errorf("a page has %d bytes, want at most %d", got, want)
	}
	for sent, want := range map[string]int{
		`"large0":"x`:  1,          // too large
		`"small15":"y`: chunks + 2, // the sixteenth, of just the size
		`"small16":"y`: 1,          // one too many
		`"small00":"y`: chunks,     // until it has another value
		`"small00":"z`: 1,          // which is too large
	} {
		if got := strings.Count(page, sent); got != want {
			t.Errorf("%s stands in %d chunks, want %d", sent, got, want)
		}
	}
	// What only one chunk is to show is shown before a failure too, and a
	// completion has it all.
	log := append(frames[:3:3], frame(session.Kind(session.Failed), `{"reason":"error","error":{"code":"c","message":"m"}}`))
	if got := strings.Count(server.RenderChat(session.Info{}, log...), `"large0":"x`); got != 1 {
		t.Errorf("before a failure it stands in %d chunks, want 1", got)
	}
	log[3] = frame(session.Kind(session.Done), `{"reason":"stop"}`)
	whole := server.RenderCompletion(session.Info{}, log...)
	for _, name := range []string{"large0", "large7", "small00", "small19"} {
		if !strings.Contains(whole, `"`+name+`":`) {
			t.Errorf("the completion has no %s", name)
		}
	}
}
