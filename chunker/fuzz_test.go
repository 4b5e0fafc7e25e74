package chunker_test

import (
	"testing"

	"tokenrelay/chunker"
)

// FuzzChunker divides text into deltas of the lengths in cuts, for one of the
// variants, and wants what every chunker must keep.
func FuzzChunker(f *testing.F) {
	for i, text := range awkward {
		f.Add([]byte(text), byte(i), []byte{1, 2, 0, 3})
	}
	for _, text := range long() {
		for i := range variants {
			f.Add([]byte(text), byte(i), []byte{200, 100, 7})
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, variant byte, cuts []byte) {
		v := variants[int(variant)%len(variants)]
		got := v.check(t, cut(string(text), cuts))
		want := v.check(t, []string{string(text)})
		if v.unit != chunker.Delta && !equal(got, want) {
			t.Fatalf("%v: %q cut at %d:\n got %s\nwant %s", v, text, cuts, format(got), format(want))
		}
	})
}

// FuzzTokens compares with tiktoken-go.
func FuzzTokens(f *testing.F) {
	for _, text := range awkward {
		f.Add([]byte(text), []byte{1, 2, 0, 3})
	}
	for _, text := range fragments {
		f.Add([]byte("a"+text+"B"+text+" "+text), []byte{5, 1, 1})
	}
	f.Fuzz(func(t *testing.T, text, cuts []byte) {
		if len(text) > 4096 {
			return // tiktoken-go takes quadratic time
		}
		parts := cut(string(text), cuts)
		for _, encoding := range vocabularies {
			want, ok := encode(encoding, string(text))
			if !ok {
				return
			}
			c := newChunker(t, chunker.Token, encoding)
			if got := push(c, parts...); c.Capped() == 0 && !equal(got, want) {
				t.Fatalf("%s: tokens of %q:\n got %s\nwant %s", encoding, parts, format(got), format(want))
			}
		}
	})
}

// cut divides text into parts of the lengths in cuts, over and over.
func cut(text string, cuts []byte) []string {
	var parts []string
	for i := 0; text != ""; i++ {
		n := len(text)
		if len(cuts) > 0 {
			n = int(cuts[i%len(cuts)])
			if i >= len(cuts) {
				n = max(n, 1) // at most one round of nothing
			}
			n = min(n, len(text))
		}
		parts, text = append(parts, text[:n]), text[n:]
	}
	return parts
}
