package chunker_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"

	"tokenrelay/chunker"
)

// vocabularies are the encodings that have one of their own: that of
// o200k_harmony is that of o200k_base.
var vocabularies = []string{"cl100k_base", "o200k_base"}

// reference is tiktoken-go, by vocabulary.
var reference = sync.OnceValue(func() map[string]*tiktoken.Tiktoken {
	tiktoken.SetBpeLoader(chunker.RankLoader{})
	m := make(map[string]*tiktoken.Tiktoken)
	for _, name := range vocabularies {
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
	return chunksOf(enc.EncodeOrdinary(text), func(id int) string { return enc.Decode([]int{id}) }), true
}

// chunksOf returns the chunks of the tokens, whose bytes decode gives: each is
// as few as make whole characters.
func chunksOf(ids []int, decode func(id int) string) (chunks []chunker.Chunk) {
	var c chunker.Chunk
	for _, id := range ids {
		c.Text += decode(id)
		c.Units++
		c.Last++
		if utf8.ValidString(c.Text) {
			chunks = append(chunks, c)
			c = chunker.Chunk{Last: c.Last}
		}
	}
	return chunks
}

// TestTokens compares with tiktoken-go, for texts of every kind under several
// splits, and short ones under every cut in two.
func TestTokens(t *testing.T) {
	count := 12_000
	if testing.Short() {
		count = 1000
	}
	for _, encoding := range vocabularies {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			var texts, checks, cuts, skipped, capped int
			check := func(text string) {
				want, ok := encode(encoding, text)
				if !ok {
					skipped++
					return
				}
				texts++
				same := func(parts ...string) bool {
					c := newChunker(t, chunker.Token, encoding)
					got := push(c, parts...)
					if c.Capped() > 0 {
						capped++
						return false
					}
					if !equal(got, want) {
						t.Fatalf("tokens of %q:\n got %s\nwant %s", parts, format(got), format(want))
					}
					return true
				}
				if !same(text) {
					return
				}
				for _, longest := range []int{1, 4, 12, 60} {
					same(split(rng, text, longest)...)
				}
				checks += 5
				if len(text) <= 40 {
					for i := 1; i < len(text); i++ {
						same(text[:i], text[i:])
						cuts++
					}
				}
			}
			for _, text := range awkward {
				check(text)
			}
			for _, text := range corpus(t) {
				check(text)
			}
			for i := range count {
				check(generators[kinds[i%len(kinds)]](rng, 1+rng.IntN(80)))
			}
			for i := range count / 50 {
				check(generators[kinds[i%len(kinds)]](rng, 2000))
			}
			t.Logf("%d texts, %d splits and %d cuts in two; left out: %d texts with a long s behind an apostrophe, %d with a piece past the limit",
				texts, checks, cuts, skipped, capped)
		})
	}
}

// TestVocabulary checks that byte pair encoding makes every token of its bytes,
// on which much rests: see the package's comment.
func TestVocabulary(t *testing.T) {
	for _, encoding := range vocabularies {
		ranks, err := chunker.RankLoader{}.LoadTiktokenBpe(encoding + ".tiktoken")
		if err != nil {
			t.Fatal(err)
		}
		var ids []int
		for text, rank := range ranks {
			ids, err = chunker.AppendTokenIDs(ids[:0], encoding, text)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(ids, []int{rank}) {
				t.Fatalf("%s: the bytes %q of token %d are encoded as %d", encoding, text, rank, ids)
			}
			if (len(text) == 1) != (rank < 256) {
				t.Errorf("%s: token %d is %q: want the single bytes first", encoding, rank, text)
			}
		}
	}
}

// TestPieces shows what the patterns do, by example. The long s is the one case
// for which tiktoken-go is no reference: in tiktoken a pattern that ignores case
// takes it for an s.
func TestPieces(t *testing.T) {
	tests := []struct{ cl100k, o200k string }{ // pieces, divided by ¦
		{"Hello¦,¦ world¦!", "Hello¦,¦ world¦!"},
		{"HTTPServer¦'s", "HTTPServer's"},
		{"camelCase", "camel¦Case"},
		{"'s¦up¦ '¦sup¦'x", "'sup¦ '¦sup¦'x"},
		{"it¦'ſ¦up", "it'ſ¦up"},
		{"we¦'LL¦'r¦'re¦'ve¦d", "we'LL¦'r're¦'ved"},
		{"123¦456¦7", "123¦456¦7"},
		{"a¦  ¦ b¦\t¦1¦ ¦2", "a¦  ¦ b¦\t¦1¦ ¦2"},
		{"a¦\n \n¦  ¦ b¦\n¦  ", "a¦\n \n¦  ¦ b¦\n¦  "},
		{"?!\n\n¦/\n¦x¦ //\n¦/x", "?!\n\n/\n¦x¦ //\n/¦x"},
		{"we¦'", "we¦'"},
		{"we¦'r", "we¦'r"},
		{"ǅAB¦ ǅabʰAB", "ǅAB¦ ǅabʰ¦AB"},
		{"亚洲AV¦!", "亚洲¦AV¦!"},
		{"亚洲AVs¦!", "亚洲AVs¦!"},
		{"e¦\u0301x¦ \u0301¦x", "e\u0301x¦ \u0301x"},
		{".¦\u00a0x¦\u00a0¦.", ".¦\u00a0x¦\u00a0¦."},
		{"<|¦endoftext¦|>", "<|¦endoftext¦|>"},
	}
	for _, tt := range tests {
		for encoding, pieces := range map[string]string{"cl100k_base": tt.cl100k, "o200k_base": tt.o200k} {
			want := strings.Split(pieces, "¦")
			if got := chunker.Pieces(encoding, strings.Join(want, "")); !slices.Equal(got, want) {
				t.Errorf("%s: pieces %q, want %q", encoding, got, want)
			}
		}
	}
}

