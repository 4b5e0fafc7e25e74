package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"tokenrelay/chunker"
)

// pieceBytes is how much is read and cut at a time.
const pieceBytes = 64 << 10

// chunkCommand cuts a text. No variable of the environment sets its flags:
// what a filter makes of a text is for its command line alone to say.
type chunkCommand struct {
	File     string   `arg:"" optional:"" help:"What to cut. Without it, or with -, standard input."`
	Unit     nameFlag `short:"u" default:"token" env:"-" example:"word" help:"What to cut it into: ${units}."`
	Encoding nameFlag `env:"-" placeholder:"NAME" example:"o200k_base" help:"Encoding of the unit token: ${encodings}; o200k_base if none is named."`
	Model    nameFlag `env:"-" placeholder:"NAME" example:"gpt-4o" help:"A model whose encoding to take, such as gpt-4o; one that is not known counts as o200k_base."`
	JSON     bool     `name:"json" env:"-" help:"One JSON object a line."`
	Count    bool     `env:"-" help:"Only the totals: bytes, chunks, units, capped and invalid."`
	Quiet    bool     `short:"q" env:"-" help:"No progress, totals and notes on standard error; errors only."`
}

// Help is what --help tells beside the flags.
func (*chunkCommand) Help() string {
	return `Shows how the relay cuts a text: one line a chunk, with its number, its text as a JSON string, and the ids of its tokens, divided by tabs.

  echo 'Hello, world!' | tokenrelay chunk
  tokenrelay chunk --unit grapheme --json notes.txt
  tokenrelay chunk --model gpt-4o --count book.txt
  tail -f log.txt | tokenrelay chunk --unit line

The units:

  rune      a Unicode code point
  grapheme  what a reader takes for one character, such as a whole emoji
  token     a token of a model's encoding; tokens that share a character stand in one chunk
  word      a word, a run of blanks, or a sign
  line      a line with its end

The deltas of a model are no unit here, since a file has none. A chunk is printed as soon as no further text can move its end. Bytes that are not UTF-8 become U+FFFD. What a terminal would obey or hide is escaped, so any text can be looked at.`
}

// chunkUnits are the units of a text that is not made of deltas.
func chunkUnits() []chunker.Unit {
	return slices.DeleteFunc(chunker.Units(), func(u chunker.Unit) bool { return u == chunker.Delta })
}

// Validate refuses what cannot be cut or not so. Kong calls it.
func (c *chunkCommand) Validate() error {
	unit := chunker.Unit(c.Unit)
	switch {
	case unit == chunker.Delta:
		return fmt.Errorf("--unit=delta: a text has no deltas until a model sends it; want %s", list(chunkUnits()))
	case !slices.Contains(chunkUnits(), unit):
		if lower := chunker.Unit(strings.ToLower(string(unit))); slices.Contains(chunkUnits(), lower) {
			return fmt.Errorf("--unit: there is no unit %q; did you mean %s?", unit, lower)
		}
		return fmt.Errorf("--unit: there is no unit %q; want %s", unit, list(chunkUnits()))
	case unit != chunker.Token && c.Encoding != "":
		return fmt.Errorf("--encoding goes with --unit=token, not with --unit=%s", unit)
	case unit != chunker.Token && c.Model != "":
		return fmt.Errorf("--model goes with --unit=token, not with --unit=%s", unit)
	case c.Encoding != "" && c.Model != "":
		return errors.New("--model chooses the encoding itself; give it or --encoding")
	}
	if _, err := chunker.ParseEncoding(string(c.Encoding)); err != nil {
		return fmt.Errorf("--encoding: there is no encoding %q; want %s", c.Encoding, list(chunker.Encodings()))
	}
	if c.File == "" || c.File == "-" {
		return nil
	}
	info, err := os.Stat(c.File)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no file %q; without a file, standard input is cut", c.File)
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%q is a directory; name a file in it", c.File)
	}
	return nil
}

