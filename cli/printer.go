package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"tokenrelay/chunker"
)

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

// totals are what was cut so far.
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
