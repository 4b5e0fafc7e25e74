package chunker_test

import (
	"slices"
	"testing"

	"tokenrelay/chunker"
)

// A holdback is what a chunker holds while a text comes one token at a time, as
// from a model, and how late it gives its chunks.
type holdback struct {
	held []int // bytes after each delta
	late []int // deltas that each chunk had to wait for, after the one it ends in
}

func holdbackOf(t testing.TB, unit chunker.Unit, encoding, text string) holdback {
	var h holdback
	var deltas []string
	for _, c := range push(newChunker(t, chunker.Token, encoding), text) {
		deltas = append(deltas, c.Text)
	}
	c := newChunker(t, unit, encoding)
	var came []int // for each byte, the delta that it came with
	given := 0
	give := func(now int, chunks []chunker.Chunk) {
		for _, c := range chunks {
			given += len(c.Text)
			h.late = append(h.late, now-came[given-1])
		}
	}
	for i, d := range deltas {
		came = append(came, slices.Repeat([]int{i}, len(d))...)
		give(i, c.Push(nil, d))
		h.held = append(h.held, len(c.Held()))
	}
	give(len(deltas), c.Flush(nil))
	return h
}

func mean(values []int) float64 {
	sum := 0
	for _, v := range values {
		sum += v
	}
	return float64(sum) / float64(len(values))
}

func p99(values []int) int {
	return slices.Sorted(slices.Values(values))[len(values)*99/100]
}

// TestHoldback wants tokens about one token behind the text, and no more text
// held than that takes.
func TestHoldback(t *testing.T) {
	texts := corpus(t)
	for _, encoding := range vocabularies {
		for _, name := range []string{"english", "code", "chinese", "markdown", "emoji"} {
			h := holdbackOf(t, chunker.Token, encoding, texts[name])
			t.Logf("%-11s %-8s held: mean %.1f, p99 %d, most %d bytes; late: mean %.2f, p99 %d, most %d deltas", encoding, name,
				mean(h.held), p99(h.held), slices.Max(h.held), mean(h.late), p99(h.late), slices.Max(h.late))
			if got := mean(h.late); got > 1.2 {
				t.Errorf("%s: tokens of the %s text come %.2f deltas late, want at most 1.2", encoding, name, got)
			}
			if got := p99(h.held); got > 16 {
				t.Errorf("%s: of the %s text %d bytes are held (99 of 100 deltas), want at most 16", encoding, name, got)
			}
		}
	}
}
