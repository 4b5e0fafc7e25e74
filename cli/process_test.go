package cli

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// stuck is how long anything may take before it counts as stuck.
const stuck = time.Minute

// beMain makes the test binary the command itself.
const beMain = "BE_TOKENRELAY"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process starts a process of its own with this command line.
func process(t *testing.T, args ...string) (p *exec.Cmd, out, complaint *bufio.Reader) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p = exec.CommandContext(t.Context(), binary, args...)
	p.Env = append(os.Environ(), beMain+"=1")
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p, bufio.NewReader(stdout), bufio.NewReader(stderr)
}

// Ctrl-C leaves a session with what is needed to go on, and ends the relay in
// order.
func TestInterrupt(t *testing.T) {
	cleanEnv(t)
	relay, _, relayLog := process(t, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir())
	var address string
	for address == "" {
		line, err := relayLog.ReadString('\n')
		if err != nil {
			t.Fatalf("the relay ended before it listened: %v", err)
		}
		if found := regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(line); found != nil {
			address = "http://" + found[1]
		}
	}
	c := newClient(address)
	id, err := c.create(t.Context(), map[string]any{"source": map[string]string{"type": "push"}, "unit": "delta"})
	if err != nil {
		t.Fatal(err)
	}
	post := func(path, body string) {
		t.Helper()
		response, err := http.Post(address+"/v1/sessions/"+id+"/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, response.Status)
		}
	}
	post("append", `{"text":"abc"}`)

	follow, out, notes := process(t, "follow", id, "--server", address)
	typed := make([]byte, 3)
	if _, err := io.ReadFull(out, typed); err != nil || string(typed) != "abc" {
		t.Fatalf("typed %q, error %v, want abc", typed, err)
	}
	follow.Process.Signal(os.Interrupt)
	told, err := io.ReadAll(notes)
	if err != nil {
		t.Fatal(err)
	}
	follow.Wait()
	if code := follow.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit status %d, want 130", code)
	}
	next := regexp.MustCompile(`(?m)^  \S+ (follow .*)$`).FindSubmatch(told)
	if next == nil {
		t.Fatalf("told %q, want how to go on", told)
	}

	post("append", `{"text":"def"}`)
	post("finish", "")
	var rest bytes.Buffer
	status := run(t.Context(), strings.Fields(string(next[1])), streams{out: &rest, err: io.Discard})
	if status != 0 || rest.String() != "def" {
		t.Errorf("%s: status %d, %q, want 0 and def", next[1], status, &rest)
	}

	// The metrics are those of the sessions that this relay runs.
	response, err := http.Get(address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(response.Body)
	response.Body.Close()
	if want := "\ntokenrelay_sessions_started_total{source=\"push\"} 1\n"; err != nil || !strings.Contains(string(metrics), want) {
		t.Errorf("/metrics: %s, %v, want %s", metrics, err, want)
	}

	relay.Process.Signal(os.Interrupt)
	log, err := io.ReadAll(relayLog)
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Wait(); err != nil || !strings.Contains(string(log), "msg=stopped") {
		t.Errorf("the relay ended with %v:\n%s", err, log)
	}
}

// A life is a relay's process from its start to its end.
type life struct {
	process   *exec.Cmd
	began     time.Time
	listening chan struct{} // closed when it answers
	ended     chan struct{} // closed when it is gone and its log is read
	log       screen
}

// serve starts a relay. It is gone when the test is over.
func serve(t *testing.T, args ...string) *life {
	t.Helper()
	l := &life{began: time.Now(), listening: make(chan struct{}), ended: make(chan struct{})}
	p, _, log := process(t, append([]string{"serve"}, args...)...)
	l.process = p
	go func() {
		defer close(l.ended)
		for {
			line, err := log.ReadString('\n')
			io.WriteString(&l.log, line)
			if strings.Contains(line, " msg=listening ") {
				close(l.listening)
			}
			if err != nil {
				break
			}
		}
		p.Wait()
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-l.ended
	})
	return l
}

// ready waits until the relay listens, and returns its address.
func (l *life) ready(t *testing.T) string {
	t.Helper()
	select {
	case <-l.listening:
	case <-l.ended:
		t.Fatalf("the relay ended before it listened:\n%s", l.log.String())
	case <-time.After(stuck):
		t.Fatalf("the relay does not listen:\n%s", l.log.String())
	}
	return "http://" + regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(l.log.String())[1]
}

// end sends the relay a signal, and waits until it is gone.
func (l *life) end(t *testing.T, signal os.Signal) {
	t.Helper()
	l.process.Process.Signal(signal)
	select {
	case <-l.ended:
	case <-time.After(stuck):
		t.Fatalf("the relay does not end:\n%s", l.log.String())
	}
}
