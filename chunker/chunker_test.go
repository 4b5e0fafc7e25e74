package chunker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tokenrelay/chunker"
)

func newChunker(t testing.TB, unit chunker.Unit, encoding string) chunker.Chunker {
	t.Helper()
	c, err := chunker.New(unit, encoding)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// push returns the chunks of a text that comes in parts.
func push(c chunker.Chunker, parts ...string) []chunker.Chunk {
	var chunks []chunker.Chunk
	for _, p := range parts {
		chunks = c.Push(chunks, p)
	}
	return c.Flush(chunks)
}

func equal(a, b []chunker.Chunk) bool { return slices.Equal(a, b) }

func format(chunks []chunker.Chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		fmt.Fprintf(&b, "%q", c.Text)
		if c.Units > 1 {
			fmt.Fprintf(&b, "×%d", c.Units)
		}
		b.WriteByte(' ')
	}
	return b.String()
}

func join(chunks []chunker.Chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		b.WriteString(c.Text)
	}
	return b.String()
}

// accepted returns what a chunker should have taken after the pushes of text:
// valid but for an incomplete character at the end.
func accepted(text string) string {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		body, tail := text[:len(text)-n], text[len(text)-n:]
		if utf8.RuneStart(tail[0]) && !utf8.FullRuneInString(tail) {
			return string([]rune(body)) + tail
		}
	}
	return string([]rune(text))
}

// A variant is a unit with an encoding.
type variant struct {
	unit     chunker.Unit
	encoding string
	held     int // most bytes that may be held
	longest  int // longest chunk in bytes
}

var variants = []variant{
	{chunker.Rune, "", 3, 4},
	{chunker.Grapheme, "", 256 + 3, 256},
	{chunker.Token, "cl100k_base", 1024 + 3, 1024},
	{chunker.Token, "o200k_base", 1024 + 3, 1024},
	{chunker.Line, "", 4096 + 3, 4096},
	{chunker.Delta, "", 3, 8192},
}

func (v variant) String() string { return string(v.unit) + v.encoding }

// check pushes the parts, flushes, tests all that holds for every chunker after
// every step, and returns the chunks.
func (v variant) check(t testing.TB, parts []string) []chunker.Chunk {
	t.Helper()
	c := newChunker(t, v.unit, v.encoding)
	var chunks []chunker.Chunk
	var pushed, given string
	var last uint64
	verify := func(from int, text string) {
		for _, c := range chunks[from:] {
			last += uint64(c.Units)
			switch {
			case c.Text == "":
				t.Fatalf("%v: %q: empty chunk", v, parts)
			case !utf8.ValidString(c.Text):
				t.Fatalf("%v: %q: chunk %q is not valid UTF-8", v, parts, c.Text)
			case len(c.Text) > v.longest:
				t.Fatalf("%v: %q: chunk of %d bytes, want at most %d", v, parts, len(c.Text), v.longest)
			case c.Units < 1 || c.Units > 1 && v.unit != chunker.Token:
				t.Fatalf("%v: %q: chunk %q of %d units", v, parts, c.Text, c.Units)
			case c.Last != last:
				t.Fatalf("%v: %q: chunk %q ends with unit %d, want %d", v, parts, c.Text, c.Last, last)
			}
			given += c.Text
		}
		held := c.Held()
		if len(held) > v.held {
			t.Fatalf("%v: %q: %d bytes held, want at most %d", v, parts, len(held), v.held)
		}
		if got := given + held; got != text {
			t.Fatalf("%v: %q: chunks and held text are %q, want %q", v, parts, got, text)
		}
	}
	for _, p := range parts {
		n := len(chunks)
		chunks = c.Push(chunks, p)
		pushed += p
		verify(n, accepted(pushed))
	}
	n := len(chunks)
	chunks = c.Flush(chunks)
	verify(n, string([]rune(pushed)))
	if held := c.Held(); held != "" {
		t.Fatalf("%v: %q: %q held after Flush", v, parts, held)
	}
	return chunks
}

// TestChunker is what every unit must keep: whatever the text and however it is
// divided, the join of the chunks is the text, and the chunks are the same.
func TestChunker(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(3, 4))
			same := func(want []chunker.Chunk, parts []string) {
				if got := v.check(t, parts); v.unit != chunker.Delta && !equal(got, want) {
					t.Fatalf("chunks of %q:\n got %s\nwant %s", parts, format(got), format(want))
				}
			}
			texts := slices.Clone(awkward)
			for range 300 {
				texts = append(texts, generate(rng, 1+rng.IntN(60)))
			}
			for _, text := range texts {
				want := v.check(t, []string{text})
				same(want, split(rng, text, 1))
				same(want, split(rng, text, 7))
				for i := range text {
					same(want, []string{text[:i], "", text[i:]})
				}
			}
			for _, text := range long() {
				want := v.check(t, []string{text})
				for _, longest := range []int{3, 40, 5000} {
					same(want, split(rng, text, longest))
				}
			}
		})
	}
}
