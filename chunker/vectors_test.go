package chunker_test

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"tokenrelay/chunker"
)

// A vector is a text with its tokens as OpenAI's own tokenizer gives them. Those
// of o200k_harmony are those of o200k_base.
type vector struct {
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	CL100K []int  `json:"cl100k_base"`
	O200K  []int  `json:"o200k_base"`
}

func (v vector) ids(encoding string) []int {
	if encoding == "cl100k_base" {
		return v.CL100K
	}
	return v.O200K
}

// minVectors is how many texts there are at least.
const minVectors = 1800

// cappedVectors is how many of them, by encoding, have a piece that was cut at
// the limit, which makes their tokens other ones.
var cappedVectors = map[string]int{"cl100k_base": 0, "o200k_base": 2, "o200k_harmony": 2}

// vectors reads the file that contract/vectors.mjs makes.
func vectors(t *testing.T) []vector {
	t.Helper()
	file, err := os.Open("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := json.NewDecoder(bufio.NewReader(file))
	var head struct {
		Tiktoken, Unicode string
		Vectors           int
	}
	if err := decoder.Decode(&head); err != nil {
		t.Fatal(err)
	}
	all := make([]vector, head.Vectors)
	for i := range all {
		if err := decoder.Decode(&all[i]); err != nil {
			t.Fatalf("vector %d: %v", i+1, err)
		}
	}
	if decoder.More() || len(all) < minVectors {
		t.Fatalf("%d vectors or more, want all of at least %d", len(all), minVectors)
	}
	if !strings.HasPrefix(unicode.Version, head.Unicode+".") {
		t.Logf("the vectors hold Unicode %s at most, these tables are of %s", head.Unicode, unicode.Version)
	}
	return all
}

// TestVectors compares with what the official WASM build of tiktoken gives for
// texts of every kind, under several splits: the units and the ids.
func TestVectors(t *testing.T) {
	all := vectors(t)
	for _, encoding := range chunker.Encodings() {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 8))
			bytes := tokenBytes(t, encoding, all)
			checks, capped := 0, 0
			for _, v := range all {
				ids := v.ids(encoding)
				want := chunksOf(ids, func(id int) string { return bytes[id] })
				check := func(parts []string) (exact bool) {
					t.Helper()
					c := newChunker(t, chunker.Token, encoding)
					got := push(c, parts...)
					if joined := join(got); joined != v.Text {
						t.Fatalf("%s %q in %d parts: the chunks are %q", v.Kind, v.Text, len(parts), joined)
					}
					if c.Capped() > 0 {
						return false
					}
					checks++
					if !equal(got, want) {
						t.Fatalf("%s %q in %d parts:\n got %s\nwant %s", v.Kind, v.Text, len(parts), format(got), format(want))
					}
					return true
				}
				if !check([]string{v.Text}) {
					capped++
					continue
				}
				var got []int
				for _, c := range want {
					before := len(got)
					var err error
					if got, err = chunker.AppendTokenIDs(got, encoding, c.Text); err != nil {
						t.Fatal(err)
					}
					if n := len(got) - before; n != c.Units {
						t.Errorf("%s %q: %d ids of %q, want %d", v.Kind, v.Text, n, c.Text, c.Units)
					}
				}
				if !slices.Equal(got, ids) {
					t.Errorf("%s %q: ids %d, want %d", v.Kind, v.Text, got, ids)
				}
				for _, longest := range []int{1, 4, 12} {
					check(split(rng, v.Text, longest))
				}
				if len(v.Text) <= 40 {
					for i := range len(v.Text) {
						check([]string{v.Text[:i], v.Text[i:]})
					}
				}
			}
			t.Logf("%d vectors, %d checks; %d with a piece cut at the limit", len(all), checks, capped)
			if want := cappedVectors[encoding]; capped != want {
				t.Errorf("%d vectors have a piece that was cut at the limit, want %d", capped, want)
			}
		})
	}
}

// tokenBytes returns what the tokens of the vectors stand for. It is taken from
// tiktoken-go, so that nothing of the chunker takes part.
func tokenBytes(t *testing.T, encoding string, all []vector) map[int]string {
	t.Helper()
	bytes := make(map[int]string)
	enc := reference()[strings.Replace(encoding, "harmony", "base", 1)]
	for _, v := range all {
		var text strings.Builder
		for _, id := range v.ids(encoding) {
			if _, ok := bytes[id]; !ok {
				bytes[id] = enc.Decode([]int{id})
			}
			text.WriteString(bytes[id])
		}
		if text.String() != v.Text {
			t.Fatalf("%s: the ids of %q are those of %q", encoding, v.Text, &text)
		}
	}
	return bytes
}

func join(chunks []chunker.Chunk) string {
	var b strings.Builder
	for _, c := range chunks {
		b.WriteString(c.Text)
	}
	return b.String()
}
