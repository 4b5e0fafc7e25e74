package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

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
