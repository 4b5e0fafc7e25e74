package chunker_test

import (
	"bufio"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
	"github.com/clipperhouse/uax29/v2/words"

	"tokenrelay/chunker"
)

// texts returns the texts of the chunks of a text that comes in parts, and how
// many units were capped.
func texts(t testing.TB, unit chunker.Unit, parts ...string) (texts []string, capped uint64) {
	t.Helper()
	c := newChunker(t, unit, "")
	for _, c := range push(c, parts...) {
		texts = append(texts, c.Text)
	}
	return texts, c.Capped()
}

func wantTexts(t *testing.T, unit chunker.Unit, parts, want []string) {
	t.Helper()
	if got, _ := texts(t, unit, parts...); !slices.Equal(got, want) {
		t.Fatalf("%ss of %q:\n got %q\nwant %q", unit, parts, got, want)
	}
}

// segments returns the clusters or words of a whole text, as the library gives
// them.
func segments(unit chunker.Unit, text string) (segments []string) {
	if unit == chunker.Grapheme {
		for i := graphemes.FromString(text); i.Next(); {
			segments = append(segments, i.Value())
		}
		return segments
	}
	for i := words.FromString(text); i.Next(); {
		segments = append(segments, i.Value())
	}
	return segments
}

// TestStandard runs the test cases of the Unicode Consortium, under every cut
// in two, in bytes, and for short ones under all cuts between characters.
func TestStandard(t *testing.T) {
	tests := []struct {
		unit  chunker.Unit
		file  string
		cases int
	}{
		{chunker.Grapheme, "GraphemeBreakTest", 766},
		{chunker.Word, "WordBreakTest", 1944},
	}
	for _, tt := range tests {
		t.Run(string(tt.unit), func(t *testing.T) {
			version, cases := readStandard(t, "testdata/"+tt.file+".txt")
			if want := tt.file + "-" + chunker.UnicodeVersion(tt.unit) + ".txt"; version != want {
				t.Errorf("the cases are %s, want %s", version, want)
			}
			if len(cases) != tt.cases {
				t.Errorf("%d cases, want %d", len(cases), tt.cases)
			}
			for _, want := range cases {
				text := strings.Join(want, "")
				for i := range len(text) + 1 {
					wantTexts(t, tt.unit, []string{text[:i], text[i:]}, want)
				}
				wantTexts(t, tt.unit, strings.SplitAfter(text, ""), want)
				wantTexts(t, tt.unit, bytewise(text), want)
				characters := strings.Split(text, "")
				if len(characters) > 8 {
					continue
				}
				for cuts := range 1 << (len(characters) - 1) {
					parts := []string{characters[0]}
					for i, c := range characters[1:] {
						if cuts>>i&1 == 1 {
							parts = append(parts, "")
						}
						parts[len(parts)-1] += c
					}
					wantTexts(t, tt.unit, parts, want)
				}
			}
		})
	}
}

func bytewise(text string) (parts []string) {
	for i := range len(text) {
		parts = append(parts, text[i:i+1])
	}
	return parts
}

