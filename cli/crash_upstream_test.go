package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tokenrelay/session/upstream/upstreamtest"
)

// An asker is what the tests below ask a relay with.
type asker struct {
	t    *testing.T
	base string
	http *http.Client
}

func (c asker) do(method, path, body string) (status int, answer []byte) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, answer
}

// create makes a session that asks a model for prompt, and returns its path.
func (c asker) create(model, prompt, fields string) string {
	c.t.Helper()
	status, answer := c.do("POST", "/v1/sessions", fmt.Sprintf(`{"source":{"type":"upstream","model":%q,"messages":[{"role":"user","content":%q}]}%s}`, model, prompt, fields))
	var made struct{ ID string }
	if err := json.Unmarshal(answer, &made); err != nil || status != http.StatusCreated {
		c.t.Fatalf("create: %d %s", status, answer)
	}
	return "/v1/sessions/" + made.ID
}

// begun returns when a session has more than its first event.
func (c asker) begun(path string) {
	c.t.Helper()
	response, err := c.http.Get(c.base + path + "/events")
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close() // which leaves
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if lines.Text() == "id: 2" {
			return
		}
	}
	c.t.Fatalf("%s has one event only", path)
}

// events follows a session until its end, over as many connections as it takes.
func (c asker) events(path string) string {
	c.t.Helper()
	_, all := c.do("GET", path+"/events", "")
	return string(all)
}

func (c asker) text(path string) string {
	c.t.Helper()
	_, text := c.do("GET", path+"/text", "")
	return string(text)
}

// A provider in the background is attached to again after kill -9, at whatever
// moment of its answer: the log is that of a run without a kill, and it was paid for once.
func TestCrashBackground(t *testing.T) {
	const pace = 8 * time.Millisecond
	provider := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Between: pace, Unit: upstreamtest.UTF16, Size: 7}})
	address := fmt.Sprintf("name=p,protocol=responses,background=true,base_url=%s/v1", provider.Listen(t))
	data := filepath.Join(t.TempDir(), "data")
	start := func() (*life, asker) {
		relay := serve(t, "--listen", "127.0.0.1:0", "--data", data, "--upstream", address)
		return relay, asker{t, relay.ready(t), http.DefaultClient}
	}
	units, wanted := []string{"token", "grapheme", "word", "line", "delta"}, 5
	if testing.Short() {
		units, wanted = units[:2], 3
	}
	relay, c := start()
	var want, paths []string
	var undisturbed []string
	for _, unit := range units {
		undisturbed = append(undisturbed, c.create("p/m", "whole", `,"unit":"`+unit+`"`))
	}
	for _, path := range undisturbed {
		want = append(want, c.events(path))
	}
	kills, running := 0, 0
	for ; kills < wanted; kills++ {
		// Of those before, which go on too, all may end while the relay starts.
		for _, unit := range units {
			paths = append(paths, c.create("p/m", "whole", `,"unit":"`+unit+`"`))
		}
		// A generation that the provider has not answered for yet is lost with the relay: it has no name to attach to.
		for _, path := range paths[len(paths)-len(units):] {
			c.begun(path)
		}
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		for _, path := range paths {
			if _, state := c.do("GET", path, ""); bytes.Contains(state, []byte(`"state":"running"`)) {
				running++
			}
		}
		relay.end(t, syscall.SIGKILL)
		relay, c = start()
	}
	for i, path := range paths {
		unit, want := units[i%len(units)], want[i%len(units)]
		got := c.events(path)
		if text := c.text(path); text != upstreamtest.Text("whole") {
			t.Errorf("unit %s: the text has %d bytes, want %d", unit, len(text), len(upstreamtest.Text("whole")))
		}
		if got, want := payloads(got), payloads(want); !slices.Equal(got, want) {
			t.Errorf("unit %s: %d events, and not the %d of a run without kills", unit, len(got), len(want))
		}
		if !strings.Contains(got, "\nevent: done\n") {
			t.Errorf("unit %s ended otherwise: …%s", unit, got[max(0, len(got)-300):])
		}
	}
	if running < kills {
		t.Errorf("%d generations ran when the relay was killed %d times", running, kills)
	}
	if got, all := provider.Background(), len(undisturbed)+len(paths); got.Started != all || got.Cancelled != 0 {
		t.Errorf("the provider saw %+v, want %d generations and none cancelled", got, all)
	}
	t.Logf("%d kills in %d generations, some in several: each was paid for once", running, len(paths))
}

// payloads returns the events of a stream but the first and the last, which tell
// ids and times.
func payloads(stream string) []string {
	events := strings.Split(strings.TrimSpace(stream), "\n\n")
	first := slices.IndexFunc(events, func(e string) bool { return strings.HasPrefix(e, "id: 2\n") })
	return events[first : len(events)-1]
}

