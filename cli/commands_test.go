package cli

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"tokenrelay/session"
	"tokenrelay/session/sessiontest"
)

func TestAskPrompt(t *testing.T) {
	for _, test := range []struct {
		args  []string
		stdin string
		want  string
	}{
		{[]string{"Why", "tides?"}, "not read\n", "Why tides?"},
		{nil, "  Why tides? \nsecond line\n", "Why tides?"},
		{nil, "no newline", "no newline"},
		{nil, "\n", ""},
		{nil, "", ""},
	} {
		in, typing, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(typing, test.stdin)
		typing.Close()
		got, err := (&askCommand{Prompt: test.args}).prompt(streams{in: in, out: io.Discard, err: io.Discard})
		in.Close()
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q and %q: %q, error %v, want %q", test.args, test.stdin, got, err, test.want)
		}
	}
}

// A resetter stands between client and relay, and resets each connection after
// some bytes of answer, in the middle of an event.
type resetter struct {
	net.Listener
	cuts chan int // bytes before the reset of the next connections; then never
}

func (r *resetter) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case left := <-r.cuts:
		return &resetConn{TCPConn: c.(*net.TCPConn), left: left}, nil
	default:
		return c, nil
	}
}

type resetConn struct {
	*net.TCPConn
	left int
}

func (c *resetConn) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.TCPConn.Write(p)
	}
	n, _ := c.TCPConn.Write(p[:c.left])
	c.left = 0
	c.SetLinger(0)
	c.Close()
	return n, io.ErrClosedPipe
}

func TestCommands(t *testing.T) {
	cleanEnv(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resets := &resetter{Listener: l, cuts: make(chan int, 100)}
	manager := newRelay(t, resets)
	address := "--server=http://" + l.Addr().String() + "/"
	command := func(cuts []int, args ...string) (status int, out, notes string) {
		for _, n := range cuts {
			resets.cuts <- n
		}
		var o, e screen
		status = run(t.Context(), append(args, address), streams{out: &o, err: &e})
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		return status, o.String(), e.String()
	}
	random := rand.New(rand.NewPCG(1, 2))
	var cuts []int
	for range 6 {
		cuts = append(cuts, 300+random.IntN(3000))
	}
	s := newSession(t, manager, session.Spec{Source: session.SourceSpec{Type: session.SourceGenerate, Prompt: "Ebbe? 👩‍👩‍👧", Seed: 7, Length: 800}})
	id := s.Info().ID.String()
	status, out, notes := command(cuts, "follow", id)
	text, last := sessiontest.Text(t, s), s.Status().Last
	if status != 0 || out != text {
		t.Errorf("follow: status %d, %d bytes of text, want 0 and the session's %d: %s", status, len(out), len(text), notes)
	}
	if lost, back := strings.Count(notes, "[connection lost at "), strings.Count(notes, "[back at "); lost != 6 || back != 6 {
		t.Errorf("follow: %d times lost and %d times back, want 6: %q", lost, back, notes)
	}

	// The tail only.
	after := last - 20
	reader, err := s.Read(after)
	if err != nil {
		t.Fatal(err)
	}
	wire, _, err := reader.Next(t.Context(), 1<<20)
	reader.Close()
	if err != nil {
		t.Fatal(err)
	}
	var tail strings.Builder
	for f := range wire.Frames() {
		tail.WriteString(f.Text())
	}
	for _, n := range []session.FrameID{after, last} {
		want := map[session.FrameID]string{after: tail.String()}[n]
		if status, out, notes := command(nil, "follow", id, fmt.Sprintf("--after=%d", n)); status != 0 || out != want || notes != "" {
			t.Errorf("follow after %d: status %d, %q and %q, want 0 and %q", n, status, out, notes, want)
		}
	}

	for _, test := range []struct{ name, id, after, want string }{
		{"unknown id", session.NewID().String(), "0", "(session_not_found)"},
		{"no id", "nonsense", "0", `"nonsense" is not a session's id`},
		{"cursor ahead", id, "999999", "(cursor_ahead)"},
	} {
		if status, out, notes := command(nil, "follow", test.id, "--after="+test.after); status != 1 || out != "" || !strings.Contains(notes, test.want) {
			t.Errorf("%s: status %d, %q and %q, want 1 and %s", test.name, status, out, notes, test.want)
		}
	}

	// The relay's own generator, cut while it writes.
	want := strings.Join(slices.Collect(session.Generate("Why tides?", 5, 300)), "")
	status, out, notes = command([]int{3000, 3000, 3000}, "ask", "Why", "tides?", "--seed=5", "--length=300", "--rate=2000")
	if status != 0 || out != want || !strings.Contains(notes, "lost") {
		t.Errorf("ask: status %d, %d bytes and %q, want 0 and %d bytes", status, len(out), notes, len(want))
	}
	if status, _, notes = command(nil, "ask", "x", "--unit=paragraph"); status != 1 || !strings.Contains(notes, "(invalid_field)") {
		t.Errorf("ask with another unit: status %d, %q", status, notes)
	}
	if status, _, notes = command(nil, "ask", "x", "--model=other/m"); status != 1 || !strings.Contains(notes, "upstream") {
		t.Errorf("ask another model: status %d, %q", status, notes)
	}

	// Interrupted before anything has come.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status := run(ctx, []string{"ask", "x", address}, streams{out: io.Discard, err: io.Discard}); status != 130 {
		t.Errorf("interrupted ask: status %d, want 130", status)
	}
}

// A relay that is not there ends ask, and says what to do.
func TestNoRelay(t *testing.T) {
	cleanEnv(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var out, notes screen
	status := run(t.Context(), []string{"ask", "x", "--server=http://" + l.Addr().String()}, streams{out: &out, err: &notes})
	if status != 1 || !strings.Contains(notes.String(), os.Args[0]+" serve") || out.String() != "" {
		t.Errorf("status %d, %q and %q", status, &out, &notes)
	}
}
