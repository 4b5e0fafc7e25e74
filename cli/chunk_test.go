package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"tokenrelay/chunker"
)

// chunkSample has what each unit makes something else of.
const chunkSample = "Hello, 世界! 👩‍👩‍👧 don’t\r\n🐋 q\u0303"

// writeFile returns the path of a file with this text.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// chunk runs the command on a file with this text.
func chunk(t *testing.T, text string, args ...string) (status int, out, notes string) {
	t.Helper()
	cleanEnv(t)
	var o, e bytes.Buffer
	status = run(t.Context(), append([]string{"chunk", writeFile(t, text)}, args...), streams{out: &o, err: &e})
	return status, o.String(), e.String()
}

func TestChunkUnits(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--count --json --model=openai/GPT-4", "\n" + `{"unit":"token","encoding":"cl100k_base","bytes":51,"chunks":17,"units":28,"capped":0,"invalid":0}` + "\n"},
		{"", `
1	"Hello"	13225
2	","	11
3	" 世界"	185558
4	"!"	0
5	" 👩"	61138,102
6	"\u200d"	2524
7	"👩"	28823,102
8	"\u200d"	2524
9	"👧"	28823,100
10	" don"	1700
11	"’t"	1573
12	"\r\n"	370
13	"🐋"	139749,233
14	" q"	2335
15	"\u0303"	52279
`},
		{"--encoding=cl100k_base", `
1	"Hello"	9906
2	","	11
3	" "	220
4	"世"	3574,244
5	"界"	98220
6	"!"	0
7	" 👩"	62904,102
8	"\u200d"	378,235
9	"👩"	9468,239,102
10	"\u200d"	378,235
11	"👧"	9468,239,100
12	" don"	1541
13	"’t"	1431
14	"\r\n"	319
15	"🐋"	9468,238,233
16	" q"	2874
17	"\u0303"	136,225
`},
		{"--model=gpt-4 --count", "\nunit\ttoken\nencoding\tcl100k_base\nbytes\t51\nchunks\t17\nunits\t28\ncapped\t0\ninvalid\t0\n"},
		{"--unit=grapheme", `
1	"H"
2	"e"
3	"l"
4	"l"
5	"o"
6	","
7	" "
8	"世"
9	"界"
10	"!"
11	" "
12	"👩‍👩‍👧"
13	" "
14	"d"
15	"o"
16	"n"
17	"’"
18	"t"
19	"\r\n"
20	"🐋"
21	" "
22	"q̃"
`},
		{"-u rune", `
1	"H"
2	"e"
3	"l"
4	"l"
5	"o"
6	","
7	" "
8	"世"
9	"界"
10	"!"
11	" "
12	"👩"
13	"\u200d"
14	"👩"
15	"\u200d"
16	"👧"
17	" "
18	"d"
19	"o"
20	"n"
21	"’"
22	"t"
23	"\r"
24	"\n"
25	"🐋"
26	" "
27	"q"
28	"\u0303"
`},
		{"--unit=word", `
1	"Hello"
2	","
3	" "
4	"世"
5	"界"
6	"!"
7	" "
8	"👩‍👩‍👧"
9	" "
10	"don’t"
11	"\r\n"
12	"🐋"
13	" "
14	"q̃"
`},
		{"--unit=line", `
1	"Hello, 世界! 👩‍👩‍👧 don’t\r\n"
2	"🐋 q̃"
`},
		{"--unit=line --json", `
{"id":1,"text":"Hello, 世界! 👩‍👩‍👧 don’t\r\n","units":1,"last":1}
{"id":2,"text":"🐋 q̃","units":1,"last":2}
`},
		{"--count", "\nunit\ttoken\nencoding\to200k_base\nbytes\t51\nchunks\t15\nunits\t19\ncapped\t0\ninvalid\t0\n"},
		{"--count --json -u line", "\n" + `{"unit":"line","bytes":51,"chunks":2,"units":2,"capped":0,"invalid":0}` + "\n"},
	} {
		status, out, notes := chunk(t, chunkSample, strings.Fields(test.args)...)
		if want := test.want[1:]; status != 0 || out != want || notes != "" {
			t.Errorf("chunk %s: status %d, notes %q, got\n%swant\n%s", test.args, status, notes, out, want)
		}
	}
}