// Who stops, and what is to stop by itself, closes the provider's connection at
// once. The times are those of a real process over TCP, and only their order is
// checked: that they are none at all in virtual time is the matter of others.
func TestLetsGoAtOnce(t *testing.T) {
	const due = 300 * time.Millisecond
	provider := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Between: 20 * time.Millisecond}})
	base := provider.Listen(t) + "/v1"
	relay := serve(t, "--listen", "127.0.0.1:0", "--durability", "memory",
		"--upstream", "name=p,base_url="+base, "--upstream", "name=hasty,total="+due.String()+",base_url="+base)
	c := asker{t, relay.ready(t), http.DefaultClient}
	for _, ask := range []struct {
		name, model, fields string
		method, path        string        // "" asks for nothing
		due                 time.Duration // after the creation
	}{
		{"stop", "p/m", "", "POST", "/stop", 0},
		{"delete", "p/m", "", "DELETE", "", 0},
		{"release", "p/m", `,"on_pause":"release"`, "POST", "/pause", 0},
		{"policy", "p/m", `,"on_no_reader":{"policy":"stop","after":"300ms"}`, "", "", due},
		{"limit", "hasty/m", "", "", "", due},
	} {
		var took []time.Duration
		for i := range 7 {
			began := time.Now()
			path := c.create(ask.model, ask.name+strconv.Itoa(i), ask.fields)
			request, err := provider.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if ask.method != "" {
				if i%3 > 0 { // else before the first token
					for request.Tokens() < i {
						time.Sleep(time.Millisecond)
					}
				}
				began = time.Now()
				if status, answer := c.do(ask.method, path+ask.path, ""); status/100 != 2 {
					t.Fatalf("%s: %d %s", ask.name, status, answer)
				}
			}
			select {
			case <-request.Left:
				at, _ := request.LeftAt()
				took = append(took, at.Sub(began)-ask.due)
			case <-time.After(stuck):
				t.Fatalf("%s: the provider's connection stays open", ask.name)
			}
		}
		slices.Sort(took)
		t.Logf("%s: the provider's connection was closed after %v (median), %v at most", ask.name, took[len(took)/2], took[len(took)-1])
		if median := took[len(took)/2]; median > time.Second {
			t.Errorf("%s: the provider's connection was closed after %v", ask.name, median)
		}
	}
}

// Many sessions, each with its own connection to a provider, take little memory
// each, and a reader that stalls holds up no provider.
func TestManyUpstreams(t *testing.T) {
	sessions, most := 1000, 1024 // KiB each: what it really is depends on the machine
	if testing.Short() {
		sessions = 100
	}
	gate := make(chan struct{})
	provider := upstreamtest.New(upstreamtest.Options{Default: upstreamtest.Behavior{Gate: gate, NoUsage: true}})
	relay := serve(t, "--listen", "127.0.0.1:0", "--durability", "memory",
		"--upstream", "name=p,base_url="+provider.Listen(t)+"/v1")

	c := asker{t, relay.ready(t), &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	before := c.resident()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var reading sync.WaitGroup
	var paths []string
	for i := range sessions {
		path := c.create("p/m", "p"+strconv.Itoa(i), "")
		paths = append(paths, path)
		// It reads the first event, and then nothing any more.
		request, _ := http.NewRequestWithContext(ctx, "GET", c.base+path+"/events", nil)
		response, err := c.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		first, err := bufio.NewReader(response.Body).ReadString('\n')
		if err != nil || first == "" {
			t.Fatalf("%q, %v", first, err)
		}
		reading.Go(func() { <-ctx.Done(); response.Body.Close() })
	}
	for range 20 * sessions { // 20 tokens each, about
		gate <- struct{}{}
	}
	during := c.resident()
	each := (during - before) / sessions >> 10
	t.Logf("%d sessions with a provider's connection and a stalled reader each: %d MiB before, %d MiB during, %d KiB a session", sessions, before>>20, during>>20, each)
	if each > most {
		t.Errorf("%d KiB a session, want %d at most", each, most)
	}
	close(gate) // the rest comes at once, though nobody reads
	for i, path := range paths {
		want := upstreamtest.Text("p" + strconv.Itoa(i))
		for deadline := time.Now().Add(stuck); c.text(path) != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("session %d has %d bytes, want %d: its provider waits for a reader", i, len(c.text(path)), len(want))
			}
		}
	}
	leave()
	reading.Wait()
}

// resident is the memory of the relay's process, in bytes.
func (c asker) resident() int {
	c.t.Helper()
	_, metrics := c.do("GET", "/metrics", "")
	for line := range bytes.Lines(metrics) {
		if value, ok := bytes.CutPrefix(line, []byte("process_resident_memory_bytes ")); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(string(value)), 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return int(n)
		}
	}
	c.t.Fatal("the metrics do not tell the memory")
	return 0
}
