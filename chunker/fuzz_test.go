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
		var parts []string
		rest := string(text)
		for _, n := range cuts {
			n := min(int(n), len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		got := v.check(t, append(parts, rest))
		want := v.check(t, []string{string(text)})
		if v.unit != chunker.Delta && !equal(got, want) {
			t.Fatalf("%v: %q cut at %d:\n got %s\nwant %s", v, text, cuts, format(got), format(want))
		}
	})
}

// FuzzTokens compares with tiktoken-go.
func FuzzTokens(f *testing.F) {
	for i, text := range awkward {
		f.Add([]byte(text), byte(i))
	}
	for _, text := range fragments {
		f.Add([]byte("a"+text+"B"+text+" "+text), byte(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, length byte) {
		for _, encoding := range chunker.Encodings() {
			want, ok := encode(encoding, string(text))
			if !ok || len(text) > 4096 {
				return
			}
			var parts []string
			for rest := string(text); rest != ""; {
				n := min(1+int(length), len(rest))
				parts, rest = append(parts, rest[:n]), rest[n:]
			}
			c := newChunker(t, chunker.Token, encoding)
			if got := push(c, parts...); c.Capped() == 0 && !equal(got, want) {
				t.Fatalf("%s: tokens of %q:\n got %s\nwant %s", encoding, text, format(got), format(want))
			}
		}
	})
}
