package chunker_test

import (
	"slices"
	"strings"
	"testing"

	"tokenrelay/chunker"
)

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
			var got []string
			for _, c := range push(newChunker(t, chunker.Grapheme, ""), text[:i], text[i:]) {
				got = append(got, c.Text)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q cut at %d: clusters %q, want %q", text, i, got, want)
			}
		}
	}
}

func TestLine(t *testing.T) {
	tests := [][]string{
		{"a\n", "\n", "b"},
		{"a\r\n", "b\r", "c\n", "\r", "\r\n", "\r"},
		{"\n", "\r", "\r", "x"},
		{"a\u2028b\u0085c\v\f\n"},
	}
	for _, want := range tests {
		text := strings.Join(want, "")
		for i := range len(text) + 1 {
			var got []string
			for _, c := range push(newChunker(t, chunker.Line, ""), text[:i], text[i:]) {
				got = append(got, c.Text)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q cut at %d: lines %q, want %q", text, i, got, want)
			}
		}
	}
}
