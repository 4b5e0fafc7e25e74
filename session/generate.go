package session

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// GeneratorVersion changes whenever [Generate] gives other text for the same
// arguments. It is recorded with a session, because a session may go on after
// a restart only with the generator that began it.
const GeneratorVersion = 1

// DefaultLength is the length of a generated text, in words, where none is given.
const DefaultLength = 180

// genMaxQuote bounds the part of a prompt that is quoted, in code points.
const genMaxQuote = 60

// genSizes are the lengths of successive pieces, in bytes before rounding up to
// a whole code point. They are uneven so that what follows meets every kind of cut.
var genSizes = [...]int{24, 3, 61, 11, 140, 5, 37, 2, 83, 17, 7, 211}

// Generate yields a Markdown text for prompt, seed and length: for the same
// arguments the same text, on every machine and each time the result is ranged
// over. It yields pieces of a few bytes to a few hundred bytes, each valid
// UTF-8; where they are cut means nothing.
//
// Length is in words, as [strings.Fields] counts them in the Markdown. The text
// ends with the first paragraph, list, table, quotation or code block at which
// that many are reached, never with a heading or with a line that introduces
// the next block. Zero and negative lengths mean DefaultLength. There is no
// upper limit, memory does not grow with the length, and a text begins with
// every shorter text of its prompt and seed.
//
// Blocks are separated by one blank line, and the text ends with one newline.
// A prompt may hold anything, invalid UTF-8 included. All of it takes part in
// the choice of words; only its beginning is quoted, stripped of Markdown and HTML.
func Generate(prompt string, seed uint64, length int) iter.Seq[string] {
	if length <= 0 {
		length = DefaultLength
	}
	return func(yield func(string) bool) {
		g := newGenText(prompt, seed)
		words, pieces, gap := 0, 0, ""
		for blocks := g.opening(); ; blocks = g.section() {
			for _, b := range blocks {
				for rest := gap + b.text + "\n"; rest != ""; pieces++ {
					n := min(genSizes[pieces%len(genSizes)], len(rest))
					for n < len(rest) && !utf8.RuneStart(rest[n]) {
						n++
					}
					if !yield(rest[:n]) {
						return
					}
					rest = rest[n:]
				}
				gap = "\n"
				words += len(strings.Fields(b.text))
				if words >= length && !b.leads {
					return
				}
			}
		}
	}
}

// A genBlock is one Markdown block, without the newline at its end.
type genBlock struct {
	text  string
	leads bool // whether it introduces the next block, so that no text ends here
}

// A genText is a text in the making.
type genText struct {
	random *rand.ChaCha8
	quote  string // of the prompt; may be empty
	asked  int    // index of the topic that the prompt names, or -1

	topic  *genTopicBags // of the section being written
	topics genBag[*genTopicBags]
	kinds  genBag[func(*genText) []genBlock]
	emoji  genBag[string]
	ideas  genBag[genIdea]
	intros genBag[string] // to a list of languages
}

// genTopicBags are the banks of a topic, each with what is left of it.
type genTopicBags struct {
	subject                 string
	headings, facts, quotes genBag[string]
	lists, steps            genBag[genList]
	tables                  genBag[genTable]
	code                    genBag[genSnippet]
}

func newGenText(prompt string, seed uint64) *genText {
	key := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, seed), prompt...))
	var topics []*genTopicBags
	for _, t := range genTopics {
		topics = append(topics, &genTopicBags{
			subject:  t.subject,
			headings: newGenBag(t.headings),
			facts:    newGenBag(t.facts),
			quotes:   newGenBag(t.quotes),
			lists:    newGenBag(t.lists),
			steps:    newGenBag(t.steps),
			tables:   newGenBag(t.tables),
			code:     newGenBag(t.code),
		})
	}
	quote := genQuote(prompt)
	return &genText{
		random: rand.NewChaCha8(key),
		quote:  quote,
		asked:  genAsked(quote),
		topics: newGenBag(topics),
		kinds: newGenBag([]func(*genText) []genBlock{
			(*genText).paragraph, (*genText).paragraph, (*genText).paragraph,
			(*genText).list, (*genText).steps, (*genText).table,
			(*genText).code, (*genText).code,
			(*genText).quotation, (*genText).languages, (*genText).foreign,
		}),
		emoji:  newGenBag(genEmoji),
		ideas:  newGenBag(genIdeas),
		intros: newGenBag(genLanguageIntros),
	}
}

