package chunker_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
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
	{chunker.Word, "", 512 + 3, 512},
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
	var pushed string
	var given []byte
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
			given = append(given, c.Text...)
		}
		held := c.Held()
		if len(held) > v.held {
			t.Fatalf("%v: %q: %d bytes held, want at most %d", v, parts, len(held), v.held)
		}
		if got := string(given) + held; got != text {
			t.Fatalf("%v: %q: chunks and held text are %q, want %q", v, parts, got, text)
		}
	}
	verified := 0
	for i, p := range parts {
		chunks = c.Push(chunks, p)
		pushed += p
		if i%(1+len(parts)/200) == 0 { // all of a short text
			verify(verified, accepted(pushed))
			verified = len(chunks)
		}
	}
	chunks = c.Flush(chunks)
	verify(verified, string([]rune(pushed)))
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
				for i := range len(text) {
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

// TestRebuild checks that a chunker which is given a text again, whatever its
// parts were, has come as far: it gives the same chunks and holds the same.
func TestRebuild(t *testing.T) {
	for _, v := range variants {
		if v.unit == chunker.Delta {
			continue
		}
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(11, 12))
			texts := slices.Clone(awkward)
			for range 300 {
				texts = append(texts, generate(rng, 1+rng.IntN(60)))
			}
			for _, text := range texts {
				c := newChunker(t, v.unit, v.encoding)
				var chunks []chunker.Chunk
				for i := range len(text) {
					chunks = c.Push(chunks, text[i:i+1])
					again := newChunker(t, v.unit, v.encoding)
					if got := again.Push(nil, text[:i+1]); !equal(got, chunks) || again.Held() != c.Held() {
						t.Fatalf("%q at once: chunks %s and %q held, byte by byte %s and %q", text[:i+1], format(got), again.Held(), format(chunks), c.Held())
					}
				}
			}
			for name, text := range long() {
				c := newChunker(t, v.unit, v.encoding)
				var chunks []chunker.Chunk
				at := 0
				for _, part := range split(rng, text, 400) {
					chunks = c.Push(chunks, part)
					at += len(part)
					again := newChunker(t, v.unit, v.encoding)
					if got := again.Push(nil, text[:at]); !equal(got, chunks) || again.Held() != c.Held() {
						t.Fatalf("%s: %d bytes at once give %d chunks and hold %d bytes, in parts %d and %d", name, at, len(got), len(again.Held()), len(chunks), len(c.Held()))
					}
				}
			}
		})
	}
}

// TestAtOnce is what must not wait, and what must: the chunks after each push.
func TestAtOnce(t *testing.T) {
	tests := []struct {
		unit   chunker.Unit
		deltas []string
		want   []string // chunks by each, joined with |
	}{
		{chunker.Rune, []string{"ab", "\xe4\xb8", "\xad", "\xe4", "x"}, []string{"a|b", "", "中", "", "\ufffd|x"}},
		{chunker.Grapheme, []string{"ab", "c", "\n", "\r", "\n", "\r", "x"}, []string{"a", "b", "c|\n", "", "\r\n", "", "\r"}},
		{chunker.Grapheme, []string{"\u0085", "👨", "\u200d", "👩", "👍", "!"}, []string{"\u0085", "", "", "", "👨\u200d👩", "👍"}},
		{chunker.Word, []string{"Hel", "lo", " ", "wor", "ld", ".", "\n", "\r", "\n"}, []string{"", "", "Hello", " ", "", "", "world|.|\n", "", "\r\n"}},
		{chunker.Word, []string{"don", "'", "t", " ", "3", ".", "1", "4", ".", " "}, []string{"", "", "", "don't", " ", "", "", "", "", "3.14|."}},
		{chunker.Word, []string{"世", "界", "👨", "\u200d", "👩", "🇩", "🇪", "🇫", "\u2028"}, []string{"", "世", "界", "", "", "👨\u200d👩", "", "🇩🇪", "🇫|\u2028"}},
		{chunker.Line, []string{"a", "\n", "b\nc\r", "\n", "\r", "d"}, []string{"", "a\n", "b\n", "c\r\n", "", "\r"}},
		{chunker.Delta, []string{"a", "", "bc", "\xe4\xb8", "\xadd\xe4", "x"}, []string{"a", "", "bc", "", "中d", "\ufffdx"}},
		{chunker.Token, []string{"Hel", "lo", " world", ", 123", "4", "!", "\n", "\n", "x", " "}, []string{"", "", "Hello", " world|,| |123", "", "4", "", "", "!\n\n", "x"}},
		{chunker.Token, []string{"\u3000\u202f\t", "x"}, []string{"\u3000|\u202f", ""}},
		{chunker.Token, []string{"we", "'", "l", "l", " ABC", "d", "'S", "."}, []string{"", "", "", "we|'ll", "", "", " ABC|d|'S", ""}},
	}
	for _, tt := range tests {
		c := newChunker(t, tt.unit, "")
		for i, delta := range tt.deltas {
			var got []string
			for _, c := range c.Push(nil, delta) {
				got = append(got, c.Text)
			}
			if got := strings.Join(got, "|"); got != tt.want[i] {
				t.Errorf("%s: %q: push %d gave %q, want %q", tt.unit, tt.deltas, i+1, got, tt.want[i])
			}
		}
	}
}

