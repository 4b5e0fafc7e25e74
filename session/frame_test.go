package session_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tokenrelay/session"
)

func TestFrameWire(t *testing.T) {
	for _, test := range []struct {
		frame session.Frame
		want  string
	}{
		{session.Frame{ID: 2, Data: []byte(`{"text":"Hel"}`)}, "id: 2\ndata: {\"text\":\"Hel\"}\n\n"},
		{session.Frame{ID: 41, Kind: session.KindDone, Data: []byte(`{}`)}, "id: 41\nevent: done\ndata: {}\n\n"},
		{session.Frame{ID: session.MaxFrameID, Kind: "data: x", Data: []byte(`"event: y"`)}, "id: 9007199254740991\nevent: data: x\ndata: \"event: y\"\n\n"},
	} {
		got := session.Wire(test.frame.AppendWire(nil))
		if string(got) != test.want {
			t.Errorf("wire of %v = %q, want %q", test.frame, got, test.want)
		}
		frames := slices.Collect(got.Frames())
		if len(frames) != 1 || frames[0].ID != test.frame.ID || frames[0].Kind != test.frame.Kind || !bytes.Equal(frames[0].Data, test.frame.Data) {
			t.Errorf("frames of %q = %v, want %v", got, frames, test.frame)
		}
	}
}

func TestWireCheck(t *testing.T) {
	var w session.Wire
	for id := session.FrameID(4); id <= 9; id++ {
		w = session.Frame{ID: id, Data: []byte("{}")}.AppendWire(w)
	}
	last, ends, err := w.Check(3)
	if last != 9 || len(ends) != 6 || int(ends[5]) != len(w) || err != nil {
		t.Errorf("Check = %d, %v, %v", last, ends, err)
	}
	for cut := range w {
		// A torn tail is found wherever it is torn, but between two frames.
		_, ends, err := w[:cut].Check(3)
		whole := len(ends) > 0 && int(ends[len(ends)-1]) == cut || cut == 0
		if (err == nil) != whole {
			t.Errorf("Check of the first %d bytes = %v, want an error: %t", cut, err, !whole)
		}
	}
	if _, _, err := w.Check(4); err == nil {
		t.Error("Check after a wrong id gave no error")
	}
}

// What the frame says, encoding/json must read as the same string, on a line
// that no client can split.
func FuzzFrameText(f *testing.F) {
	for _, s := range []string{"", "Hel", " world", "a\"b\\c", "\r\n\t\x00\x7f", "\u0085\u2028\u2029", "👩‍👩‍👧", "<b>&", "\ufeff\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\ufffd")
		w := session.AppendText(nil, 7, session.KindReasoning, s)
		frames := slices.Collect(w.Frames())
		if len(frames) != 1 || frames[0].Text() != s {
			t.Fatalf("frames of %q = %v", w, frames)
		}
		if !json.Valid(frames[0].Data) || !utf8.Valid(frames[0].Data) {
			t.Errorf("payload %q is not JSON", frames[0].Data)
		}
		if bytes.ContainsAny(frames[0].Data, "\r\n\x00\u0085\u2028\u2029") {
			t.Errorf("payload %q has a line separator", frames[0].Data)
		}
		if last, _, err := w.Check(6); last != 7 || err != nil {
			t.Errorf("Check = %d, %v", last, err)
		}
	})
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("id: 1\ndata: {}\n\nid: 2\nevent: done\ndata: {}\n\n"))
	f.Add([]byte("id: 1\nevent: data: \ndata: \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again session.Wire
		for frame := range session.Wire(b).Frames() {
			again = frame.AppendWire(again)
		}
		last, ends, err := session.Wire(b).Check(0)
		if err == nil && (!bytes.Equal(again, b) || len(ends) != int(last)) {
			t.Errorf("%q is good, but its frames are %q", b, again)
		}
	})
}

func TestAppendTextDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1<<10)
	n := testing.AllocsPerRun(100, func() {
		buf = session.AppendText(buf[:0], 123456, session.KindText, "a \"quoted\" word\n and 👍🏽")
	})
	if n != 0 {
		t.Errorf("allocations of a text frame = %v, want 0", n)
	}
}

func BenchmarkAppendText(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 1<<10)
	for b.Loop() {
		buf = session.AppendText(buf[:0], 123456, session.KindText, " streaming")
	}
}

func TestCustom(t *testing.T) {
	for kind, want := range map[session.Kind]bool{
		session.KindText: false, session.KindSession: false, session.KindSeam: false, session.KindProvider: false,
		session.KindDone: false, "ping": false, "error": false, "progress": true, "Done": true,
	} {
		if got := kind.Custom(); got != want {
			t.Errorf("%q.Custom() = %t, want %t", kind, got, want)
		}
	}
}