// documented finds a command with what it prints: after a prompt, or in a block
// before that of its output.
var documented = regexp.MustCompile("(?m)^(?:\\$ |```sh\n)((?:printf|echo|tokenrelay chunk) .*)\n(?:```\n\n```\n)?((?:[^$`\n].*\n)*)")

// What the documentation shows is what comes out.
func TestChunkDocs(t *testing.T) {
	for file, want := range map[string]int{"../docs/chunking.md": 8, "../README.md": 1} {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, shown := "", 0
		for _, found := range documented.FindAllStringSubmatch(string(doc), -1) {
			command, want := found[1], found[2]
			switch quoted := strings.FieldsFunc(command, func(r rune) bool { return r == '"' || r == '\'' }); quoted[0] {
			case "printf ":
				text = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(quoted[1])
				continue
			case "echo ":
				text = quoted[1] + "\n"
			}
			_, args, ok := strings.Cut(command, "tokenrelay chunk")
			if !ok {
				continue
			}
			args, column := strings.CutSuffix(args, " | cut -f2 | paste -sd' ' -")
			_, got, _ := chunk(t, text, strings.Fields(strings.TrimSuffix(args, " sample.txt"))...)
			if column {
				var texts []string
				for line := range strings.Lines(got) {
					texts = append(texts, strings.Split(strings.TrimSuffix(line, "\n"), "\t")[1])
				}
				got = strings.Join(texts, " ") + "\n"
			}
			if got != want {
				t.Errorf("%s: %s gives\n%swant\n%s", file, command, got, want)
			}
			shown++
		}
		if shown != want {
			t.Errorf("%s shows %d commands, want %d", file, shown, want)
		}
	}
}

// Each unit that there is has been shown, and can be asked for.
func TestChunkEveryUnit(t *testing.T) {
	var help bytes.Buffer
	run(t.Context(), []string{"chunk", "--help"}, streams{out: &help, err: io.Discard})
	for _, unit := range chunkUnits() {
		if status, _, notes := chunk(t, "x", "--unit", string(unit)); status != 0 || notes != "" {
			t.Errorf("unit %s: status %d, %q", unit, status, notes)
		}
		if !strings.Contains(help.String(), "\n    "+string(unit)+" ") {
			t.Errorf("the help does not tell of the unit %s", unit)
		}
	}
	for _, encoding := range chunker.Encodings() {
		if status, _, notes := chunk(t, "x", "--encoding", encoding); status != 0 || notes != "" {
			t.Errorf("encoding %s: status %d, %q", encoding, status, notes)
		}
		if !strings.Contains(help.String(), encoding) {
			t.Errorf("the help does not tell of the encoding %s", encoding)
		}
	}
}

// A chunkLine is what --json prints of a chunk.
type chunkLine struct {
	ID     int
	Text   string
	Units  int
	Last   uint64
	Tokens []int
}

// Both forms say the same, and the texts are the text.
func TestChunkForms(t *testing.T) {
	text := chunkSample + "\x00\x1b[2J\u202e\u2028\u0085\ufeff\u200d\"\\\t<&> 𠀀\U000e0001 end"
	_, out, _ := chunk(t, text, "--json")
	_, plain, _ := chunk(t, text)
	plainLines := strings.Split(plain, "\n")
	var joined strings.Builder
	var last uint64
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		var c chunkLine
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		last += uint64(c.Units)
		if c.ID != i+1 || c.Last != last || len(c.Tokens) != c.Units || c.Units == 0 {
			t.Errorf("line %d: %s", i+1, line)
		}
		joined.WriteString(c.Text)
		columns := strings.Split(plainLines[i], "\t")
		ids, _ := json.Marshal(c.Tokens)
		var quoted string
		if err := json.Unmarshal([]byte(columns[1]), &quoted); err != nil || columns[0] != fmt.Sprint(c.ID) || quoted != c.Text || "["+columns[2]+"]" != string(ids) {
			t.Errorf("line %d is %q, want %s", i+1, columns, line)
		}
	}
	if joined.String() != text {
		t.Errorf("the texts are %q, want %q", &joined, text)
	}
}

