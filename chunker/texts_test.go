package chunker_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// awkward are short texts, each of which some chunker could get wrong.
var awkward = []string{
	"",
	"a",
	"Hello, world! It's 12345 o'clock.",
	"HTTPServer's XMLHttpRequest, iPhone'S, we'LL, I'D've'll",
	"'s 't 're 've 'm 'll 'd 'sup 'RE 'r 'v 'l 'x '' ''s",
	" 's x's 9's\n's 中's é's",
	"foo\n  ", "foo\n  \n", "a\n \nb", "\r\n\r\n", "a\rb\nc\r\nd", "\r", "\n\r", "  \t x", "\t\tx", "\u00a0x", "\u3000\u3000x", "a\u0085b",
	"\u2028a\u2029 \u0085", " \u00a0 ", "\u00a0.", " .", "  .", ". .", "x  12", "x 12", "1234567", "٣٤٥٦", "½²Ⅷ",
	"// comment\n/\r\n/x", "a/\n/b", "?!\n\n//\n x", "{\n\t\"k\": [1, 2],\n}\n",
	"<|endoftext|>", "a<|endofprompt|>b<|fim_prefix|>", "<|endoftext|><|endoftext|>",
	"世界你好，今天天气不错。", "亚洲AV", "亚洲AVs!", " 天天中彩票APP下载", "無料ABCdef", "ǅabc ǅAB", "ʰABC", "ªb",
	"e\u0301a\u0301\u0301 \u0301 \u0301a .\u0301b ..\u0301c\u0301", "\u0301AB", "\u0301\u0301AB\u0301CD", "A\u0301BC", " \u0301AB", ".\u0301AB",
	"👨‍👩‍👧‍👦 🇩🇪🇫🇷🇩 👍🏽 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣", "क्षि स्त्री", "각한글 ᄀ\u1161\u11a8", "ก็ ลำ", "ب\u064eت", "שָׁלוֹם",
	"\ufeffbom", "\x00\x01\x7f\u0080\u009f", "\u200b\u200d\u200c", "𝒳𝓎𐐀𐐨", "𠀀𠀁𪚥", "\U0010ffff\U000e0001",
	"\xff", "a\x80b", "\xe4\xb8", "\xe4\xb8\xad\xe4", "\xf0\x9f\x98", "\xf0\x9f\x98\x80\xf0\x9f", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3\xc3\xa9", "\xe4\xb8\xe4\xb8\xad", "'\xe4s",
}

// fragments are what generated texts are made of.
var fragments = []string{
	"the ", "Hello", " world", "ing", "ABC", "XMLHttp", " don't", "'s", "'LL", "'re", "'", "’s", ". ", ", ", "?!", "...", "\"", "(", ")", "/", "//", "\\",
	"0", "42", "1234", " 7", "½", "٣", "\n", "\n\n", "\r\n", "\r", " ", "  ", "    ", "\t", "\n    ", "\n\t", " \n", "\u00a0", "\u3000", "\u0085", "\u2028", "\u2003",
	"func (s *T) ", "{\n\t", "}\n", " := ", "!=", "<|endoftext|>", "<|fim_middle|>", "<|", "----", "====", "# ", "* ", "| --- |", "```go\n", "https://a.b/c?d=e&f=%20",
	"世界", "你", "，", "。", "日本語テスト", "ー", "한국어", "ᄀ", "亚洲", "AV", "APP", "无码",
	"é", "e\u0301", "\u0301", "\u0489", "ß", "ǅ", "ʰ", "ª", "Ω", "ж", "ЖУК", "ไทย", "हिन्दी", "्", "क", "ا", "ל",
	"😀", "👨‍👩‍👧", "👍🏽", "🇩🇪", "🇩", "❤️", "\u200d", "\ufe0f", "🏽", "1️⃣", "\ufffd", "\ufeff", "\u200b", "\x00", "\x7f", "𝒳", "𠀀", "\u00ad",
}

// damage is invalid UTF-8.
var damage = []string{"\xff", "\x80", "\xe4", "\xe4\xb8", "\xf0\x9f\x98", "\xc0", "\xed\xa0\x80", "\xf5", "\xc3"}

