package chunker_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tokenrelay/chunker"
)

// benchTexts are texts of the corpus, in the order of the reports.
var benchTexts = []string{"english", "code", "chinese", "emoji", "markdown"}

// message returns the first 4 KiB of a text of the corpus.
func message(b *testing.B, name string) string {
	text := corpus(b)[name]
	return strings.ToValidUTF8(text[:min(len(text), 4096)], "")
}

// BenchmarkMessage cuts a message given whole. For tokens the floor is
// tiktoken-go, which encodes the same message in turns with the chunker.
func BenchmarkMessage(b *testing.B) {
	for _, v := range variants {
		for _, name := range benchTexts {
			b.Run(fmt.Sprintf("%v/%s", v, name), func(b *testing.B) {
				text := message(b, name)
				c := newChunker(b, v.unit, v.encoding)
				var chunks []chunker.Chunk
				cut := func() {
					chunks = c.Push(chunks[:0], text)
					chunks = c.Flush(chunks)
				}
				cut()
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				if v.unit != chunker.Token {
					for b.Loop() {
						cut()
					}
					return
				}
				encoding := reference()[v.encoding]
				var ours, floor time.Duration
				n := 0
				for b.Loop() {
					start := time.Now()
					cut()
					ours += time.Since(start)
					if n++; n%20 == 0 {
						b.StopTimer()
						start := time.Now()
						encoding.EncodeOrdinary(text)
						floor += 20 * time.Since(start)
						b.StartTimer()
					}
				}
				b.ReportMetric(float64(floor)/float64(ours), "×tiktoken-go")
			})
		}
	}
}

// BenchmarkDeltas cuts a message that comes one token at a time, as from a
// model. An operation is one delta.
func BenchmarkDeltas(b *testing.B) {
	for _, v := range variants {
		for _, name := range benchTexts {
			b.Run(fmt.Sprintf("%v/%s", v, name), func(b *testing.B) {
				var deltas []string
				for _, c := range push(newChunker(b, chunker.Token, ""), message(b, name)) {
					deltas = append(deltas, c.Text)
				}
				c := newChunker(b, v.unit, v.encoding)
				var chunks []chunker.Chunk
				i := 0
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for b.Loop() {
					chunks = c.Push(chunks[:0], deltas[i])
					if i++; i == len(deltas) {
						chunks = c.Flush(chunks[:0])
						i = 0
					}
				}
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/delta")
				h := holdbackOf(b, v.unit, v.encoding, message(b, name))
				b.ReportMetric(mean(h.held), "B-held")
				b.ReportMetric(float64(p99(h.held)), "B-held-p99")
				b.ReportMetric(mean(h.late), "deltas-late")
			})
		}
	}
}

// BenchmarkRuns cuts unbroken runs of 16 and of 64 KiB that come 4 bytes at a
// time: an operation is both.
func BenchmarkRuns(b *testing.B) {
	runs := []struct {
		name string
		unit chunker.Unit
		text string
	}{
		{"letter", chunker.Token, "a"}, {"capital", chunker.Token, "A"}, {"blank", chunker.Token, " "}, {"tab", chunker.Token, "\t"},
		{"newline", chunker.Token, "\n"}, {"indent", chunker.Token, "\n       "}, {"dash", chunker.Token, "-"}, {"equals", chunker.Token, "="},
		{"digit", chunker.Token, "7"}, {"cjk", chunker.Token, "语"}, {"caseless", chunker.Token, "语A"}, {"caseless-capitals", chunker.Token, "亚洲AVAVAVAVAVAVAVAV"},
		{"marks", chunker.Token, "\u0301"}, {"emoji", chunker.Token, "👩\u200d"}, {"special", chunker.Token, "<|endoftext|>"},
		{"base64", chunker.Token, "kJ3x9Qz7/bV1+mWp0LsTfGhYcDnXe4uR8oAi2KwB6qHvPjMtZyNrUaSdFgEl5C"},
		{"marks", chunker.Grapheme, "\u0301"}, {"flags", chunker.Grapheme, "🇩"}, {"zwj", chunker.Grapheme, "👩\u200d"},
		{"letter", chunker.Word, "a"}, {"blank", chunker.Word, " "}, {"marks", chunker.Word, "\u0301"}, {"dots", chunker.Word, "a."},
		{"letter", chunker.Line, "a"},
	}
	for _, r := range runs {
		b.Run(fmt.Sprintf("%s/%s", r.unit, r.name), func(b *testing.B) {
			c := newChunker(b, r.unit, "")
			var chunks []chunker.Chunk
			cut := func(text string) time.Duration {
				start := time.Now()
				for i := 0; i < len(text); i += 4 {
					chunks = c.Push(chunks[:0], text[i:min(i+4, len(text))])
				}
				chunks = c.Flush(chunks[:0])
				return time.Since(start)
			}
			short, long := strings.Repeat(r.text, 16<<10/len(r.text)), strings.Repeat(r.text, 64<<10/len(r.text))
			var shorts, longs []time.Duration
			for b.Loop() {
				for range 4 {
					shorts = append(shorts, cut(short))
				}
				longs = append(longs, cut(long))
			}
			s, l := slices.Min(shorts), slices.Min(longs)
			b.ReportMetric(float64(l)/float64(time.Millisecond), "ms/64KiB")
			b.ReportMetric(float64(l)/float64(s), "×-for-4×")
		})
	}
}

// BenchmarkLoad measures what the first chunker of an encoding costs, and what
// of that stays.
func BenchmarkLoad(b *testing.B) {
	for _, name := range vocabularies {
		b.Run(name, func(b *testing.B) {
			var kept any
			before := heap()
			for b.Loop() {
				kept = chunker.LoadAgain(name)
			}
			b.ReportMetric(float64(heap()-before)/1e6, "MB")
			runtime.KeepAlive(kept)
		})
	}
}

// BenchmarkStreams measures the memory of a chunker that is in the middle of a
// text.
func BenchmarkStreams(b *testing.B) {
	for _, v := range variants {
		for _, name := range benchTexts[:3] {
			b.Run(fmt.Sprintf("%v/%s", v, name), func(b *testing.B) {
				var deltas []string
				for _, c := range push(newChunker(b, chunker.Token, ""), message(b, name)) {
					deltas = append(deltas, c.Text)
				}
				for b.Loop() {
					const n = 1000
					open := make([]chunker.Chunker, n)
					var chunks []chunker.Chunk
					before := heap()
					for i := range open {
						open[i] = newChunker(b, v.unit, v.encoding)
						for _, d := range deltas[:len(deltas)*i/n] {
							chunks = open[i].Push(chunks[:0], d)
						}
					}
					b.ReportMetric(float64(heap()-before)/n, "B/stream")
					runtime.KeepAlive(open)
				}
			})
		}
	}
}

// heap returns the bytes that live objects take.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one only handed to pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
