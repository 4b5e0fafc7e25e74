package cli

import (
	"context"
	"io"
	"os"
	"slices"
	"testing"
)

func TestTerminalWriter(t *testing.T) {
	for _, test := range []struct {
		in, raw, cooked string
	}{
		{"plain ä€😀👩‍👩‍👧", "plain ä€😀👩‍👩‍👧", "plain ä€😀👩‍👩‍👧"},
		{"a\tb\n\nc\n", "a\tb\r\n\r\nc\r\n", "a\tb\n\nc\n"},
		{"\x1b[2J\x1b]0;title\a", "\ufffd[2J\ufffd]0;title\ufffd", "\ufffd[2J\ufffd]0;title\ufffd"},
		{"a\rb\bc\x00\x7f", "ab\ufffdc\ufffd\ufffd", "ab\ufffdc\ufffd\ufffd"},
		{"\u009b31m\u0085", "\ufffd31m\ufffd", "\ufffd31m\ufffd"}, // C1
		{"\x9b\xff", "\ufffd\ufffd", "\ufffd\ufffd"},
		{"", "", ""},
	} {
		for raw, want := range map[bool]string{true: test.raw, false: test.cooked} {
			var out screen
			n, err := (&terminalWriter{w: &out, raw: raw}).Write([]byte(test.in))
			if n != len(test.in) || err != nil || out.String() != want {
				t.Errorf("%q, raw %v: %q, %d, %v, want %q, %d", test.in, raw, &out, n, err, want, len(test.in))
			}
		}
	}
	failing := terminalWriter{w: failure{}}
	if n, err := failing.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("a failed write gave %d, %v", n, err)
	}
}

type failure struct{}

func (failure) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Text goes to what is no terminal as it is; notices never carry controls.
func TestNoTerminal(t *testing.T) {
	k := openKeyboard(nil, io.Discard)
	defer k.Close()
	var out screen
	io.WriteString(k.output(&out), "\x1b[2J\r\n")
	if got, want := out.String(), "\x1b[2J\r\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	var notes screen
	io.WriteString(k.notices(&notes), "\x1b[2J")
	if got, want := notes.String(), "\ufffd[2J"; got != want {
		t.Errorf("notices %q, want %q", got, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.EOF)
	if err := k.wait(ctx); err != io.EOF {
		t.Errorf("wait gave %v, want the cause of the context", err)
	}
}

func TestKeys(t *testing.T) {
	for _, test := range []struct {
		typed string
		want  []error
	}{
		{" ", []error{errPause}},
		{"  ", []error{errPause, errPause}},
		{"x q", []error{errPause, errQuit}},
		{"\x03", []error{errQuit}},
		{"\x04", []error{errQuit}},
		{"\x1b[ q", nil},
		{"abc\r", nil},
	} {
		in, typing, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		k := &keyboard{in: in, keys: make(chan error)}
		go func() {
			k.read()
			close(k.keys)
		}()
		io.WriteString(typing, test.typed)
		typing.Close()
		var got []error
		for key := range k.keys {
			got = append(got, key)
		}
		in.Close()
		if !slices.Equal(got, test.want) {
			t.Errorf("%q gave %v, want %v", test.typed, got, test.want)
		}
	}
}
