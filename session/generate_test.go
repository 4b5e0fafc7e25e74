package session_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/format"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tokenrelay/session"
)

const hostilePrompt = "# Title\n\n```go\n| a | b |\n|---|\n<script>alert('x')</script> **bold [x](http://e.org) {prompt} “q” \u202e\xff\xfe\x00\r\n> quote"

// hostilePrompts may each do no more to a text than be quoted in its first line.
var hostilePrompts = map[string]string{
	"empty":         "",
	"blank":         " \n\t\r\u2028 ",
	"markdown":      hostilePrompt,
	"fence":         "```\n~~~\n```",
	"html":          "<!-- <b>x</b> --> <img src=x onerror=alert(1)>",
	"link":          "see https://example.org/a_b and [this](javascript:alert(1))",
	"table":         "a|b\n-|-\n1|2",
	"slots":         "{prompt} {1..9} {a|b} {subject",
	"unclosed":      "**bold *italic `code ~~gone",
	"ten kilobytes": strings.Repeat("tide ", 2048),
	"one word":      strings.Repeat("x", 10<<10),
	"fences":        strings.Repeat("```\n", 2560),
	"invalid":       strings.Repeat("\xff\xc3\x28\xf0\x9f", 100),
	"emoji":         strings.Repeat("👩‍👩‍👧‍👦🇩🇪👍🏽❤️", 40),
	"marks":         "e" + strings.Repeat("\u0301", 500),
	"only marks":    strings.Repeat("\u0301\u200d", 500),
	"right to left": "\u202eكيف يعمل المدّ والجزر؟\u202c",
	"japanese":      strings.Repeat("潮の満ち引きはどうして起こるのですか。", 10),
	"controls":      "\x00\x07\x1b[31mred\x1b[0m\x7f\u0085",
}

func generate(prompt string, seed uint64, length int) string {
	var b strings.Builder
	for piece := range session.Generate(prompt, seed, length) {
		b.WriteString(piece)
	}
	return b.String()
}

func TestGenerateGolden(t *testing.T) {
	tests := []struct {
		prompt string
		seed   uint64
		length int
		want   string
	}{
		{"", 0, 0, "7a757226397b72459a7aa1858095426eb02d3a05d019a42d9bf3fd2ad503698d"},
		{"", 1, 1, "d0ce865037a5ea257005942df15197be67a72b8a70b60bb3f7c6c59b60cbae78"},
		{"How do the tides work?", 1, 200, "aa5ab0bec5a2afb8538e6954bab642a5051bf317706c5b430e01fc7397b69faf"},
		{"Explain streaming", 1<<64 - 1, 1000, "84ada2cee61ee69a4fd4be5f6863f8eadff0a878d76f2791cd82b977a36f379c"},
		{"潮はどうして満ち引きしますか", 7, 500, "05360ca06d759649b87d73a6f81b0565dc184e1ac67c4ee581bf35b0f4e03a55"},
		{hostilePrompt, 42, 10000, "1059daa9c20f3f69e0b4a817bd7f5e3f65dcf627bd6360f41759a721216ee635"},
	}
	for _, tt := range tests {
		sum := sha256.Sum256([]byte(generate(tt.prompt, tt.seed, tt.length)))
		if got := hex.EncodeToString(sum[:]); got != tt.want {
			t.Errorf("SHA-256 of Generate(%q, %d, %d) = %s, want %s; if the text was changed on purpose, raise GeneratorVersion (now %d), because sessions begun with the old text cannot go on with this one, and put the new sum here",
				tt.prompt, tt.seed, tt.length, got, tt.want, session.GeneratorVersion)
		}
	}
}

func TestGenerateRepeats(t *testing.T) {
	seq := session.Generate("tea?", 5, 300)
	var first, second []string
	for piece := range seq {
		first = append(first, piece)
	}
	for piece := range seq {
		second = append(second, piece)
	}
	if got, want := fmt.Sprintf("%q", second), fmt.Sprintf("%q", first); got != want {
		t.Errorf("second pass = %s, want %s", got, want)
	}
}