// list joins names as in "rune, token or line".
func list[S ~string](names []S) string {
	var b strings.Builder
	for i, name := range names {
		switch i {
		case 0:
		case len(names) - 1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}

// Run cuts the text, and ends quietly when nobody reads what it prints.
func (c *chunkCommand) Run(ctx context.Context, s streams) error {
	signal.Ignore(syscall.SIGPIPE) // so that writing gives an error instead
	defer signal.Reset(syscall.SIGPIPE)
	// Writing may wait for whoever reads: a second signal has its usual effect.
	defer context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })()
	err := c.run(ctx, s)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func (c *chunkCommand) run(ctx context.Context, s streams) error {
	in := s.in
	if c.File != "" && c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	notes := io.Writer(&terminalWriter{w: s.err})
	if c.Quiet {
		notes = io.Discard
	}
	seen := !c.Quiet && onTerminal(s.err)
	if seen && isTerminal(in) {
		fmt.Fprintln(notes, "Type a text; Ctrl-D at the start of a line ends it.")
	}
	unit := chunker.Unit(c.Unit)
	encoding := ""
	if unit == chunker.Token {
		encoding = c.encoding(notes)
	}
	cutter, err := chunker.New(unit, encoding)
	if err != nil {
		return err
	}
	p := &printer{
		out:      bufio.NewWriterSize(s.out, pieceBytes),
		json:     c.JSON,
		silent:   c.Count,
		unit:     unit,
		encoding: encoding,
	}
	var progress *meter
	// Behind a pipe may be a pager, which has the terminal for itself.
	if seen && !isTerminal(in) && (c.Count || intoFile(s.out)) {
		width := func() int { return columns(s.err) }
		progress = newMeter(s.err, time.Now, width, bytesAhead(in), unit)
	}
	err = p.cut(ctx, cutter, in, progress)
	interrupted := errors.Is(err, context.Canceled)
	if err != nil && !interrupted {
		return err
	}
	if c.Count {
		if err := p.printTotals(); err != nil {
			return err
		}
	}
	if interrupted {
		if seen {
			fmt.Fprintf(notes, "\nInterrupted after %s: what is printed is not the whole.\n", counted(p.totals.in, "byte"))
		}
		return err
	}
	if seen && !c.Count {
		fmt.Fprintln(notes, p.totals.sentence(unit, encoding))
	}
	if n := p.totals.capped; n > 0 {
		fmt.Fprintf(notes, "Cut at the longest length of a %s, not where the text ends one: %s.\n", unit, counted(n, "time"))
	}
	if n := p.totals.invalid(); n > 0 {
		hint := ""
		if p.utf16 {
			hint = " The text looks like UTF-16."
		}
		fmt.Fprintf(notes, "Not valid UTF-8, and shown as U+FFFD: %s.%s\n", counted(n, "byte"), hint)
	}
	return nil
}

// encoding returns that of the flags, and notes a model that is not known.
func (c *chunkCommand) encoding(notes io.Writer) string {
	if c.Model == "" {
		return cmp.Or(string(c.Encoding), chunker.DefaultEncoding)
	}
	encoding, known := chunker.EncodingForModel(string(c.Model))
	if !known {
		fmt.Fprintf(notes, "The encoding of the model %q is not known: its tokens are approximated with %s.\n", c.Model, encoding)
	}
	return encoding
}

// onTerminal reports whether w is one.
func onTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isTerminal(file)
}

// intoFile reports whether what is written to w is only kept or dropped, not
// shown or read meanwhile.
func intoFile(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || isTerminal(file) {
		return false
	}
	info, err := file.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&os.ModeCharDevice != 0) // such as /dev/null
}

// bytesAhead returns how much of a file is to be read, or 0 if that is not
// known.
func bytesAhead(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return max(info.Size()-at, 0)
}

// Totals are what was cut so far.
type totals struct {
	in, out       int64 // bytes, before and after the replacement of invalid ones
	chunks, units int64
	capped        int64
}

// invalid returns how many bytes were replaced, each by the three of U+FFFD.
func (t *totals) invalid() int64 { return (t.out - t.in) / 2 }

// sentence tells them; encoding is empty if the unit has none.
func (t *totals) sentence(unit chunker.Unit, encoding string) string {
	s := counted(t.units, string(unit))
	if encoding != "" {
		s += " of " + encoding
	}
	if t.chunks != t.units {
		s += " in " + counted(t.chunks, "chunk")
	}
	return s + ", " + counted(t.in, "byte") + "."
}

// counted returns a number with what it counts, as in "1,234 lines".
func counted(n int64, noun string) string {
	s := grouped(n) + " " + noun
	if n != 1 {
		s += "s"
	}
	return s
}

// grouped writes n ≥ 0 with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A printer writes chunks, a line each.
type printer struct {
	out      *bufio.Writer
	json     bool
	silent   bool // count only
	unit     chunker.Unit
	encoding string // empty if the unit has no tokens
	totals   totals
	utf16    bool // the text starts with a byte order mark of UTF-16

	line []byte // reused
	ids  []int  // reused
}

// cut reads r to its end and prints its chunks, those that became certain by
// one Read at once. It returns ctx's error when ctx is done first; then the
// totals are those of the text so far.
func (p *printer) cut(ctx context.Context, c chunker.Chunker, r io.Reader, progress *meter) error {
	defer progress.erase()
	defer func() {
		p.totals.out += int64(len(c.Held())) // after an error
		p.totals.capped = int64(c.Capped())
	}()
	var chunks []chunker.Chunk
	for piece, err := range pieces(ctx, r) {
		if err != nil {
			return err
		}
		if p.totals.in == 0 {
			p.utf16 = bytes.HasPrefix(piece, []byte("\xff\xfe")) || bytes.HasPrefix(piece, []byte("\xfe\xff"))
		}
		p.totals.in += int64(len(piece))
		chunks = c.Push(chunks[:0], string(piece))
		if err := p.print(chunks); err != nil {
			return err
		}
		progress.show(&p.totals)
	}
	return p.print(c.Flush(chunks[:0]))
}