func TestQuoted(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", `""`},
		{`a "b" \n`, `"a \"b\" \\n"`},
		{"\n\r\t\x00\x1b\x7f\u0085\u009b", `"\n\r\t\u0000\u001b\u007f\u0085\u009b"`},
		{"a\u202eb\u2066\u200f\u2028\ufeff\u00ad", `"a\u202eb\u2066\u200f\u2028\ufeff\u00ad"`},
		{"\u00a0 \u3000", `"\u00a0 \u3000"`},
		{"👩\u200d👧", "\"👩\u200d👧\""},
		{"\u200d", `"\u200d"`},
		{"👩\u200d", `"👩\u200d"`},
		{"\u0301e\u0301", "\"\\u0301e\u0301\""},
		{"\U000e0001\U0010ffff\U000f0000", `"\udb40\udc01\udbff\udfff\udb80\udc00"`},
		{"世界 ÄÖ שלום 𝒳 \ufffd", "\"世界 ÄÖ שלום 𝒳 \ufffd\""},
	} {
		if got := string(appendQuoted([]byte("x"), test.text)); got != "x"+test.want {
			t.Errorf("quoted %+q is %+q, want %+q", test.text, got[1:], test.want)
		}
	}
	// Whatever it is: JSON, and nothing that a terminal obeys.
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) || r >= 0x30000 && r < 0xe0000 {
			continue
		}
		for _, text := range []string{string(r), "a" + string(r) + "b"} {
			quoted := appendQuoted(nil, text)
			var back string
			if err := json.Unmarshal(quoted, &back); err != nil || back != text {
				t.Fatalf("%+q is quoted as %q, which is %+q, error %v", text, quoted, back, err)
			}
			for _, r := range string(quoted) {
				if unicode.Is(unicode.C, r) && r != '\u200c' && r != '\u200d' || unicode.In(r, unicode.Zl, unicode.Zp) {
					t.Fatalf("%+q is quoted as %+q", text, quoted)
				}
			}
		}
	}
}

// How the text is read makes no difference.
func TestChunkReads(t *testing.T) {
	var text strings.Builder
	rng := rand.New(rand.NewPCG(1, 2))
	for text.Len() < 200<<10 {
		text.WriteString([]string{"word ", "é", "世界", "👩‍👩‍👧", "\r\n", "\n", "\xe4\xb8", "\xff", "e\u0301", "x1 ", "  ", "'ll"}[rng.IntN(12)])
	}
	for _, unit := range chunkUnits() {
		cut := func(r io.Reader) (string, totals) {
			t.Helper()
			p := &printer{json: true}
			var out bytes.Buffer
			p.out = bufio.NewWriter(&out)
			encoding := ""
			if unit == chunker.Token {
				encoding = chunker.DefaultEncoding
			}
			p.encoding = encoding
			c, err := chunker.New(unit, encoding)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.cut(t.Context(), c, r, nil); err != nil {
				t.Fatal(err)
			}
			return out.String(), p.totals
		}
		want, sums := cut(strings.NewReader(text.String()))
		if valid := strings.ToValidUTF8(text.String(), ""); sums.in != int64(text.Len()) || sums.invalid() != sums.in-int64(len(valid)) {
			t.Errorf("%s: %d bytes in, %d invalid, want %d and %d", unit, sums.in, sums.invalid(), text.Len(), text.Len()-len(valid))
		}
		for name, r := range map[string]io.Reader{
			"bytes":    iotest.OneByteReader(strings.NewReader(text.String())),
			"halves":   iotest.HalfReader(strings.NewReader(text.String())),
			"data EOF": iotest.DataErrReader(strings.NewReader(text.String())),
		} {
			if got, again := cut(r); got != want || again != sums {
				t.Errorf("%s: read in %s the chunks differ", unit, name)
			}
		}
	}
	c, err := chunker.New(chunker.Rune, "")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := &printer{out: bufio.NewWriter(&out)}
	broken := io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrNoProgress))
	if err := p.cut(t.Context(), c, broken, nil); err != io.ErrNoProgress || out.String() != "1\t\"a\"\n2\t\"b\"\n" {
		t.Errorf("a failing reader: %v, %q", err, &out)
	}
}

// A writerFunc is called for each Write.
type writerFunc func()

func (f writerFunc) Write(b []byte) (int, error) { f(); return len(b), nil }