// readStandard returns the name in the first line of a file and its cases.
func readStandard(t *testing.T, file string) (name string, cases [][]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, comment, commented := strings.Cut(lines.Text(), "#")
		if commented && name == "" {
			name = strings.TrimSpace(comment)
		}
		var segments []string
		for mark := range strings.FieldsSeq(line) {
			switch mark {
			case "÷":
				segments = append(segments, "")
			case "×":
			default:
				r, err := strconv.ParseUint(mark, 16, 32)
				if err != nil {
					t.Fatalf("%s: %q: %v", file, line, err)
				}
				segments[len(segments)-1] += string(rune(r))
			}
		}
		if len(segments) > 0 {
			cases = append(cases, segments[:len(segments)-1]) // the last ÷ opens none
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return name, cases
}

// TestGrapheme lists the clusters of texts, one text a line. The rules are
// those of UAX #29, table 1c.
func TestGrapheme(t *testing.T) {
	tests := [][]string{
		{"a", "b", " ", "c"},
		{"\r\n", "\r", "\r\n", "\n", "\n", "\r"}, // GB3
		{"a", "\n", "\u0301", "b"},               // GB4: a mark does not join a control
		{"a", "\t", "\u0308", "\x00", "\u200b", "\u0308", "\u2028", "\u0301"}, // GB4, GB5
		{"ᄀ", "a", "각", "각", "가\u11a8", "각\u11a8", "ᄀ\u1100\u1161"},           // GB6 to GB8: Hangul
		{"\u1161\u11a8", "ᄀ"},                        //
		{"e\u0301", "a\u0308\u0301"},                 // GB9
		{"ก็", " ", "ล\u0e33"},                       // GB9, GB9a
		{"कि", "का", "தொ"},                           // GB9a
		{"\u0600a", "\u0600\u0600b", "\u06dd\u0661"}, // GB9b
		{"क्षि", "स्त्री", "क्\u200dत", "क\u094d\u094dत", "क", "त"}, // GB9c: Indic conjuncts
		{"ক্ত", "ক\u09cd", "a"}, // GB9c
		{"👨‍👩‍👧‍👦", "👩‍🚀", "🏳️‍🌈", "👁️‍🗨️", "❤️‍🔥"}, // GB11: ZWJ sequences
		{"👍🏽", "👩🏿‍🤝‍👨🏻", "☝🏿", "a🏽"},               // skin tones extend whatever stands before
		{"a\u200d", "👩"}, // no emoji before the joiner
		{"🇩🇪", "🇫🇷", "🇩", " ", "🇯🇵", "🇺🇸", "🇪🇺"},                                        // GB12, GB13: flags
		{"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1️⃣", "#️⃣"}, // tags, keycaps
		{"❤️", "❤", "☕", "©️", "\u00a9"},                                                //
		{"שָׁ", "ל", "ו\u05b9", "ם", " ", "بَ", "ت"},                                    //
		{"日", "本", "語", "が\u3099"},                                                      //
		{"\ufffd", "\u00ad", "a\u034f", "\ufeff", "b"},                                  // GB5: formats are controls
	}
	for _, want := range tests {
		text := strings.Join(want, "")
		for i := range len(text) + 1 {
			wantTexts(t, chunker.Grapheme, []string{text[:i], text[i:]}, want)
		}
	}
}

// TestWord does the same for words. The rules are those of UAX #29, section
// 4.1.1.
func TestWord(t *testing.T) {
	tests := [][]string{
		{"Hello", ",", " ", "world", "!", " ", "Hello", "."},
		{"can't", " ", "we'll", " ", "o’clock", " ", "'", "quoted", "'", " ", "dogs", "'", " ", "a", "'", "'", "b"}, // WB6, WB7
		{"e.g", ".", " ", "example.com", " ", "a", ".", ".", "b", " ", "l·l", " ", "a:b", " ", "a", ",", "b"},       // WB6, WB7
		{"3.14", " ", "1,234.5", " ", "1", ".", " ", "1", ",", ",", "2", " ", "1;2", " ", "1", ":", "2"},            // WB11, WB12
		{"3a", "-", "4", "%", " ", "$", "5", " ", "A1b2", " ", "1", ".", "a", " ", "a", ".", "1"},                   // WB8 to WB10
		{"name", "@", "mail.example.com", ",", " ", "https", ":", "/", "/", "a.b", "/", "c"},                        // WB999
		{"snake_case", " ", "_x_1_", "-", "__", " ", "ア_a"},                                                         // WB13a, WB13b
		{"צה\"ל", " ", "\"", "שלום", "\"", " ", "ג'", " ", "א'", "'", "ב", " ", "א'ב", " ", "a", "\"", "b"},         // WB7a to WB7c
		{"カタカナ", "ひ", "ら", "漢", "字", "カード", "a"},                                                                    // WB13
		{"カタ\u3099カ", "世", "界", "，", "你\u0301", "好"},                                                                //
		{"한국어", " ", "각각a"},                                                                        //
		{"ไ", "ท", "ย", "ก", "\u0e33", "ก็"},                                                       // no dictionary
		{"🇩🇪", "🇫🇷", "🇩", "a", "🇩\u0301🇪", "🇫"},                                                    // WB15, WB16
		{"👨‍👩‍👧", "👩🏿‍🤝‍👨🏻", "👍🏽", "👍", "a\u200d👩"},                                                // WB3c, WB4
		{"a", "\r\n", "\r", "\r\n", "\n", "\v", "\f", "\u0085", "\u2028", "\u2029", "\u0301", "b"}, // WB3 to WB3b
		{"   ", "a", "  \u0301", " ", "\t", "\t", "\u3000 ", "\u00a0", "\u00a0"},                   // WB3d
		{" \u0301", " ", ".\u0301", "'\u0301", "a\u0301'\u0301b\u0301", " ", "1\u0301.\u200d2"},    // WB4
		{"a\u00adb\u00ad", "\t\u00ad", "\x00\ufeff", "a", "\u200b", "b"},                           // WB4: formats
		{"привет", " ", "été", " ", "e\u0301te\u0301", " ", "हिन्दी", " ", "مرحبا"},                //
		{"func", " ", "(", "s", " ", "*", "T", ")", " ", "f", "{", "\n", "\t", "}", "\n"},          //
	}
	for _, want := range tests {
		text := strings.Join(want, "")
		for i := range len(text) + 1 {
			wantTexts(t, chunker.Word, []string{text[:i], text[i:]}, want)
		}
	}
}

// classes has characters of every class that the rules of UAX #29 tell apart,
// alone and in two classes at once.
var classes = strings.Split("aéⓂʼאב12٣'\".’‘,;:·_\u202fアー\uff9e世ひไ "+
	"\u0301\u0903\u200d\u00ad\ufe0f\u200b\ufeff\u0600\U000e0067👩😀©🏽🇩🇪"+
	"\u3000\u00a0\t\n\r\v\u0085\u2028-@$कष\u094d\u09cd각각가", "")

func generateClasses(rng *rand.Rand, n int) string {
	few := classes
	if rng.IntN(2) == 0 { // so that rules of three and four characters apply
		few = nil
		for range 5 {
			few = append(few, classes[rng.IntN(len(classes))])
		}
	}
	var b strings.Builder
	for range n {
		b.WriteString(few[rng.IntN(len(few))])
	}
	return b.String()
}

// TestSegments compares with the library, which is given the whole text.
func TestSegments(t *testing.T) {
	count := 6000 // of each kind
	if testing.Short() {
		count = 500
	}
	for _, unit := range []chunker.Unit{chunker.Grapheme, chunker.Word} {
		t.Run(string(unit), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 8))
			var checks, long int
			check := func(text string) {
				want := segments(unit, string([]rune(text)))
				same := func(parts ...string) bool {
					got, capped := texts(t, unit, parts...)
					if capped > 0 {
						long++
						return false
					}
					if checks++; !slices.Equal(got, want) {
						t.Fatalf("%ss of %q:\n got %q\nwant %q", unit, parts, got, want)
					}
					return true
				}
				for _, longest := range []int{len(text) + 1, 1, 2, 4, 12, 60} {
					if !same(split(rng, text, longest)...) {
						return
					}
				}
				if len(text) <= 40 {
					for i := range len(text) {
						same(text[:i], text[i:])
					}
				}
			}
			for _, text := range awkward {
				check(text)
			}
			for range count {
				check(generate(rng, 1+rng.IntN(80)))
				check(generateClasses(rng, 1+rng.IntN(16)))
			}
			for range count / 50 {
				check(generate(rng, 5000))
				check(generateClasses(rng, 2000))
			}
			t.Logf("%d checks, %d texts with a unit past the limit left out", checks, long)
			if long > count/50 {
				t.Errorf("%d texts are left out, want at most %d", long, count/50)
			}
		})
	}
}