// pieces yields what each Read of r gives, valid until the next one. A Read
// that waits does not keep it from ending when ctx is done.
func pieces(ctx context.Context, r io.Reader) iter.Seq2[[]byte, error] {
	type piece struct {
		text []byte
		err  error
	}
	return func(yield func([]byte, error) bool) {
		read, free := make(chan piece, 2), make(chan []byte, 2)
		free <- make([]byte, pieceBytes)
		free <- make([]byte, pieceBytes)
		defer close(free)
		// It may outlast this function: nothing takes back a read.
		go func() {
			for buf := range free {
				n, err := r.Read(buf)
				read <- piece{buf[:n], err}
				if err != nil {
					return
				}
			}
		}()
		for {
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case p := <-read:
				if err := ctx.Err(); err != nil { // both were ready
					yield(nil, err)
					return
				}
				if len(p.text) > 0 && !yield(p.text, nil) {
					return
				}
				if p.err == io.EOF {
					return
				}
				if p.err != nil {
					yield(nil, p.err)
					return
				}
				free <- p.text[:cap(p.text)]
			}
		}
	}
}

func (p *printer) print(chunks []chunker.Chunk) error {
	for i := range chunks {
		c := &chunks[i]
		p.totals.chunks++
		p.totals.units += int64(c.Units)
		p.totals.out += int64(len(c.Text))
		if p.silent {
			continue
		}
		if p.encoding != "" {
			var err error
			if p.ids, err = chunker.AppendTokenIDs(p.ids[:0], p.encoding, c.Text); err != nil {
				return err
			}
		}
		p.line = p.appendLine(p.line[:0], c)
		if _, err := p.out.Write(p.line); err != nil {
			return err
		}
	}
	return p.out.Flush()
}

func (p *printer) appendLine(dst []byte, c *chunker.Chunk) []byte {
	if !p.json {
		dst = strconv.AppendInt(dst, p.totals.chunks, 10)
		dst = append(dst, '\t')
		dst = appendQuoted(dst, c.Text)
		if p.encoding != "" {
			dst = append(dst, '\t')
			dst = appendInts(dst, p.ids)
		}
		return append(dst, '\n')
	}
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, p.totals.chunks, 10)
	dst = append(dst, `,"text":`...)
	dst = appendQuoted(dst, c.Text)
	dst = append(dst, `,"units":`...)
	dst = strconv.AppendInt(dst, int64(c.Units), 10)
	dst = append(dst, `,"last":`...)
	dst = strconv.AppendUint(dst, c.Last, 10)
	if p.encoding != "" {
		dst = append(dst, `,"tokens":[`...)
		dst = appendInts(dst, p.ids)
		dst = append(dst, ']')
	}
	return append(dst, "}\n"...)
}

// printTotals prints them instead of chunks.
func (p *printer) printTotals() error {
	t := &p.totals
	head, withEncoding := "unit\t%s\n", "encoding\t%s\n"
	form := "bytes\t%d\nchunks\t%d\nunits\t%d\ncapped\t%d\ninvalid\t%d\n"
	if p.json {
		head, withEncoding = `{"unit":"%s",`, `"encoding":"%s",`
		form = `"bytes":%d,"chunks":%d,"units":%d,"capped":%d,"invalid":%d}` + "\n"
	}
	fmt.Fprintf(p.out, head, p.unit)
	if p.encoding != "" {
		fmt.Fprintf(p.out, withEncoding, p.encoding)
	}
	fmt.Fprintf(p.out, form, t.in, t.chunks, t.units, t.capped, t.invalid())
	return p.out.Flush()
}

// appendInts appends numbers with commas between them.
func appendInts(dst []byte, numbers []int) []byte {
	for i, n := range numbers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return dst
}

// appendQuoted appends text, which is valid UTF-8, as a JSON string that a
// terminal can be shown. Escaped is what it would obey, such as controls and
// changes of direction, what cannot be seen, and a mark at the start, which
// would join the quote. Joiners within the text stay: an emoji is to be seen
// as the one it is.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\u200c' || r == '\u200d':
			if i == 0 || i+utf8.RuneLen(r) == len(text) {
				dst = appendEscaped(dst, r)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		case !unicode.IsPrint(r), i == 0 && unicode.IsMark(r):
			dst = appendEscaped(dst, r)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// appendEscaped appends r as JSON does, by the units of UTF-16.
func appendEscaped(dst []byte, r rune) []byte {
	for _, unit := range utf16.AppendRune(nil, r) {
		dst = fmt.Appendf(dst, `\u%04x`, unit)
	}
	return dst
}
