package session_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
)

func TestTextSource(t *testing.T) {
	for _, test := range []struct{ name, text string }{
		{"empty", ""},
		{"one byte", "x"},
		{"characters of every size", "aé€😀 family 👩‍👩‍👧\r\n\x00"},
		{"one piece", strings.Repeat("x", 4<<10)},
		{"one piece and a byte", strings.Repeat("x", 4<<10+1)},
		{"pieces that end in a character", strings.Repeat("€", 10_000)},
		{"many pieces", strings.Repeat("Ebb and flood. ", 20_000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			sessiontest.TestSource(t, sessiontest.SourceWant{Text: test.text}, func(*testing.T) session.Source {
				return session.TextSource(test.text)
			})
		})
	}
}

// Whoever stops between two pieces of a given text has whole characters.
func TestTextSourceKeepsCharacters(t *testing.T) {
	for d, err := range session.TextSource(strings.Repeat("€", 10_000)).Deltas(t.Context(), session.Position{}) {
		if err != nil || !utf8.ValidString(d.Text) {
			t.Errorf("a piece of %d bytes, %v, is no text", len(d.Text), err)
		}
	}
}

func TestGenerateSource(t *testing.T) {
	for _, test := range []struct {
		name   string
		prompt string
		seed   uint64
		length int
	}{
		{"short", "How do the tides work?", 1, 1},
		{"default length", "Wie entsteht Ebbe? 👩‍👩‍👧", 2, 0},
		{"long", "", 3, 5000},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := sessiontest.SourceWant{Text: generate(test.prompt, test.seed, test.length)}
			sessiontest.TestSource(t, want, func(*testing.T) session.Source {
				return session.GenerateSource(test.prompt, test.seed, test.length)
			})
		})
	}
}