// TestHeld checks after every character that what was given holds however the
// text goes on, and that all that must hold was given: no more is held than the
// last cluster or word, with what may join it to a next one.
func TestHeld(t *testing.T) {
	// Where texts that go on in different ways are cut differently, some of these are.
	continuations := []string{"", "a", "1", "א", "ア", "_", "世", " ", "\n", "'", "'a", ".1", ".a", "\"א",
		"\u0301", "\u0301a", "\u0301א", "\u03011", "\u200d", "\u200d👩", "👩", "🇩", "क", "\u094dक", "ᅡ", "ᆨ"}
	count := 400
	if testing.Short() {
		count = 50
	}
	for _, unit := range []chunker.Unit{chunker.Grapheme, chunker.Word} {
		t.Run(string(unit), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(9, 10))
			texts := slices.Clone(awkward)
			for range count {
				texts = append(texts, generate(rng, 1+rng.IntN(40)), generateClasses(rng, 12))
			}
			for _, text := range texts {
				text = string([]rune(text))
				c := newChunker(t, unit, "")
				var given []chunker.Chunk
				for i, r := range text {
					given = c.Push(given, string(r))
					before := text[:i+utf8.RuneLen(r)]
					must := certain(unit, before, continuations)
					if got := len(given); got != len(must) {
						t.Errorf("%q gave %s, held %q, want %q", before, format(given), c.Held(), must)
					}
					for i := range min(len(given), len(must)) {
						if given[i].Text != must[i] {
							t.Fatalf("%q gave %s, want %q", before, format(given), must)
						}
					}
				}
			}
		})
	}
}

// certain returns the segments of text that are the same whichever of the
// continuations follows.
func certain(unit chunker.Unit, text string, continuations []string) []string {
	same := segments(unit, text)
	for _, c := range continuations {
		other := segments(unit, text+c)
		n := 0
		for n < len(same) && n < len(other) && same[n] == other[n] {
			n++
		}
		same = same[:n]
	}
	return same
}
