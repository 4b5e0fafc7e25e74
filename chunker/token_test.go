package chunker_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"

	"tokenrelay/chunker"
)

// reference is tiktoken-go, with one vocabulary in memory.
var reference = sync.OnceValue(func() map[string]*tiktoken.Tiktoken {
	tiktoken.SetBpeLoader(chunker.RankLoader{})
	m := make(map[string]*tiktoken.Tiktoken)
	for _, name := range chunker.Encodings() {
		enc, err := tiktoken.GetEncoding(name)
		if err != nil {
			panic(err)
		}
		m[name] = enc
	}
	return m
})

// encode returns the chunks that tiktoken-go gives for the whole text, and
// whether it may be asked: it takes no long s for an s, as tiktoken does.
func encode(encoding, text string) ([]chunker.Chunk, bool) {
	if strings.Contains(text, "'ſ") {
		return nil, false
	}
	enc := reference()[encoding]
	var chunks []chunker.Chunk
	var c chunker.Chunk
	for _, id := range enc.EncodeOrdinary(text) {
		c.Text += enc.Decode([]int{id})
		c.Units++
		c.Last++
		if utf8.ValidString(c.Text) {
			chunks = append(chunks, c)
			c = chunker.Chunk{Last: c.Last}
		}
	}
	return chunks, true
}

// TestTokens compares with tiktoken-go, for every text under several splits.
func TestTokens(t *testing.T) {
	count := 2000
	if testing.Short() {
		count = 200
	}
	for _, encoding := range chunker.Encodings() {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			var checks, skipped, long int
			check := func(text string) {
				want, ok := encode(encoding, text)
				if !ok {
					skipped++
					return
				}
				for _, longest := range []int{len(text) + 1, 1, 4, 12, 60} {
					c := newChunker(t, chunker.Token, encoding)
					got := push(c, split(rng, text, longest)...)
					if c.Capped() > 0 {
						long++
						return
					}
					checks++
					if !equal(got, want) {
						t.Fatalf("tokens of %q in parts of up to %d bytes:\n got %s\nwant %s", text, longest, format(got), format(want))
					}
				}
			}
			for _, text := range awkward {
				check(text)
			}
			for range count {
				check(generate(rng, 1+rng.IntN(80)))
			}
			for range count / 50 {
				check(generate(rng, 2000))
			}
			t.Logf("%d checks, skipped: %d texts with a long s, %d with a piece past the limit", checks, skipped, long)
		})
	}
}
