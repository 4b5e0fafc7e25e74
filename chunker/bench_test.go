package chunker_test

import (
	"fmt"
	"strings"
	"testing"

	"tokenrelay/chunker"
)

// messages are of 4 KiB. A message repeats itself, which flatters caches.
var messages = []struct{ name, text string }{
	{"english", message("It was late when the two of them came down from the hills, and the town below was already dark except for the harbour, " +
		"where a single lamp swung above the customs house. \"We won't be expected,\" she said; he didn't answer. Forty-three years earlier, " +
		"in the winter of 1931, his grandfather had walked the same road with nothing but a coat, a letter, and an unreasonable hope.\n\n")},
	{"code", message("func (s *Server) handle(w http.ResponseWriter, r *http.Request) {\n\tid, err := strconv.ParseUint(r.PathValue(\"id\"), 10, 64)\n" +
		"\tif err != nil {\n\t\thttp.Error(w, err.Error(), http.StatusBadRequest)\n\t\treturn\n\t}\n\ts.mu.Lock()\n\tdefer s.mu.Unlock()\n" +
		"\tfor i, f := range s.frames[id:] { // oldest first\n\t\tfmt.Fprintf(w, \"%d: %s\\n\", i+1, f.Data)\n\t}\n}\n\n")},
	{"chinese", message("天色已经很晚了，他们两个人才从山上下来，山下的小镇一片漆黑，只有港口海关大楼的上方还挂着一盏孤灯，在风里轻轻地摇晃。" +
		"她说没有人在等我们，他没有回答。四十三年以前的那个冬天，他的祖父也走过同一条路，身上只有一件大衣、一封信和一个不合情理的希望。\n")},
	{"emoji", message("so good 😂😂 see you at 8 👩‍👩‍👧‍👦🎉 nice!! 👍🏽 omg 🇩🇪🇫🇷 ❤️‍🔥 lol 🙈 done ✅ ")},
}

func message(s string) string {
	return strings.ToValidUTF8(strings.Repeat(s, 4096/len(s)+1)[:4096], "")
}

// BenchmarkMessage cuts a message given whole.
func BenchmarkMessage(b *testing.B) {
	for _, v := range variants {
		for _, m := range messages {
			b.Run(fmt.Sprintf("%v/%s", v, m.name), func(b *testing.B) {
				c := newChunker(b, v.unit, v.encoding)
				var chunks []chunker.Chunk
				b.SetBytes(int64(len(m.text)))
				b.ReportAllocs()
				for b.Loop() {
					chunks = c.Push(chunks[:0], m.text)
					chunks = c.Flush(chunks)
				}
			})
		}
	}
}

// BenchmarkDeltas cuts a message that comes one token at a time, as from a
// model. An operation is one delta.
func BenchmarkDeltas(b *testing.B) {
	for _, v := range variants {
		for _, m := range messages {
			b.Run(fmt.Sprintf("%v/%s", v, m.name), func(b *testing.B) {
				var deltas []string
				for _, c := range push(newChunker(b, chunker.Token, ""), m.text) {
					deltas = append(deltas, c.Text)
				}
				c := newChunker(b, v.unit, v.encoding)
				var chunks []chunker.Chunk
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					chunks = c.Push(chunks[:0], deltas[i])
					if i++; i == len(deltas) {
						chunks = c.Flush(chunks[:0])
						i = 0
					}
				}
			})
		}
	}
}

// BenchmarkRuns cuts unbroken runs of two lengths: MB/s must not fall with the
// length.
func BenchmarkRuns(b *testing.B) {
	runs := []struct {
		name string
		unit chunker.Unit
		text string
	}{
		{"letter", chunker.Token, "a"}, {"blank", chunker.Token, " "}, {"dash", chunker.Token, "-"}, {"cjk", chunker.Token, "语"},
		{"indent", chunker.Token, "\n       "}, {"caseless", chunker.Token, "语A"}, {"random", chunker.Token, "kJ3x9Qz7/bV1+mW"},
		{"mark", chunker.Grapheme, "\u0301"}, {"flag", chunker.Grapheme, "🇩"}, {"long", chunker.Line, "a"},
	}
	for _, r := range runs {
		for _, size := range []int{16 << 10, 64 << 10} {
			for _, delta := range []int{4, size} {
				text := strings.Repeat(r.text, size/len(r.text))
				b.Run(fmt.Sprintf("%s/%s/%dKiB/by%d", r.unit, r.name, size>>10, delta), func(b *testing.B) {
					c := newChunker(b, r.unit, "")
					var chunks []chunker.Chunk
					b.SetBytes(int64(len(text)))
					for b.Loop() {
						for i := 0; i < len(text); i += delta {
							chunks = c.Push(chunks[:0], text[i:min(i+delta, len(text))])
						}
						chunks = c.Flush(chunks[:0])
					}
				})
			}
		}
	}
}

// BenchmarkLoad measures what the first chunker of an encoding costs.
func BenchmarkLoad(b *testing.B) {
	for _, name := range chunker.Encodings() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := chunker.LoadAgain(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