// An interrupt is told though the end of the text came at the same time.
func TestChunkInterruptAtEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			c, err := chunker.New(chunker.Rune, "")
			if err != nil {
				t.Fatal(err)
			}
			p := &printer{out: bufio.NewWriter(writerFunc(func() { cancel(); synctest.Wait() }))}
			if err := p.cut(ctx, c, iotest.DataErrReader(iotest.OneByteReader(strings.NewReader("ab"))), nil); err != context.Canceled {
				t.Fatalf("%v after %d bytes, want %v", err, p.totals.in, context.Canceled)
			}
		}
	})
}

// What cannot be is refused as any wrong command line, with what to do.
func TestBadChunk(t *testing.T) {
	file, folder := writeFile(t, "x"), t.TempDir()
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"unit", []string{"--unit=char"}, `there is no unit "char"; want rune, grapheme, token, word or line`},
		{"delta", []string{"--unit=delta"}, "a text has no deltas until a model sends it; want rune"},
		{"encoding", []string{"--encoding=gpt2"}, `there is no encoding "gpt2"; want cl100k_base`},
		{"encoding of another unit", []string{"--unit=rune", "--encoding=o200k_base"}, "--encoding goes with --unit=token"},
		{"model of another unit", []string{"--unit=line", "--model=gpt-4o"}, "--model goes with --unit=token"},
		{"both", []string{"--model=gpt-4o", "--encoding=o200k_base"}, "--model chooses the encoding itself; give it or --encoding"},
		{"unit in other case", []string{"--unit=Token"}, `there is no unit "Token"; did you mean token?`},
		{"unit without a value", []string{"--unit"}, "--unit: wants a name, such as word"},
		{"model without a value", []string{file, "--model"}, "--model: wants a name, such as gpt-4o"},
		{"empty model", []string{"--model=", file}, "--model: wants a name, such as gpt-4o"},
		{"empty encoding", []string{"--unit=rune", "--encoding="}, "--encoding: wants a name, such as o200k_base"},
		{"model that is a flag", []string{"--model", "--json"}, "--model: wants a name, such as gpt-4o"},
		{"no file", []string{file + "x"}, "there is no file"},
		{"directory", []string{folder}, "is a directory; name a file in it"},
		{"two files", []string{file, file}, "unexpected argument"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cleanEnv(t)
			var out, complaint bytes.Buffer
			status := run(t.Context(), append([]string{"chunk"}, test.args...), streams{out: &out, err: &complaint})
			got := complaint.String()
			if status != 2 || !strings.HasPrefix(got, "tokenrelay: ") || !strings.Contains(got, test.want) || !strings.HasSuffix(got, "\nSee tokenrelay chunk --help.\n") || strings.Count(got, "\n") != 2 || out.Len() > 0 {
				t.Errorf("status %d and %q, want 2 and %q", status, got, test.want)
			}
		})
	}
	// No variable changes what comes out.
	for name, value := range map[string]string{"TOKENRELAY_UNIT": "line", "TOKENRELAY_JSON": "1", "TOKENRELAY_MODEL": "openai/x", "TOKENRELAY_COUNT": "1"} {
		t.Setenv(name, value)
		var out, notes bytes.Buffer
		if status := run(t.Context(), []string{"chunk", file}, streams{out: &out, err: &notes}); status != 0 || out.String() != "1\t\"x\"\t87\n" || notes.Len() > 0 {
			t.Errorf("with %s: status %d, %q, %q", name, status, &out, &notes)
		}
		os.Unsetenv(name)
	}
}

// What a reader of the chunks should know is told beside them.
func TestChunkNotes(t *testing.T) {
	for _, test := range []struct {
		text, args string
		want       string
	}{
		{"a\xffb\xe4\xb8", "", "Not valid UTF-8, and shown as U+FFFD: 3 bytes.\n"},
		{"a\xff", "--count", "Not valid UTF-8, and shown as U+FFFD: 1 byte.\n"},
		{"a\xff", "--quiet", ""},
		{"\xff\xfeh\x00i\x00", "", "Not valid UTF-8, and shown as U+FFFD: 2 bytes. The text looks like UTF-16.\n"},
		{"\xfe\xff\x00h\x00i", "-u line", "Not valid UTF-8, and shown as U+FFFD: 2 bytes. The text looks like UTF-16.\n"},
		{"\ufeffhi\xff", "", "Not valid UTF-8, and shown as U+FFFD: 1 byte.\n"},
		{"\ufffd", "", ""},
		{strings.Repeat("x", 5000), "-u line", "Cut at the longest length of a line, not where the text ends one: 1 time.\n"},
		{"a", "--model=gpt-4o", ""},
		{"a", "--model=openai/gpt-4o-mini", ""},
		{"a", "--model=some-model", "The encoding of the model \"some-model\" is not known: its tokens are approximated with o200k_base.\n"},
		{"a", "--model=some-model -q", ""},
		{"", "", ""},
	} {
		if status, _, notes := chunk(t, test.text, strings.Fields(test.args)...); status != 0 || notes != test.want {
			t.Errorf("%.9q %s: status %d, notes %q, want %q", test.text, test.args, status, notes, test.want)
		}
	}
}

