package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// What the keyboard can ask for.
var (
	errPause = errors.New("space")
	errQuit  = errors.New("quit")
)

// A keyboard reads single keys where standard input and output are a terminal.
// Elsewhere it gives nothing.
type keyboard struct {
	in       *os.File
	terminal bool // of the output
	restore  *term.State
	keys     chan error
}

// openKeyboard puts the terminal into raw mode until Close.
func openKeyboard(in *os.File, out io.Writer) *keyboard {
	k := &keyboard{in: in}
	file, ok := out.(*os.File)
	k.terminal = ok && isTerminal(file)
	if !k.terminal || !isTerminal(in) {
		return k
	}
	var err error
	if k.restore, err = term.MakeRaw(int(in.Fd())); err != nil {
		k.restore = nil
		return k
	}
	k.keys = make(chan error)
	// It ends with the process: nothing takes back a read from a terminal.
	go k.read()
	return k
}

func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// columns returns the width of a terminal, or 0 if w is none or does not tell.
func columns(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Close gives the terminal back.
func (k *keyboard) Close() {
	if k.restore != nil {
		term.Restore(int(k.in.Fd()), k.restore)
	}
}

func (k *keyboard) read() {
	keys := make([]byte, 16)
	for {
		n, err := k.in.Read(keys)
		if err != nil {
			return
		}
		if keys[0] == '\x1b' {
			continue // such as an arrow
		}
		for _, key := range keys[:n] {
			switch key {
			case '\x03', '\x04', 'q': // Ctrl-C, Ctrl-D
				k.keys <- errQuit
			case ' ':
				k.keys <- errPause
			}
		}
	}
}

// wait returns what a key asks for, or ctx's cause when it is done.
func (k *keyboard) wait(ctx context.Context) error {
	select {
	case err := <-k.keys:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// output makes w fit for what models write. On a terminal, control characters
// are shown, not obeyed; in raw mode a line feed needs a carriage return.
func (k *keyboard) output(w io.Writer) io.Writer {
	if !k.terminal {
		return w
	}
	return &terminalWriter{w: w, raw: k.restore != nil}
}

// notices makes w fit for what is said beside the text.
func (k *keyboard) notices(w io.Writer) io.Writer {
	return &terminalWriter{w: w, raw: k.restore != nil}
}

// A terminalWriter shows control characters instead of obeying them.
type terminalWriter struct {
	w   io.Writer
	raw bool // a line feed needs a carriage return
}

func (t *terminalWriter) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+8)
	for _, r := range string(p) {
		switch {
		case r == '\n' && t.raw:
			out = append(out, "\r\n"...)
		case r == '\n' || r == '\t':
			out = append(out, byte(r))
		case r == '\r': // of a line's end; alone it would let text hide text
		case unicode.IsControl(r):
			out = append(out, "\ufffd"...)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
