package upstreamtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// sentences is how many Text writes.
const sentences = 64

// What sentences are made of: characters of one to four bytes, of several code
// points, and those that JSON, HTML and shells escape.
var (
	subjects = []string{"A naïve café", "Der große Fluß", "The e\u0301migre\u0301", "日本語の文章", "Ελλάδα", "A family 👩‍👩‍👧", "The flag 🏳️‍🌈", `The "quoted" one`, "Привет, мир"}
	verbs    = []string{"waits for", "crosses", "remembers", "→ maps to", "is not", "counts\tup to", "streams past"}
	objects  = []string{"seven bridges", "中文字符", `C:\temp\new`, "<b>bold & brave</b>", "an emoji 😀", "two flags 🇩🇪🇯🇵", "a thumb 👍🏽", "half a line\nbreak", "tomorrow"}
)

// Text is the whole answer to prompt: 64 numbered sentences, so that a join
// that loses or repeats something shows where.
func Text(prompt string) string {
	hash := fnv.New64a()
	io.WriteString(hash, prompt)
	random := rand.New(rand.NewPCG(hash.Sum64(), 0))
	var b strings.Builder
	for n := 1; n <= sentences; n++ {
		switch {
		case n == 1:
		case n%5 == 1:
			b.WriteString("\n\n")
		default:
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d. %s %s %s.", n, pick(random, subjects), pick(random, verbs), pick(random, objects))
	}
	return b.String()
}

func pick(random *rand.Rand, words []string) string { return words[random.IntN(len(words))] }

// pieces cuts text into JSON strings of size units each.
func pieces(text string, size int, unit Unit) []string {
	var cut []string
	if unit == UTF16 {
		units := utf16.Encode([]rune(text))
		for len(units) > 0 {
			n := min(size, len(units))
			cut = append(cut, quoteUTF16(units[:n]))
			units = units[n:]
		}
		return cut
	}
	for len(text) > 0 {
		end, n := 0, 0
		for end < len(text) {
			_, width := utf8.DecodeRuneInString(text[end:])
			if unit == Bytes {
				n += width
			} else {
				n++
			}
			if n > size && end > 0 {
				break
			}
			end += width
		}
		cut = append(cut, quote(text[:end]))
		text = text[end:]
	}
	return cut
}

// quote returns s as a JSON string.
func quote(s string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.Encode(s) // of a string it cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// quoteUTF16 returns units as a JSON string, in which half of a surrogate pair
// is an escape such as \ud83d.
func quoteUTF16(units []uint16) string {
	var b strings.Builder
	b.WriteByte('"')
	for len(units) > 0 {
		r, n := rune(units[0]), 1
		if utf16.IsSurrogate(r) && len(units) > 1 {
			if pair := utf16.DecodeRune(r, rune(units[1])); pair != utf8.RuneError {
				r, n = pair, 2
			}
		}
		if utf16.IsSurrogate(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteString(inner(quote(string(r))))
		}
		units = units[n:]
	}
	b.WriteByte('"')
	return b.String()
}

// inner returns a JSON string without its quotes. Those of the pieces of a
// text, joined, are that of the text, even if its characters were cut.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }
