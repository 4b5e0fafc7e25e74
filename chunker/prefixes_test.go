package chunker_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tokenrelay/chunker"
)

// bytePairs is byte pair encoding as it is defined: it returns where the tokens
// of text end.
func bytePairs(ranks map[string]int, text string) []int {
	var ends []int
	for i := range len(text) {
		ends = append(ends, i+1)
	}
	for {
		at, least := -1, len(ranks)
		start := 0
		for i := 0; i+1 < len(ends); i++ {
			if rank, ok := ranks[text[start:ends[i+1]]]; ok && rank < least {
				at, least = i, rank
			}
			start = ends[i]
		}
		if at < 0 {
			return ends
		}
		ends = slices.Delete(ends, at, at+1)
	}
}

// toyRanks makes a vocabulary of single bytes and n longer tokens of few
// different letters, each of which byte pair encoding can reach.
func toyRanks(rng *rand.Rand, letters, n int) map[string]int {
	ranks := map[string]int{}
	var tokens []string
	for b := range 256 {
		ranks[string([]byte{byte(b)})] = b
	}
	for i := range letters {
		tokens = append(tokens, string([]byte{byte('a' + i)}))
	}
	for tries := 0; len(ranks) < 256+n && tries < 100*n; tries++ {
		left, right := tokens[rng.IntN(len(tokens))], tokens[rng.IntN(len(tokens))]
		t := left + right
		if _, ok := ranks[t]; ok || len(t) > 40 || !slices.Equal(bytePairs(ranks, t), []int{len(left), len(t)}) {
			continue
		}
		ranks[t] = len(ranks)
		tokens = append(tokens, t)
	}
	return ranks
}

// TestPrefixes holds the encoding that grows byte by byte to the definition,
// for vocabularies that are denser than real ones: in texts of two or three
// letters nearly everything can be joined with everything.
func TestPrefixes(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	rng := rand.New(rand.NewPCG(9, 10))
	var texts, settledBytes, certainBytes int
	for range rounds {
		letters := 1 + rng.IntN(4)
		ranks := toyRanks(rng, letters, 1+rng.IntN(60))
		toy := chunker.NewToy(ranks)
		random := func(n int) string {
			var b strings.Builder
			for b.Len() < n {
				b.WriteByte(byte('a' + rng.IntN(letters)))
			}
			return b.String()
		}
		for range 20 {
			text := random(1 + rng.IntN(60))
			ends, settled := toy.Ends(text)
			want := bytePairs(ranks, text)
			if !slices.Equal(ends, want) {
				t.Fatalf("tokens of %q end at %d, want %d; vocabulary %v", text, ends, want, ranks)
			}
			if got := toy.Merge(text); !slices.Equal(got, want) {
				t.Fatalf("merge: tokens of %q end at %d, want %d; vocabulary %v", text, got, want, ranks)
			}

			// Nothing that is settled may change, whatever follows; and what
			// nothing that follows changes should be settled.
			texts++
			same := slices.Clone(want)
			for range 100 {
				longer := bytePairs(ranks, text+random(1+rng.IntN(12)))
				n := 0
				for n < len(same) && n < len(longer) && same[n] == longer[n] {
					n++
				}
				same = same[:n]
			}
			certain := 0
			if len(same) > 0 {
				certain = same[len(same)-1]
			}
			if settled > certain {
				t.Fatalf("%d bytes of %q are said to be settled, and only %d are; vocabulary %v", settled, text, certain, ranks)
			}
			settledBytes += settled
			certainBytes += certain
		}
	}
	t.Logf("%d texts: %d bytes settled of %d that nothing tried could change", texts, settledBytes, certainBytes)
	if settledBytes < certainBytes*8/10 {
		t.Errorf("settled are %d bytes of %d that nothing tried could change, want 8 of 10", settledBytes, certainBytes)
	}
}