// generators make random texts of about n bytes, each of one kind.
var generators = map[string]func(rng *rand.Rand, n int) string{
	"prose":        oneOf("the ", "Hello ", "and ", "going ", "unreasonable ", "Iñtërnâtiônàl ", "Alice’s ", "rabbit-hole ", ". ", ", ", "?\n", "“Oh!” ", "\n\n", "42 ", "1984 ", "über ", "naïve "),
	"code":         oneOf("func ", "(s *T) ", "{\n\t", "\t\t", "}\n", " := ", "!= nil", "err", "return ", "camelCase", "SCREAMING_CASE", "XMLHttp", "0x1F", "// ", "/*", "*/\n", "\"%d\"", "()", "[]", "    ", "\r\n", ";", "<div class=\"x\">", "https://a.b/c?d=e&f=%20"),
	"cjk":          oneOf("世界", "你", "，", "。", "日本語テスト", "ー", "한국어 ", "ᄀ", "亚洲", "的", "是", "不", "了", "1", "、", "「", "」\n", "𠀀", "AI", "ﾊﾛｰ"),
	"emoji":        oneOf("😀", "👨‍👩‍👧", "👍🏽", "🇩🇪", "🇩", "❤️", "\u200d", "\ufe0f", "🏽", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", " ", "lol", "☕", "👩\u200d🚀"),
	"contractions": oneOf("a", "B", "we", "I", "'", "’", "s", "S", "t", "m", "d", "re", "RE", "v", "e", "ll", "L", " ", "'s", "'LL", "'ve", ".", "世", "\u0301", "r"),
	"blanks":       oneOf(" ", " ", " ", "\n", "\r", "\r\n", "\t", "\u00a0", "x", ".", "/", "5", "\u3000", "\u0301", "\u0085", "\u2028", "\v"),
	"marks":        oneOf("e\u0301", "\u0301", "\u0489", "a", "A", " ", ".", "हि", "्", "क", "ไทย", "שָׁ", "ب\u064e", "ǅ", "ʰ", "ª", "1", "\u20dd", "\n"),
	"specials":     oneOf("<|endoftext|>", "<|fim_middle|>", "<|endofprompt|>", "<|im_start|>", "<|", "|>", "<", "|", "endoftext", " ", "\n", "a", "<|start|>assistant"),
	"capitals":     oneOf("亚洲", "A", "V", "AV", "APP", "无码", " 天天中彩票", "s", "语", "ʰ", "ǅ", "\u0301", "'s", "!", " "),
	"letters":      oneOf(strings.Split("a b c d e f g h i j k l m n o p q r s t u v w x y z A B C X 0 1 2 9 + /", " ")...),
	"runs":         run,
	"damaged":      damaged,
	"fragments":    oneOf(fragments...),
	"code points":  codePoints,
}

// oneOf makes texts of the parts.
func oneOf(parts ...string) func(*rand.Rand, int) string {
	return func(rng *rand.Rand, n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(parts[rng.IntN(len(parts))])
		}
		return b.String()
	}
}

// run repeats few fragments, with little between.
func run(rng *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		part := fragments[rng.IntN(len(fragments))]
		if rng.IntN(3) == 0 {
			part += fragments[rng.IntN(len(fragments))]
		}
		b.WriteString(strings.Repeat(part, 1+rng.IntN(1+n/len(part))))
	}
	return b.String()
}

func damaged(rng *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		if rng.IntN(4) == 0 {
			b.WriteString(damage[rng.IntN(len(damage))])
		}
		b.WriteString(fragments[rng.IntN(len(fragments))])
	}
	return b.String()
}

func codePoints(rng *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		r := rune(rng.IntN(0x3000))
		if rng.IntN(8) == 0 {
			r = rune(rng.IntN(utf8.MaxRune + 1))
		}
		b.WriteRune(r)
	}
	return b.String()
}

var kinds = slices.Sorted(maps.Keys(generators))

// generate returns a text of about n bytes, of any kind.
func generate(rng *rand.Rand, n int) string {
	return generators[kinds[rng.IntN(len(kinds))]](rng, n)
}

// corpus are texts as people and models write them.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	m := map[string]string{"emoji": generators["emoji"](rand.New(rand.NewPCG(7, 8)), 4000)}
	for _, name := range []string{"english", "code", "chinese", "markdown"} {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		m[name] = string(text)
	}
	return m
}

// long are texts with units past every limit.
func long() map[string]string {
	return map[string]string{
		"letter":    strings.Repeat("a", 9000),
		"capital":   strings.Repeat("A", 9000),
		"blanks":    strings.Repeat(" ", 5000) + "x",
		"newlines":  strings.Repeat("\n", 5000) + strings.Repeat(" \n", 1500),
		"indent":    strings.Repeat("\n       ", 900),
		"dashes":    strings.Repeat("-=", 3000),
		"cjk":       strings.Repeat("语", 2000),
		"caseless":  "亚洲" + strings.Repeat("AV", 2000) + "s",
		"marks":     "a" + strings.Repeat("\u0301", 3000),
		"replaced":  "é" + strings.Repeat("\u0301", 126) + "\xe4\xb8", // U+FFFD across the limit, at Flush
		"emoji":     strings.Repeat("👩\u200d", 700),
		"flags":     strings.Repeat("🇩", 301),
		"invalid":   strings.Repeat("\xe4\xb8", 3000),
		"lines":     strings.Repeat("x", 4095) + "\r\n" + strings.Repeat("y", 4094) + "\r\n" + strings.Repeat("é", 2047) + "z\r\r\n",
		"multibyte": "a" + strings.Repeat("é", 5000) + strings.Repeat("😀", 3000),
		"specials":  strings.Repeat("<|endoftext|>", 400),
	}
}

// split returns text in pieces of 1 to longest bytes.
func split(rng *rand.Rand, text string, longest int) []string {
	var parts []string
	for text != "" {
		n := min(1+rng.IntN(longest), len(text))
		parts, text = append(parts, text[:n]), text[n:]
	}
	return parts
}