// TestTokenCap shows what is cut where too much would be held: the open piece
// is closed where it would end if the text did, and no more.
func TestTokenCap(t *testing.T) {
	const encoding = "o200k_base"
	head, tail := "亚洲", strings.Repeat("AV", 2000)
	got := push(newChunker(t, chunker.Token, encoding), head+tail)
	if got[0].Text != head {
		t.Errorf("the first chunk is %q, want %q", got[0].Text, head)
	}
	want, _ := encode(encoding, tail)
	for i := range want {
		want[i].Last += got[0].Last
	}
	if !equal(got[1:], want) {
		t.Errorf("the run of capitals gives\n%s\nwant\n%s", format(got[1:]), format(want))
	}

	// At the end a text may grow past the limit, by what replaces its bytes.
	c, d := newChunker(t, chunker.Token, encoding), newChunker(t, chunker.Token, encoding)
	held := head + tail[:1023-len(head)]
	if got, want := push(c, held+"\xe4\xb8"), push(d, held+"\ufffd\ufffd"); !equal(got, want) || c.Capped() != d.Capped() {
		t.Errorf("with an incomplete character %s, capped %d; with its replacement %s, capped %d", format(got), c.Capped(), format(want), d.Capped())
	}
}

// TestOpenFork checks that text which may yet be divided in two ways, for as
// long as it likes, is not held for that.
func TestOpenFork(t *testing.T) {
	for _, encoding := range vocabularies {
		for _, text := range []string{
			"\n" + strings.Repeat(" ", 3000), "\n" + strings.Repeat("\t ", 1500),
			"语" + strings.Repeat("A", 3000), "a\u0301" + strings.Repeat("XY", 1500), "ʰ" + strings.Repeat("Q", 3000),
		} {
			c := newChunker(t, chunker.Token, encoding)
			most := 0
			for i := range len(text) {
				c.Push(nil, text[i:i+1])
				most = max(most, len(c.Held()))
			}
			if most > 300 || c.Capped() > 0 {
				t.Errorf("%s: of %.9q… %d bytes are held and %d pieces cut, want at most 300 and none", encoding, text, most, c.Capped())
			}
		}
	}
}

// TestLongPieces compares byte pair encoding on pieces up to the limit.
func TestLongPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	alphabets := []string{"a", "ab", "aeiourstln", "ACGT", "语", "天地玄黄宇宙洪荒", " ", "-", "=-", "ж", "abcdefghijklmnopqrstuvwxyz", "e\u0301"}
	for range 600 {
		alphabet := []rune(alphabets[rng.IntN(len(alphabets))])
		var b strings.Builder
		for n := 1 + rng.IntN(1015); b.Len() < n; {
			b.WriteRune(alphabet[rng.IntN(len(alphabet))])
		}
		text := b.String()
		for _, encoding := range vocabularies {
			want, _ := encode(encoding, text)
			c := newChunker(t, chunker.Token, encoding)
			if got := push(c, text); !equal(got, want) {
				t.Fatalf("%s: tokens of %q:\n got %s\nwant %s", encoding, text, format(got), format(want))
			}
			if c.Capped() != 0 {
				t.Fatalf("%s: %q is cut at the limit", encoding, text)
			}
		}
	}
}

// TestPieceWork counts what the pretokenizer scans, one character a push:
// nothing may make it scan a text more than a few times over.
func TestPieceWork(t *testing.T) {
	texts := long()
	for _, s := range []string{"\n ", " ", "\n", "'l", "AB\u0301", "亚A", "a'", "A'r", ". ", "\r\n/", "\u3000\n"} {
		texts[s] = strings.Repeat(s, 4000)
	}
	for _, encoding := range vocabularies {
		worst, worstName := 0.0, ""
		for name, text := range texts {
			if n := float64(chunker.PieceWork(encoding, text)) / float64(len(text)); n > worst {
				worst, worstName = n, name
			}
		}
		t.Logf("%s: a byte is scanned up to %.2f times (%q)", encoding, worst, worstName)
		if worst > 4 {
			t.Errorf("%s: text %q is scanned %.1f times, want at most 4", encoding, worstName, worst)
		}
	}
}