// TestFlush checks that a flushed chunker takes the next text as a new one, but
// for the indexes.
func TestFlush(t *testing.T) {
	for _, v := range variants {
		c := newChunker(t, v.unit, v.encoding)
		var last uint64
		for _, text := range append(awkward, awkward...) {
			want := push(newChunker(t, v.unit, v.encoding), text)
			for i := range want {
				want[i].Last += last
			}
			if got := push(c, text); !equal(got, want) {
				t.Errorf("%v: second text %q:\n got %s\nwant %s", v, text, format(got), format(want))
			}
			if len(want) > 0 {
				last = want[len(want)-1].Last
			}
			if got := c.Flush(nil); len(got) > 0 {
				t.Errorf("%v: Flush without text gave %s", v, format(got))
			}
		}
	}
}

// TestDst checks that chunks are appended and stay as they are.
func TestDst(t *testing.T) {
	for _, v := range variants {
		c := newChunker(t, v.unit, v.encoding)
		first := chunker.Chunk{Text: "first"}
		chunks := c.Push([]chunker.Chunk{first}, "Hello world, hello. \n")
		before := strings.Clone(format(chunks))
		n := len(chunks)
		chunks = c.Push(chunks, strings.Repeat("Something else\n", 100))
		chunks = c.Flush(chunks)
		if chunks[0] != first {
			t.Errorf("%v: first of dst is now %+v", v, chunks[0])
		}
		if got := format(chunks[:n]); got != before {
			t.Errorf("%v: chunks changed from %s to %s", v, before, got)
		}
	}
}

func TestCapped(t *testing.T) {
	tests := []struct {
		unit chunker.Unit
		text string
		want []int // lengths of the chunks, or of the first ones
		caps uint64
	}{
		{chunker.Rune, strings.Repeat("a", 3), []int{1, 1, 1}, 0},
		{chunker.Grapheme, "a" + strings.Repeat("\u0301", 127), []int{255}, 0},
		{chunker.Grapheme, "a" + strings.Repeat("\u0301", 128) + "b", []int{255, 2, 1}, 1},
		{chunker.Grapheme, "é" + strings.Repeat("\u0301", 128), []int{256, 2}, 1},
		{chunker.Grapheme, "é" + strings.Repeat("\u0301", 127), []int{256}, 0},
		{chunker.Grapheme, "é" + strings.Repeat("\u0301", 127) + "\r\nb", []int{256, 2, 1}, 0},
		{chunker.Word, strings.Repeat("a", 512), []int{512}, 0},
		{chunker.Word, strings.Repeat("a", 512) + " b", []int{512, 1, 1}, 0},
		{chunker.Word, strings.Repeat("a", 513), []int{512, 1}, 1},
		{chunker.Word, strings.Repeat("a", 513) + " b", []int{512, 1, 1, 1}, 1},
		{chunker.Word, "a" + strings.Repeat("é", 256) + " ", []int{511, 2, 1}, 1},
		{chunker.Word, "a." + strings.Repeat("\u0301", 255) + " b", []int{1, 511, 1, 1}, 0},
		{chunker.Word, "a." + strings.Repeat("\u0301", 256) + "b", []int{512, 2, 1}, 1}, // a mark too many to see whether a letter follows
		{chunker.Line, strings.Repeat("a", 4096), []int{4096}, 0},
		{chunker.Line, strings.Repeat("a", 4095) + "\nb", []int{4096, 1}, 0},
		{chunker.Line, strings.Repeat("a", 4095) + "\rb", []int{4096, 1}, 0},
		{chunker.Line, strings.Repeat("a", 4094) + "\r\nb", []int{4096, 1}, 0},
		{chunker.Line, strings.Repeat("a", 4095) + "\r\nb", []int{4095, 2, 1}, 1},
		{chunker.Line, strings.Repeat("a", 4096) + "\r\nb", []int{4096, 2, 1}, 1},
		{chunker.Line, "a" + strings.Repeat("é", 2048), []int{4095, 2}, 1},
		{chunker.Delta, strings.Repeat("a", 8192), []int{8192}, 0},
		{chunker.Delta, "a" + strings.Repeat("é", 4096), []int{8191, 2}, 1},
		{chunker.Token, strings.Repeat("a ", 600), nil, 0},
		{chunker.Token, strings.Repeat("a", 1023), nil, 0},
		{chunker.Token, strings.Repeat("a", 5000), nil, 0},
		{chunker.Token, "亚洲" + strings.Repeat("AV", 508) + "A", nil, 0},
		{chunker.Token, "亚洲" + strings.Repeat("AV", 509), nil, 1},
		{chunker.Token, "亚洲" + strings.Repeat("AV", 2000), nil, 1},
	}
	for _, tt := range tests {
		for _, parts := range [][]string{{tt.text}, {tt.text[:len(tt.text)-3], tt.text[len(tt.text)-3:]}} {
			if tt.unit == chunker.Delta {
				parts = []string{tt.text}
			}
			c := newChunker(t, tt.unit, "")
			var got []int
			for _, c := range push(c, parts...) {
				got = append(got, len(c.Text))
			}
			if tt.want != nil && !slices.Equal(got, tt.want) {
				t.Errorf("%s: %d bytes %.9q: chunks of %d bytes, want %d", tt.unit, len(tt.text), tt.text, got, tt.want)
			}
			if got := c.Capped(); got != tt.caps {
				t.Errorf("%s: %d bytes %.9q: capped %d times, want %d", tt.unit, len(tt.text), tt.text, got, tt.caps)
			}
		}
	}
}