// A meter comes late, seldom, and leaves nothing behind.
func TestMeter(t *testing.T) {
	var now time.Time
	clock := func() time.Time { return now }
	var screen bytes.Buffer
	width := 0
	columns := func() int { return width }
	m := newMeter(&screen, clock, columns, 4_000_000, chunker.Token)
	show := func(after time.Duration, in, units int64, want string) {
		t.Helper()
		now = time.Time{}.Add(after)
		screen.Reset()
		m.show(&totals{in: in, units: units})
		if got := screen.String(); got != want {
			t.Errorf("after %v: %q, want %q", after, got, want)
		}
	}
	show(999*time.Millisecond, 100, 1, "")
	show(time.Second, 1_000_000, 250_000, eraseLine+"1.0 of 4.0 MB, 25%, 1.0 MB/s, 250,000 tokens")
	show(1200*time.Millisecond, 1_500_000, 300_000, "")
	show(1250*time.Millisecond, 2_500_000, 1, eraseLine+"2.5 of 4.0 MB, 62%, 2.0 MB/s, 1 token")
	show(9*time.Second, 4_500_000, 1_234_567, eraseLine+"4.5 of 4.0 MB, 100%, 0.5 MB/s, 1,234,567 tokens") // a file that grew
	screen.Reset()
	m.erase()
	m.erase()
	if got := screen.String(); got != eraseLine {
		t.Errorf("erased with %q, want %q once", got, eraseLine)
	}
	m = newMeter(&screen, clock, columns, 0, chunker.Line)
	show(10*time.Second, 3_000_000, 7, eraseLine+"3.0 MB, 3.0 MB/s, 7 lines")
	// What would wrap could not be taken away.
	for columns, want := range map[int]string{80: "3.0 MB, 0.3 MB/s, 7 lines", 26: "3.0 MB, 0.3 MB/s, 7 lines", 25: "3.0 MB, 0.3 MB/s, 7 line", 1: ""} {
		width, m.shown = columns, time.Time{}
		m.start = time.Time{}
		show(10*time.Second, 3_000_000, 7, eraseLine+want)
	}
	width = 0
	// It shows what is cut, and is gone when that ends, however it does.
	for name, ctx := range map[string]context.Context{"end": t.Context(), "interrupted": cancelled(t)} {
		screen.Reset()
		m = newMeter(&screen, func() time.Time { now = now.Add(time.Second); return now }, columns, 0, chunker.Rune)
		c, err := chunker.New(chunker.Rune, "")
		if err != nil {
			t.Fatal(err)
		}
		p := &printer{out: bufio.NewWriter(io.Discard)}
		p.cut(ctx, c, strings.NewReader("abc"), m)
		want := ""
		if ctx.Err() == nil {
			want = eraseLine + "0.0 MB, 0.0 MB/s, 3 runes" + eraseLine
		}
		if got := screen.String(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	(*meter)(nil).show(&totals{})
	(*meter)(nil).erase()
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestTotals(t *testing.T) {
	for _, test := range []struct {
		totals   totals
		unit     chunker.Unit
		encoding string
		want     string
	}{
		{totals{in: 1, chunks: 1, units: 1}, chunker.Line, "", "1 line, 1 byte."},
		{totals{in: 12_345, chunks: 999, units: 1000}, chunker.Token, "o200k_base", "1,000 tokens of o200k_base in 999 chunks, 12,345 bytes."},
		{totals{}, chunker.Rune, "", "0 runes, 0 bytes."},
	} {
		if got := test.totals.sentence(test.unit, test.encoding); got != test.want {
			t.Errorf("%+v: %q, want %q", test.totals, got, test.want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
}
