package upstream

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"tokenrelay/session"
)

func TestHalves(t *testing.T) {
	for _, test := range []struct {
		name   string
		pieces []string
		want   []string // of each piece, then of the end
	}{
		{"nothing", nil, []string{""}},
		{"missing and null", []string{"", "null"}, []string{"", "", ""}},
		{"plain", []string{`"a"`, `""`, `"€"`}, []string{"a", "", "€", ""}},
		{"whole character", []string{`"\ud83d\ude00"`}, []string{"😀", ""}},
		{"two halves", []string{`"\ud83d"`, `"\ude00"`}, []string{"", "😀", ""}},
		{"two halves in text", []string{`"a\ud83d"`, `"\ude00b"`}, []string{"a", "😀b", ""}},
		{"capitals", []string{`"\uD83D"`, `"\uDE00"`}, []string{"", "😀", ""}},
		{"every first half there is", []string{`"\ud800"`, `"\udc00\udbff"`, `"\udfff"`}, []string{"", "\U00010000", "\U0010ffff", ""}},
		{"empty between", []string{`"\ud83d"`, `""`, `null`, ``, `"\ude00"`}, []string{"", "", "", "", "😀", ""}},
		{"first half alone", []string{`"\ud83d"`, `"x"`}, []string{"", "\ufffdx", ""}},
		{"first half at the end", []string{`"x\ud83d"`}, []string{"x", "\ufffd"}},
		{"first half twice", []string{`"\ud83d"`, `"\ud83d"`, `"\ude00"`}, []string{"", "\ufffd", "😀", ""}},
		{"second half alone", []string{`"\ude00"`, `"x"`}, []string{"\ufffd", "x", ""}},
		{"no half at all", []string{`"\ud7ff"`, `"\ue000"`}, []string{"\ud7ff", "\ue000", ""}},
		{"escaped backslash", []string{`"\\ud83d"`, `"\ude00"`}, []string{`\ud83d`, "\ufffd", ""}},
		{"escaped backslash before a half", []string{`"\\\ud83d"`, `"\ude00"`}, []string{`\`, "😀", ""}},
		{"two escaped backslashes", []string{`"\\\\ud83d"`, `"x"`}, []string{`\\ud83d`, "x", ""}},
		{"text that looks like a half", []string{`"ud83d"`, `"\ude00"`}, []string{"ud83d", "\ufffd", ""}},
		{"second half escaped away", []string{`"\ud83d"`, `"\\ude00"`}, []string{"", `` + "\ufffd" + `\ude00`, ""}},
		{"invalid bytes", []string{"\"\xff\""}, []string{"\ufffd", ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h halves
			var got []string
			for _, piece := range test.pieces {
				text, err := h.decode(json.RawMessage(piece))
				if err != nil {
					t.Fatalf("piece %s: %v", piece, err)
				}
				got = append(got, text)
			}
			got = append(got, h.end())
			if got, want := fmt.Sprintf("%q", got), fmt.Sprintf("%q", test.want); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if rest := h.end(); rest != "" {
				t.Errorf("a second end gave %q", rest)
			}
		})
	}
	for _, piece := range []string{`1`, `{}`, `["a"]`, `true`} {
		if text, err := new(halves).decode(json.RawMessage(piece)); err == nil {
			t.Errorf("%s gave %q, want an error", piece, text)
		}
	}
}

// FuzzHalves decodes a string of UTF-16 units whole and in pieces. Three bytes
// of the input are one unit: the unit itself, and how it is written.
func FuzzHalves(f *testing.F) {
	const (
		cut     = 1 << iota // a piece ends after it
		capital             // as \uD83D
		plain               // not escaped where that can be
		near                // made a half of a character
	)
	f.Add([]byte{0xd8, 0x3d, cut, 0xde, 0x00, capital})
	f.Add([]byte{0, '\\', plain | cut, 'u', 'd', near, 0, '8', plain})
	f.Add([]byte{0xd8, 0x3d, cut | capital, 0xd8, 0x3d, cut, 0xde, 0, cut, 0, 'x', plain})
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, piece strings.Builder
		var pieces []string
		for ; len(in) >= 3; in = in[3:] {
			unit, how := rune(in[0])<<8|rune(in[1]), in[2]
			if how&near != 0 {
				unit = 0xd800 | unit&0x7ff
			}
			form := fmt.Sprintf(`\u%04x`, unit)
			if how&capital != 0 {
				form = fmt.Sprintf(`\u%04X`, unit)
			}
			if how&plain != 0 {
				switch {
				case unit == '\\' || unit == '"':
					form = `\` + string(unit)
				case unit >= 0x20 && (unit < 0xd800 || unit > 0xdfff):
					form = string(unit)
				}
			}
			whole.WriteString(form)
			piece.WriteString(form)
			if how&cut != 0 {
				pieces = append(pieces, piece.String())
				piece.Reset()
			}
		}
		pieces = append(pieces, piece.String())
		var want string
		if err := json.Unmarshal([]byte(`"`+whole.String()+`"`), &want); err != nil {
			t.Fatalf("the test made %q: %v", whole.String(), err)
		}
		var h halves
		var got strings.Builder
		for _, p := range pieces {
			text, err := h.decode(json.RawMessage(`"` + p + `"`))
			if err != nil {
				t.Fatalf("piece %q of %q: %v", p, pieces, err)
			}
			got.WriteString(text)
		}
		got.WriteString(h.end())
		if got.String() != want {
			t.Errorf("pieces %q\n got %q\nwant %q", pieces, got.String(), want)
		}
	})
}

// A half that waits keeps nothing of what came before it.
func TestHalfIsSmall(t *testing.T) {
	piece := json.RawMessage(`"` + strings.Repeat("x", 100<<10) + `\ud83d"`)
	all := make([]halves, 100)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range all {
		if _, err := all[i].decode(piece); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 1<<20 {
		t.Errorf("%d halves keep %d KiB", len(all), kept>>10)
	}
	runtime.KeepAlive(all)
}

// Halves of many calls are counted, whatever comes between them.
func TestHeld(t *testing.T) {
	w := newWatch(Limits{}.withDefaults(), func(error) {}, true)
	defer w.close()
	for _, hold := range []bool{false, true} {
		d := &decoder{watch: w, holdHalves: hold, yield: func(session.Delta, error) bool { return true }}
		half, rest := json.RawMessage(`"a\ud83d"`), json.RawMessage(`"\ude00"`)
		for i, step := range []func() error{
			func() error { return d.call(0, "x", "f", half) },
			func() error { return d.call(1, "", "", half) },
			func() error { return d.text(half) },
			func() error { return d.think(half) },
			func() error { return d.call(1, "y", "", nil) },
			func() error { return d.call(0, "", "", rest) },
			func() error { return d.call(0, "", "", half) },
			func() error { return d.text(json.RawMessage(`7`)) },
			func() error { return d.text(rest) },
			func() error { d.finish(); return nil },
		} {
			step() // what is no string is refused
			if waiting := d.waiting(); d.held != waiting {
				t.Errorf("hold %v, step %d: %d are counted, %d are held", hold, i, d.held, waiting)
			}
		}
		if d.held != 0 {
			t.Errorf("hold %v: %d are held at the end", hold, d.held)
		}
	}
}