func TestGenerateStops(t *testing.T) {
	pieces := 0
	for range session.Generate("", 0, 1<<30) {
		if pieces++; pieces == 3 {
			break
		}
	}
	if pieces != 3 {
		t.Errorf("pieces = %d, want 3", pieces)
	}
}

func TestGenerateDiffers(t *testing.T) {
	seen := make(map[string]string)
	for seed := range uint64(200) {
		for _, prompt := range []string{"", "tea", "tea ", strings.Repeat("x", 100), strings.Repeat("x", 101)} {
			name := fmt.Sprintf("(%q, %d)", prompt, seed)
			text := generate(prompt, seed, 0)
			if other, ok := seen[text]; ok {
				t.Errorf("text for %s = text for %s, want another", name, other)
			}
			seen[text] = name
		}
	}
}

func TestGenerateLength(t *testing.T) {
	for seed := range uint64(20) {
		var shorter string
		for _, length := range []int{1, 50, 0, 200, 1000, 5000} {
			text := generate("a bridge", seed, length)
			want := length
			if length == 0 {
				want = session.DefaultLength
			}
			blocks := markdownBlocks(text)
			last := len(strings.Fields(blocks[len(blocks)-1]))
			got := len(strings.Fields(text))
			if got < want {
				t.Errorf("seed %d: words = %d, want at least %d", seed, got, want)
			}
			// A last block that is introduced by a line or a heading may stand
			// behind the point where the length was reached.
			if limit := want + last + 40; got > limit {
				t.Errorf("seed %d, length %d: words = %d, want at most %d", seed, length, got, limit)
			}
			if !strings.HasPrefix(text, strings.TrimSuffix(shorter, "\n")) {
				t.Errorf("seed %d: text of length %d does not begin with the next shorter one", seed, length)
			}
			shorter = text
		}
	}
	if got, want := generate("x", 1, -5), generate("x", 1, 0); got != want {
		t.Errorf("text of length -5 = %q, want that of DefaultLength", got)
	}
}

func TestGeneratePieces(t *testing.T) {
	for name, prompt := range hostilePrompts {
		for seed := range uint64(10) {
			for piece := range session.Generate(prompt, seed, 2000) {
				if !utf8.ValidString(piece) || len(piece) < 1 || len(piece) > 300 {
					t.Fatalf("%s, seed %d: piece = %q, want 1 to 300 bytes of valid UTF-8", name, seed, piece)
				}
			}
		}
	}
}

func TestGenerateStructure(t *testing.T) {
	for name, prompt := range hostilePrompts {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				checkMarkdown(t, generate(prompt, seed, 3000))
				checkMarkdown(t, generate(prompt, seed, 1))
			}
		})
	}
}

