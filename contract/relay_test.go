package contract_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is after how long a condition that has not come is a failure.
const limit = 20 * time.Second

var (
	binary string
	seed   uint64 // of what is left to chance; CONTRACT_SEED repeats a run
)

func TestMain(m *testing.M) {
	seed = rand.Uint64()
	if value, set := os.LookupEnv("CONTRACT_SEED"); set {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "CONTRACT_SEED:", err)
			os.Exit(2)
		}
		seed = n
	}
	binary = os.Getenv("TOKENRELAY_BIN")
	if binary == "" {
		binary, _ = filepath.Abs("bin/tokenrelay")
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// newRand makes a test repeatable by the seed that it logs.
func newRand(t *testing.T) *rand.Rand {
	t.Logf("CONTRACT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, uint64(len(t.Name()))))
}

// A relay is the running binary, with a directory of its own for its sessions.
type relay struct {
	t      *testing.T
	url    string
	flags  []string // of serve, but --listen
	cmd    *exec.Cmd
	told   sync.Once
	exited chan struct{} // closed when it is gone

	mu  sync.Mutex // guards the field below
	log []string   // what it wrote to stderr
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// start runs the relay until the end of the test, which fails if it did not
// end well or logged an error. Flags override the defaults here.
func start(t *testing.T, flags ...string) *relay {
	t.Helper()
	r := &relay{t: t, flags: append([]string{"--data=" + t.TempDir(), "--retry=10ms", "--drain=10ms"}, flags...)}
	t.Cleanup(r.stop)
	r.run("127.0.0.1:0")
	return r
}

func (r *relay) run(listen string) {
	r.t.Helper()
	cmd, exited := exec.Command(binary, append([]string{"serve", "--listen=" + listen}, r.flags...)...), make(chan struct{})
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.cmd, r.exited = cmd, exited
	addr := make(chan string, 1)
	go func() {
		defer close(exited)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			r.mu.Lock()
			r.log = append(r.log, lines.Text())
			r.mu.Unlock()
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				addr <- found[1]
			}
		}
		cmd.Wait()
	}()
	select {
	case a := <-addr:
		r.url = "http://" + a
	case <-exited:
		r.t.Fatalf("the relay did not start:\n%s", strings.Join(r.log, "\n"))
	case <-time.After(limit):
		r.t.Fatal("the relay does not listen")
	}
}

// restart kills the relay (-9) in the middle of everything, and starts it again
// on the same port and data.
func (r *relay) restart() {
	r.t.Helper()
	r.cmd.Process.Kill()
	<-r.exited
	r.run(strings.TrimPrefix(r.url, "http://"))
}

// terminate tells the relay to end. It does so once: a second signal would
// end it at once.
func (r *relay) terminate() {
	r.told.Do(func() { r.cmd.Process.Signal(syscall.SIGTERM) })
}

// stop waits for the end.
func (r *relay) stop() {
	if r.cmd == nil {
		return // it did not start
	}
	r.terminate()
	select {
	case <-r.exited:
	case <-time.After(limit):
		r.cmd.Process.Kill()
		<-r.exited
		r.t.Error("the relay did not end")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	log := strings.Join(r.log, "\n")
	if got := r.cmd.ProcessState.ExitCode(); got != 0 || strings.Contains(log, "level=ERROR") {
		r.t.Errorf("exit code of the relay = %d, want 0 and no error in its log:\n%s", got, log)
	}
}

// ask sends a request with a JSON body, and returns the answer and its body.
func (r *relay) ask(method, path, body string) (*http.Response, string) {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer, string(data)
}

// create makes a session and returns the path of it.
func (r *relay) create(spec map[string]any) string {
	r.t.Helper()
	body, _ := json.Marshal(spec)
	answer, got := r.ask("POST", "/v1/sessions", string(body))
	if answer.StatusCode != http.StatusCreated {
		r.t.Fatalf("create: %s %s", answer.Status, got)
	}
	return answer.Header.Get("Location")
}

// textSession makes a session of a text, at rate events a second.
func (r *relay) textSession(text, unit string, rate int) string {
	r.t.Helper()
	return r.create(map[string]any{"source": map[string]any{"type": "text", "text": text}, "unit": unit, "rate": rate})
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %v", what, limit)
		}
	}
}

// A transcript is what one client saw.
type transcript struct {
	text           strings.Builder
	last           uint64
	events         int
	lost, repeated uint64
	kinds          []string // names of the events that are not text
	end            string   // name of the terminal one
	malformed      []string

	onEvent func(id uint64)   // called for each; nil for none
	onEnd   func(data string) // called with the terminal one; nil for none
}

// add takes an event.
func (s *transcript) add(id, name, data string) {
	n, err := strconv.ParseUint(id, 10, 64)
	var payload struct{ Text string }
	if err != nil || json.Unmarshal([]byte(data), &payload) != nil {
		s.malformed = append(s.malformed, fmt.Sprintf("id %q, event %q, data %q", id, name, data))
		return
	}
	if n <= s.last {
		s.repeated++
	} else {
		s.lost += n - s.last - 1
	}
	s.last = n
	s.events++
	if s.onEvent != nil {
		s.onEvent(n)
	}
	switch name {
	case "", "message":
		s.text.WriteString(payload.Text)
		return
	case "done", "failed", "stopped", "interrupted":
		s.end = name
		if s.onEnd != nil {
			s.onEnd(data)
		}
	}
	s.kinds = append(s.kinds, name)
}

// check fails unless each event came once, in order, and they are the text.
func (s *transcript) check(t *testing.T, want string) {
	t.Helper()
	if s.lost != 0 || s.repeated != 0 || s.last != uint64(s.events) || len(s.malformed) != 0 {
		t.Errorf("%d events up to id %d: %d lost, %d repeated, malformed: %q; want each once", s.events, s.last, s.lost, s.repeated, s.malformed)
	}
	if s.end != "done" {
		t.Errorf("terminal event = %q, want done", s.end)
	}
	if got := s.text.String(); got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("text of %d bytes, want %d; they differ from byte %d on", len(got), len(want), at)
	}
}

// pieces break streams that are cut, joined or escaped carelessly.
var pieces = []string{
	"plain ", "words ", "and more of them ", "naïve café ", "Grüße ", "cafe\u0301 ", "日本語", "русский ", "עברית ", "हिन्दी ",
	"👩‍👩‍👧", "🏳️‍🌈 ", "👍🏽", "𝒳", "\r\n", "\n", "\n\n", "\r", "\t", `"quoted" `, "it's ", `\`, `\u0041 `, "data: ", "id: 7\n", ": ka\n",
	"\x00", "\u0085", "\u2028", "\u2029", "\ufeff", "<b>&amp;</b> ", "[DONE]", "```go\nfunc main() {}\n```\n",
}

// newText makes a text of about size bytes.
func newText(random *rand.Rand, size int) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(pieces[random.IntN(len(pieces))])
	}
	return b.String()
}
