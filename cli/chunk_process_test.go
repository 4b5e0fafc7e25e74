package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A filter is a process of its own that can be typed to.
type filter struct {
	*exec.Cmd
	in    io.WriteCloser
	out   io.ReadCloser
	notes bytes.Buffer // whole once it has ended
}

func newFilter(t *testing.T, args ...string) *filter {
	t.Helper()
	cleanEnv(t)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := &filter{Cmd: exec.CommandContext(t.Context(), binary, args...)}
	f.Env = append(os.Environ(), beMain+"=1")
	f.Stderr = &f.notes
	if f.in, err = f.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if f.out, err = f.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	return f
}

// expect reads as much as want has, and wants it.
func (f *filter) expect(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(f.out, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

// end reads the rest and returns it with the exit status.
func (f *filter) end() (rest string, status int) {
	out, _ := io.ReadAll(f.out)
	f.Wait()
	return string(out), f.ProcessState.ExitCode()
}

// A chunk is printed when it is certain, not when the text ends.
func TestChunkAtOnce(t *testing.T) {
	f := newFilter(t, "chunk", "--unit=word", "-")
	io.WriteString(f.in, "one two\n")
	f.expect(t, "1\t\"one\"\n2\t\" \"\n3\t\"two\"\n4\t\"\\n\"\n")
	io.WriteString(f.in, "thr")
	io.WriteString(f.in, "ee now")
	f.expect(t, "5\t\"three\"\n")
	f.in.Close()
	if rest, status := f.end(); status != 0 || rest != "6\t\" \"\n7\t\"now\"\n" || f.notes.Len() > 0 {
		t.Errorf("status %d, %q and %q", status, rest, &f.notes)
	}
}

// Whoever reads the chunks need not read all.
func TestChunkBrokenPipe(t *testing.T) {
	for _, form := range []string{"--unit=token", "--json", "--unit=line"} {
		f := newFilter(t, "chunk", form)
		wrote := make(chan error, 1)
		go func() {
			for {
				if _, err := io.WriteString(f.in, strings.Repeat("and so on\n", 1000)); err != nil {
					wrote <- err
					return
				}
			}
		}()
		first := make([]byte, 10)
		if _, err := io.ReadFull(f.out, first); err != nil {
			t.Fatal(err)
		}
		f.out.Close()
		f.Wait()
		<-wrote
		if status := f.ProcessState.ExitCode(); status != 0 || f.notes.Len() > 0 {
			t.Errorf("%s: status %d and %q, want 0 and nothing", form, status, &f.notes)
		}
	}
}

// Much text goes through as much memory as little text, and none of it is lost.
func TestChunkMuch(t *testing.T) {
	f := newFilter(t, "chunk", "--unit=grapheme", "--count")
	part := strings.Repeat("The tide 👩‍👩‍👧 turns\r\n", 2000)
	const parts = 500
	early := 0 // the most memory that it had after a fifth of the text
	for i := range parts {
		if i == parts/5 {
			early = peak(t, f.Process.Pid)
		}
		io.WriteString(f.in, part)
	}
	if late, text := peak(t, f.Process.Pid), parts*4/5*len(part); late-early > text/2 {
		t.Errorf("%d bytes of text took %d bytes more of memory, want at most half of that", text, late-early)
	}
	f.in.Close()
	rest, status := f.end()
	units := parts * 2000 * 17
	want := fmt.Sprintf("unit\tgrapheme\nbytes\t%d\nchunks\t%d\nunits\t%d\ncapped\t0\ninvalid\t0\n", parts*len(part), units, units)
	if status != 0 || rest != want || f.notes.Len() > 0 {
		t.Errorf("status %d, %q and %q, want %q", status, rest, &f.notes, want)
	}
}

// Ctrl-C ends it at once, though it waits for more to read.
func TestChunkInterrupt(t *testing.T) {
	f := newFilter(t, "chunk", "--unit=line")
	defer f.in.Close()
	io.WriteString(f.in, "one\ntwo")
	f.expect(t, "1\t\"one\\n\"\n")
	f.Process.Signal(os.Interrupt)
	if rest, status := f.end(); status != 130 || rest != "" || f.notes.Len() > 0 {
		t.Errorf("status %d, %q and %q, want 130 and nothing", status, rest, &f.notes)
	}
}

// Counts are told of what was read until Ctrl-C.
func TestChunkInterruptCount(t *testing.T) {
	f := newFilter(t, "chunk", "--unit=grapheme", "--count")
	defer f.in.Close()
	const read = 1 << 20
	text := strings.Repeat("é", read/2)
	// That much more is in the pipe and in buffers at most.
	io.WriteString(f.in, text+text[:4*pieceBytes])
	f.Process.Signal(os.Interrupt)
	rest, status := f.end()
	var bytes, chunks, units, capped, invalid int
	n, err := fmt.Sscanf(rest, "unit\tgrapheme\nbytes\t%d\nchunks\t%d\nunits\t%d\ncapped\t%d\ninvalid\t%d\n", &bytes, &chunks, &units, &capped, &invalid)
	if status != 130 || n != 5 || f.notes.Len() > 0 {
		t.Fatalf("status %d, %q (%v) and %q, want 130 and the totals", status, rest, err, &f.notes)
	}
	// The last one is not certain to be whole.
	if bytes < read || units != chunks || units != (bytes-1)/2 || capped+invalid != 0 {
		t.Errorf("totals %q, want %d bytes or more, a unit for each two, none invalid", rest, read)
	}
}

// A directory in the place of standard input is told as such.
func TestChunkReadError(t *testing.T) {
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var out, notes screen
	status := run(t.Context(), []string{"chunk"}, streams{in: folder, out: &out, err: &notes})
	if status != 1 || out.String() != "" || !strings.Contains(notes.String(), "is a directory") {
		t.Errorf("status %d, %q and %q", status, &out, &notes)
	}
}

// peak returns the most memory, in bytes, that a process has had, or 0 where the
// system does not tell.
func peak(t *testing.T, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, ok := strings.Cut(string(text), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(after, &kib); !ok || err != nil {
		t.Fatalf("no VmHWM in %q", text)
	}
	return kib << 10
}