// opening returns the beginning of the text, which shows within DefaultLength
// words what there is to show: bold type and emoji, a list or a table, code,
// and several scripts.
func (g *genText) opening() []genBlock {
	if g.asked >= 0 {
		g.topic = g.topics.take(g.asked)
	} else {
		g.topic = g.topics.draw(g)
	}
	openers := genOpeners
	if g.quote == "" {
		openers = genOpenersWithoutPrompt
	}
	sentences := []string{
		g.expand(openers[g.intn(len(openers))]),
		g.expand(genBridges[g.intn(len(genBridges))]),
		g.expand(g.emoji.draw(g)),
	}
	blocks := []genBlock{{text: strings.Join(sentences, " ")}, g.heading("## ")}

	// What may count many words comes last, so that it leaves room for the rest.
	first, second, last := (*genText).code, (*genText).languages, (*genText).list
	if g.intn(2) == 0 {
		first, second = second, first
	}
	if g.intn(2) == 0 {
		last = (*genText).table
	}
	blocks = append(blocks, first(g)...)
	blocks = append(blocks, second(g)...)
	blocks = append(blocks, last(g)...)
	return append(blocks, g.paragraph()...)
}

// section returns a heading and four to eight blocks on one topic.
func (g *genText) section() []genBlock {
	g.topic = g.topics.draw(g)
	blocks := []genBlock{g.heading("## ")}
	blocks = append(blocks, g.paragraph()...)
	for i := range 3 + g.intn(3) {
		if i == 2 && g.intn(2) == 0 {
			blocks = append(blocks, g.heading("### "))
			blocks = append(blocks, g.paragraph()...)
		}
		blocks = append(blocks, g.kinds.draw(g)(g)...)
	}
	return blocks
}

func (g *genText) heading(mark string) genBlock {
	return genBlock{text: mark + g.expand(g.topic.headings.draw(g)), leads: true}
}

func (g *genText) paragraph() []genBlock {
	var sentences []string
	for range 2 + g.intn(3) {
		sentences = append(sentences, g.expand(g.topic.facts.draw(g)))
	}
	if g.intn(3) == 0 {
		sentences = append(sentences, g.expand(g.emoji.draw(g)))
	}
	return []genBlock{{text: strings.Join(sentences, " ")}}
}

// list returns three or four items of a bullet list, in any order.
func (g *genText) list() []genBlock {
	list := g.topic.lists.draw(g)
	items := newGenBag(list.items)
	var lines []string
	for range 3 + g.intn(2) {
		lines = append(lines, "- "+g.expand(items.draw(g)))
	}
	return g.led(list.lead, strings.Join(lines, "\n"))
}

// steps returns a whole numbered list, in its order.
func (g *genText) steps() []genBlock {
	list := g.topic.steps.draw(g)
	var lines []string
	number := 0
	for _, item := range list.items {
		mark := "   " // as wide as the number above it, which nests the item
		if !strings.HasPrefix(item, "- ") {
			number++
			mark = strconv.Itoa(number) + ". "
		}
		lines = append(lines, mark+g.expand(item))
	}
	return g.led(list.lead, strings.Join(lines, "\n"))
}

// table returns three or four neighbouring rows of a table.
func (g *genText) table() []genBlock {
	table := g.topic.tables.draw(g)
	n := min(3+g.intn(2), len(table.rows))
	first := g.intn(len(table.rows) - n + 1)
	lines := []string{"| " + table.head + " |", "|"}
	for cell := range strings.SplitSeq(table.rows[0], " | ") {
		if strings.ContainsAny(cell[:1], "{0123456789") { // figures stand at the right
			lines[1] += " ---: |"
		} else {
			lines[1] += " :--- |"
		}
	}
	for _, row := range table.rows[first : first+n] {
		lines = append(lines, "| "+g.expand(row)+" |")
	}
	return g.led(table.lead, strings.Join(lines, "\n"))
}

func (g *genText) code() []genBlock {
	s := g.topic.code.draw(g)
	return g.led(s.lead, "```"+s.language+"\n"+strings.TrimPrefix(s.text, "\n")+"```")
}

func (g *genText) quotation() []genBlock {
	said, by, _ := strings.Cut(g.topic.quotes.draw(g), " // ")
	return []genBlock{{text: "> " + g.expand(said) + "\n>\n> — *" + g.expand(by) + "*"}}
}

// languages returns one sentence in four languages, at least one of which is
// not written in Latin letters.
func (g *genText) languages() []genBlock {
	idea := g.ideas.draw(g)
	chosen := make([]int, len(genLanguages))
	for i := range chosen {
		chosen[i] = i
	}
	bag := newGenBag(chosen)
	var lines []string
	for range 4 {
		i := bag.draw(g)
		lines = append(lines, "- **"+genLanguages[i]+":** "+idea.said[i])
	}
	lead := strings.ReplaceAll(g.intros.draw(g), "{gloss}", idea.gloss)
	return g.led(lead, strings.Join(lines, "\n"))
}

// foreign returns a quotation in one language and its meaning in English.
func (g *genText) foreign() []genBlock {
	idea := g.ideas.draw(g)
	said := idea.said[g.intn(len(idea.said))]
	return []genBlock{{text: "> " + said + "\n>\n> — *" + idea.gloss + "*"}}
}