// TestGenerateQuote looks at the quotation alone: what a prompt may bring in.
func TestGenerateQuote(t *testing.T) {
	quoted := regexp.MustCompile(`“([^”]*)”`)
	tests := []struct{ prompt, want string }{
		{"How do tides work?", "How do tides work?"},
		{"  two\n\n lines ", "two lines"},
		{"**bold** `code` ~~gone~~ \\x", "bold code gone x"},
		{"<b>x</b> & y", "b x /b & y"},
		{"see https://example.org/a", "see https example.org/a"},
		{"{prompt}|{1..9}", "prompt 1..9"},
		{"she said “no”", "she said 'no'"},
		{"a\xffb\x00c\u202ed", "abcd"},
		{strings.Repeat("ab ", 40), strings.TrimRight(strings.Repeat("ab ", 20), " ") + "…"},
		{strings.Repeat("x", 61), strings.Repeat("x", 60) + "…"},
		{strings.Repeat("x", 60), strings.Repeat("x", 60)},
		{strings.Repeat("x", 59) + "e\u0301 and more", strings.Repeat("x", 59) + "…"},
		{strings.Repeat("x", 58) + "👍🏽👍🏽", strings.Repeat("x", 58) + "👍🏽…"},
		{strings.Repeat("x", 59) + "👍🏽👍🏽", strings.Repeat("x", 59) + "…"},
		{strings.Repeat("x", 59) + "🇩🇪🇩🇪", strings.Repeat("x", 59) + "…"},
		{strings.Repeat("x", 57) + "👩‍👩‍👧‍👦", strings.Repeat("x", 57) + "…"},
	}
	for _, tt := range tests {
		m := quoted.FindStringSubmatch(generate(tt.prompt, 1, 1))
		if m == nil || m[1] != tt.want {
			t.Errorf("quotation of %q = %q, want %q", tt.prompt, m, tt.want)
		}
	}
	for _, prompt := range []string{"", " \n", "```", "\xff", "\u0301\u200d"} {
		if m := quoted.FindString(generate(prompt, 1, 1)); m != "" {
			t.Errorf("quotation of %q = %q, want none", prompt, m)
		}
	}
}

func TestGenerateTopic(t *testing.T) {
	for _, tt := range []struct{ prompt, want string }{
		{"How do TIDES work?", "the tide"},
		{"What is the best tea?", "a pot of tea"},
	} {
		for seed := range uint64(5) {
			if text := generate(tt.prompt, seed, 1); !strings.Contains(text, tt.want) {
				t.Errorf("text for %q = %q, want it to mention %q", tt.prompt, text, tt.want)
			}
		}
	}
}

// TestGenerateShows asserts that a text of the default length shows everything
// that a reader, and a chunker, should meet early.
func TestGenerateShows(t *testing.T) {
	shows := map[string]*regexp.Regexp{
		"bold paragraph": regexp.MustCompile(`\A.*\*\*[^*]+\*\*`),
		"heading":        regexp.MustCompile(`(?m)^## \S`),
		"list or table":  regexp.MustCompile(`(?m)^(- |\|( :?---:? \|)+$)`),
		"code block":     regexp.MustCompile("(?ms)^```[a-z]+\n.*^```$"),
		"emoji":          regexp.MustCompile(`[\x{2600}-\x{27BF}\x{1F000}-\x{1FAFF}\x{20E3}]`),
		"other script":   regexp.MustCompile(`[\p{Han}\p{Hangul}\p{Arabic}\p{Devanagari}\p{Greek}\p{Cyrillic}]`),
	}
	for seed := range uint64(2000) {
		text := generate("What is the best way to make a good cup of tea at home, now?", seed, 0)
		if seed%2 == 0 {
			text = generate("Tell me something", seed, 0)
		}
		for name, re := range shows {
			if !re.MatchString(text) {
				t.Errorf("seed %d: no %s in %q", seed, name, text)
			}
		}
	}
}

// TestGenerateVariety asserts that a long text holds every kind of block, all
// languages, and no sentence a second time before it must.
func TestGenerateVariety(t *testing.T) {
	text := generate("", 3, 10000)
	for _, want := range []string{
		"```go\n", "```python\n", "```javascript\n", "```bash\n", "```json\n",
		"\n## ", "\n### ", "\n- ", "\n1. ", "\n   - ", "\n> ", "\n| :--- |", "\n| ---: |", " ---: |\n", "👩‍👩‍👧‍👦", "e\u0301",
		"Deutsch", "Français", "日本語", "中文", "العربية", "हिन्दी", "Ελληνικά", "Русский", "한국어", "Tie\u0302\u0301ng",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in 10000 words", want)
		}
	}

	for seed := range uint64(50) {
		seen := make(map[string]bool)
		for line := range strings.Lines(generate("", seed, 1000)) {
			for _, sentence := range strings.SplitAfter(line, ". ") {
				if len(sentence) < 60 || strings.HasPrefix(sentence, "#") {
					continue
				}
				if seen[sentence] {
					t.Errorf("seed %d: %q occurs twice in 1000 words", seed, sentence)
				}
				seen[sentence] = true
			}
		}
	}
}