func TestNew(t *testing.T) {
	for _, u := range chunker.Units() {
		if got, err := chunker.ParseUnit(string(u)); got != u || err != nil {
			t.Errorf("ParseUnit(%q) = %q, %v", u, got, err)
		}
		newChunker(t, u, "")
	}
	for _, s := range []string{"", "Rune", "char", "rune "} {
		_, err := chunker.ParseUnit(s)
		if e, ok := errors.AsType[*chunker.UnknownUnitError](err); !ok || e.Unit != s {
			t.Errorf("ParseUnit(%q) = %v", s, err)
		}
		if _, err2 := chunker.New(chunker.Unit(s), ""); err2 == nil || err2.Error() != err.Error() {
			t.Errorf("New(%q) = %v, want %v", s, err2, err)
		}
	}
	for _, s := range chunker.Encodings() {
		if got, err := chunker.ParseEncoding(s); got != s || err != nil {
			t.Errorf("ParseEncoding(%q) = %q, %v", s, got, err)
		}
		newChunker(t, chunker.Token, s)
	}
	if got, err := chunker.ParseEncoding(""); got != chunker.DefaultEncoding || err != nil {
		t.Errorf(`ParseEncoding("") = %q, %v`, got, err)
	}
	_, err := chunker.ParseEncoding("gpt2")
	if e, ok := errors.AsType[*chunker.UnknownEncodingError](err); !ok || e.Encoding != "gpt2" {
		t.Errorf("ParseEncoding(gpt2) = %v", err)
	}
	if _, err := chunker.New(chunker.Token, "gpt2"); !isA[*chunker.UnknownEncodingError](err) {
		t.Errorf("New(token, gpt2) = %v", err)
	}
	if _, err := chunker.New(chunker.Rune, chunker.DefaultEncoding); !isA[*chunker.EncodingUnitError](err) {
		t.Errorf("New(rune, %s) = %v", chunker.DefaultEncoding, err)
	}
	if err := chunker.Load("gpt2"); !isA[*chunker.UnknownEncodingError](err) {
		t.Errorf("Load(gpt2) = %v", err)
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// TestLoad is for the race detector.
func TestLoad(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := chunker.Load(); err != nil {
				t.Error(err)
			}
			c, err := chunker.New(chunker.Token, "cl100k_base")
			if err != nil {
				t.Error(err)
				return
			}
			if got, want := len(push(c, "Hello world, 你好")), 4; got < want {
				t.Errorf("%d chunks, want at least %d", got, want)
			}
		})
	}
	wg.Wait()
}

// TestAllocs pins what a small delta costs: the text of its chunks.
func TestAllocs(t *testing.T) {
	for _, v := range variants {
		c := newChunker(t, v.unit, v.encoding)
		var chunks []chunker.Chunk
		got := testing.AllocsPerRun(100, func() { chunks = c.Push(chunks[:0], " worlds\n") })
		if got > 1 {
			t.Errorf("%v: %v allocations a push, want at most 1", v, got)
		}
	}
}

// TestMemory checks that a long unit leaves no memory behind in a chunker that
// has ordinary text again.
func TestMemory(t *testing.T) {
	const streams, most = 50, 1200 // most is in bytes a stream
	texts := map[chunker.Unit]string{
		chunker.Rune:     strings.Repeat("é", 5000),
		chunker.Grapheme: "a" + strings.Repeat("\u0301", 5000),
		chunker.Token:    strings.Repeat("\n"+strings.Repeat(" ", 1020), 5) + "亚洲" + strings.Repeat("AV", 2000) + " " + strings.Repeat("qzxvkjw", 100) + " x",
		chunker.Word:     strings.Repeat("a", 5000),
		chunker.Line:     strings.Repeat("a", 5000),
		chunker.Delta:    strings.Repeat("é", 5000),
	}
	for _, v := range variants {
		newChunker(t, v.unit, v.encoding) // loads the vocabulary
		var open [streams]chunker.Chunker
		before := heap()
		for i := range open {
			open[i] = newChunker(t, v.unit, v.encoding)
			open[i].Push(nil, texts[v.unit])
			open[i].Push(nil, " and so on.\n\nThen")
		}
		if got := (int(heap()) - int(before)) / streams; got > most {
			t.Errorf("%v: %d bytes a stream, want at most %d", v, got, most)
		}
		runtime.KeepAlive(open)
	}
}