// led returns a block behind the line that introduces it.
func (g *genText) led(lead, text string) []genBlock {
	return []genBlock{{text: g.expand(lead), leads: true}, {text: text}}
}

// expand fills the slots of a template: {a|b|c} with one of the choices, {1..9}
// with an integer of that range, both ends included, {prompt} with the quoted
// prompt and {subject} with what the topic is called in a sentence.
func (g *genText) expand(template string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(template, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		slot, after, _ := strings.Cut(rest, "}")
		template = after
		switch low, high, isRange := strings.Cut(slot, ".."); {
		case slot == "prompt":
			b.WriteString(g.quote)
		case slot == "subject":
			b.WriteString(g.topic.subject)
		case isRange:
			from, _ := strconv.Atoi(low)
			to, _ := strconv.Atoi(high)
			b.WriteString(strconv.Itoa(from + g.intn(to-from+1)))
		default:
			choices := strings.Split(slot, "|")
			b.WriteString(choices[g.intn(len(choices))])
		}
	}
}

// intn returns a number in [0, n). It uses the generator's output alone, whose
// values are specified, and not rand.Rand, whose ways of reducing them are not.
func (g *genText) intn(n int) int {
	high, _ := bits.Mul64(g.random.Uint64(), uint64(n))
	return int(high)
}

// A genBag hands out its items in random order, each once before any comes
// again, and after that not those that came shortly before.
type genBag[T any] struct {
	all  []T // what is left to draw, then what was drawn, the latest first
	left int
	skip int // first items of all that came too recently
}

func newGenBag[T any](items []T) genBag[T] {
	return genBag[T]{all: slices.Clone(items), left: len(items)}
}

func (b *genBag[T]) draw(g *genText) T {
	if b.left == 0 {
		b.left = len(b.all)
		b.skip = len(b.all) / 2
	}
	i := b.skip + g.intn(b.left-b.skip)
	b.skip = max(b.skip-1, 0)
	return b.take(i)
}

// take draws the item at i, which must be less than left.
func (b *genBag[T]) take(i int) T {
	b.left--
	b.all[i], b.all[b.left] = b.all[b.left], b.all[i]
	return b.all[b.left]
}

// genAsked returns the index of the topic that a quoted prompt names, or -1.
func genAsked(quote string) int {
	words := strings.FieldsFunc(strings.ToLower(quote), func(r rune) bool { return !unicode.IsLetter(r) })
	for _, word := range words {
		for i, t := range genTopics {
			if slices.Contains(t.words, word) {
				return i
			}
		}
	}
	return -1
}

// genQuote returns the beginning of a prompt as it may stand between quotation
// marks in a paragraph: one line, at most genMaxQuote code points and an
// ellipsis, without what Markdown or HTML could take for markup. It goes by the
// Unicode tables of the Go release, so a release may change it for characters
// that are newer than those tables, and for no others.
func genQuote(prompt string) string {
	var kept []rune
	blank := false
	for _, r := range prompt {
		switch {
		case strings.ContainsRune("`*~\\", r), r == utf8.RuneError, len(kept) == 0 && genExtends(r):
			continue
		case strings.ContainsRune("_<>[]{}|", r), unicode.IsSpace(r):
			blank = len(kept) > 0
			continue
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r) && !genExtends(r):
			continue // among them those that turn the direction of all that follows
		case strings.ContainsRune(`"“”„«»`, r):
			r = '\''
		}
		if blank {
			kept = append(kept, ' ')
			blank = false
		}
		kept = append(kept, r)
		if len(kept) > genMaxQuote {
			break
		}
	}
	quote := string(kept)
	if len(kept) > genMaxQuote {
		quote = strings.TrimRight(string(kept[:genCut(kept)]), " ") + "…"
	}
	return strings.ReplaceAll(quote, "://", " ") // no renderer makes a link of it
}

// genCut returns where to shorten text, which is longer than genMaxQuote: at a
// blank of the last third, else between two characters as a reader counts
// them, else, where somebody piled up marks, anywhere.
func genCut(text []rune) int {
	for i := genMaxQuote; i > genMaxQuote*2/3; i-- {
		if text[i] == ' ' {
			return i
		}
	}
	for i := genMaxQuote; i > 0; i-- {
		flags := 0
		for flags < i && text[i-1-flags] >= 0x1F1E6 && text[i-1-flags] <= 0x1F1FF {
			flags++
		}
		splitsFlag := flags%2 == 1 && text[i] >= 0x1F1E6 && text[i] <= 0x1F1FF
		if !splitsFlag && !genExtends(text[i]) && text[i-1] != 0x200D {
			return i
		}
	}
	return genMaxQuote
}

// genExtends reports whether r belongs to the character before it: marks,
// variation selectors, joiners and skin tones.
func genExtends(r rune) bool {
	return unicode.Is(unicode.M, r) || r == 0x200C || r == 0x200D || r >= 0x1F3FB && r <= 0x1F3FF
}