// TestGenerateCode asserts that the code in the corpus is code.
func TestGenerateCode(t *testing.T) {
	checked := 0
	for _, block := range markdownBlocks(generate("", 1, 20000)) {
		body, fenced := strings.CutPrefix(block, "```")
		if !fenced {
			continue
		}
		language, code, _ := strings.Cut(strings.TrimSuffix(body, "```"), "\n")
		switch language {
		case "go":
			checked++
			if got, err := format.Source([]byte(code)); err != nil || string(got) != code {
				t.Errorf("formatted Go = %q, %v, want %q", got, err, code)
			}
		case "json":
			checked++
			if !json.Valid([]byte(code)) {
				t.Errorf("invalid JSON: %s", code)
			}
		}
	}
	if checked < 10 {
		t.Errorf("blocks checked = %d, want at least 10", checked)
	}
}

// markdownBlocks splits text at its blank lines outside fences.
func markdownBlocks(text string) []string {
	var blocks []string
	var block []string
	fenced := false
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if line == "" && !fenced {
			blocks = append(blocks, strings.Join(block, "\n"))
			block = nil
			continue
		}
		block = append(block, line)
	}
	return append(blocks, strings.Join(block, "\n"))
}

// checkMarkdown reports what is wrong with the form of a generated text.
func checkMarkdown(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("invalid UTF-8 in %q", text)
	}
	if !strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\n\n") || strings.HasPrefix(text, "\n") {
		t.Errorf("text begins %.20q and ends %q, want no blank line and one newline", text, text[max(0, len(text)-20):])
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && unicode.IsControl(r) || r >= 0x202A && r <= 0x202E
	}); i >= 0 {
		t.Errorf("control character in %q", text[i:min(len(text), i+20)])
	}
	blocks := markdownBlocks(text)
	for i, block := range blocks {
		lines := strings.Split(block, "\n")
		first := lines[0]
		switch {
		case first == "":
			t.Errorf("empty block after %q", blocks[max(0, i-1)])
			continue
		case strings.HasPrefix(first, "```"):
			if len(lines) < 3 || lines[len(lines)-1] != "```" || strings.Count(block, "```") != 2 {
				t.Errorf("unbalanced fence: %q", block)
			}
			continue
		case strings.HasPrefix(first, "|"):
			for _, line := range lines {
				if got, want := strings.Count(line, "|"), strings.Count(first, "|"); got != want || !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
					t.Errorf("bars in table row %q = %d, want %d as in %q", line, got, want, first)
				}
			}
			if len(lines) < 5 || strings.Trim(lines[1], "|:- ") != "" {
				t.Errorf("no table: %q", block)
			}
		case strings.HasPrefix(first, "#"), strings.HasSuffix(block, ":"):
			if i == len(blocks)-1 && i > 0 {
				t.Errorf("text ends with %q, which introduces something", block)
			}
		}
		if i > 0 && strings.ContainsAny(block, "{}<[]~\\") {
			t.Errorf("slot or markup left in %q", block)
		}
		if i > 0 && !strings.HasPrefix(first, "|") && strings.Contains(block, "|") {
			t.Errorf("bar outside a table: %q", block)
		}
		for _, mark := range []string{"**", "`"} {
			if strings.Count(block, mark)%2 != 0 {
				t.Errorf("odd number of %q in %q", mark, block)
			}
		}
		if strings.Contains(block, "://") {
			t.Errorf("link in %q", block)
		}
	}
	// Only the opening quotes the prompt: nothing of it may be markup.
	if strings.ContainsAny(blocks[0], "\n<>[]{}|~\\_`") {
		t.Errorf("markup in the opening %q", blocks[0])
	}
}
