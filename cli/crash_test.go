package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tokenrelay/session"
)

// A crashPhase is so many kills at one level of durability.
type crashPhase struct {
	level session.Level
	kills int
}

// Nothing that anybody saw or was told is gone or changed after kill -9, at
// whatever moment, and every session goes on or says that it cannot.
func TestCrash(t *testing.T) {
	h := newHarness(t)
	sessions, early := 14, h.random.IntN(4)
	for _, phase := range crashPhases {
		if testing.Short() {
			phase.kills, sessions = min(phase.kills, 2), 12
		}
		for i := range phase.kills {
			h.start(phase.level)
			if i%4 == early {
				// While it starts, or recovers what is there.
				time.Sleep(time.Duration(h.random.Int64N(int64(h.starts))))
			} else {
				h.load(sessions)
				if i%3 == 0 {
					h.examine(true)
				} else {
					h.working.Go(func() { h.examine(false) })
				}
				time.Sleep(time.Duration(20+h.random.IntN(480)) * time.Millisecond)
				if i%5 == 3 {
					// While it ends in order.
					h.relay.process.Process.Signal(syscall.SIGTERM)
					time.Sleep(time.Duration(h.random.IntN(150)) * time.Millisecond)
				}
			}
			h.relay.end(t, syscall.SIGKILL)
			h.kills++
			h.readLog()
		}
	}
	h.start(session.LevelPower)
	h.finish()
}

// The same holds when the relay is told to end and started again.
func TestRestart(t *testing.T) {
	h := newHarness(t)
	for range 2 {
		h.start(session.LevelPower)
		h.load(10)
		h.examine(true)
		time.Sleep(time.Duration(20+h.random.IntN(200)) * time.Millisecond)
		h.stop()
	}
	h.start(session.LevelPower)
	h.finish()
}

// A harness follows sessions of a relay that ends and is started again, on the
// same address and data.
type harness struct {
	t        *testing.T
	ctx      context.Context // ends when something is stuck
	seed     uint64
	random   *rand.Rand // of the test's own goroutine
	addr     string
	data     string
	provider *provider
	http     *http.Client
	typists  []*typistProcess
	relay    *life
	lives    []*life
	starts   time.Duration // how long the last start took that was waited for
	kills    int
	working  sync.WaitGroup // readers, producers and all others that come to an end
	attempts sync.Map       // names that sessions were to be created with
	mu       sync.Mutex     // guards the fields below
	all      []*subject     // those that were created
	pending  int            // sessions that are still to be created
	figures
}

// figures are what was checked.
type figures struct {
	events, reread, parts, reconnects atomic.Int64 // of readers
	whole                             atomic.Int64 // events of whole sessions
	acknowledged, repeated, again     atomic.Int64 // appends
	states, listings, metrics         atomic.Int64
	recovered                         atomic.Int64 // sessions, as the metrics told
}

func newHarness(t *testing.T) *harness {
	cleanEnv(t)
	seed := rand.Uint64()
	if given := os.Getenv("CRASH_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("CRASH_SEED: %v", err)
		}
	}
	t.Logf("as far as chance goes, the same again with CRASH_SEED=%d", seed)
	ctx, cancel := context.WithCancel(t.Context())
	h := &harness{
		t: t, ctx: ctx, seed: seed, random: rand.New(rand.NewPCG(seed, 0)),
		data: filepath.Join(t.TempDir(), "data"), provider: newProvider(t, seed),
		http:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		starts: 500 * time.Millisecond,
	}
	h.addr = freeAddr(t, h.random)
	t.Cleanup(func() {
		cancel()
		h.working.Wait()
		h.http.CloseIdleConnections()
		if t.Failed() && len(h.lives) > 0 {
			t.Logf("the last relay's log:\n%s", h.relay.log.String())
		}
	})
	return h
}

// freeAddr returns an address that stays free while nobody listens: below the
// ports that systems give to those who dial, one of whom would be a client that
// dials itself.
func freeAddr(t *testing.T, random *rand.Rand) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+random.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// start starts the relay, and does not wait for it.
func (h *harness) start(level session.Level) {
	h.t.Helper()
	if h.t.Failed() {
		h.t.FailNow() // more would only bury it
	}
	h.relay = serve(h.t, "--listen", h.addr, "--data", h.data, "--durability", string(level), "--max-log=1000", "--socket-buffer=4096", "--drain=100ms",
		"--upstream", "name=up,base_url="+h.provider.URL+"/v1")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lives = append(h.lives, h.relay)
}

func (h *harness) ready() {
	h.t.Helper()
	h.relay.ready(h.t)
	h.starts = time.Since(h.relay.began)
}

// stop ends the relay in order.
func (h *harness) stop() {
	h.t.Helper()
	h.relay.end(h.t, syscall.SIGTERM)
	if code := h.relay.process.ProcessState.ExitCode(); code != 0 {
		h.t.Errorf("the relay ended with exit status %d", code)
	}
	h.readLog()
}

var complaints = regexp.MustCompile(`(?m)^.*(level=ERROR|DATA RACE|panic:|fatal error:).*$`)

// readLog looks for what no relay may log.
func (h *harness) readLog() {
	h.t.Helper()
	if line := complaints.FindString(h.relay.log.String()); line != "" {
		h.t.Errorf("the relay said: %s", line)
	}
}

// load waits until the relay is ready, and sees to it that so many sessions
// have not ended.
func (h *harness) load(most int) {
	h.t.Helper()
	h.ready()
	h.mu.Lock()
	live := h.pending
	for _, s := range h.all {
		if !s.over() {
			live++
		}
	}
	n := len(h.all) + h.pending
	h.mu.Unlock()
	for ; live < most; live++ {
		s := newSubject(h, n)
		n++
		h.working.Go(s.run)
		h.mu.Lock()
		h.pending++
		h.mu.Unlock()
		if n%40 == 7 {
			h.startTypist(nil, "ask", "--server", "http://"+h.addr, "--unit=word", "--rate=300", "--length=300", fmt.Sprintf("--seed=%d", n), "tides")
		}
		if n%20 == 1 || n%20 == 3 {
			h.wait(func() bool { return s.id.Load() != nil })
			h.startTypist(s, "follow", *s.id.Load(), "--server", "http://"+h.addr)
		}
	}
}

// wait waits until ok, for as long as something moves and nothing is wrong.
func (h *harness) wait(ok func() bool) {
	h.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	moves := func() int64 { return h.events.Load() + h.reread.Load() + h.acknowledged.Load() }
	for last, since := moves(), time.Now(); !ok(); <-tick.C {
		if h.t.Failed() {
			h.t.FailNow() // more would only bury it
		}
		if now := moves(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > stuck {
			h.t.Fatalf("nothing moves any more:\n%s", h.unfinished())
		}
	}
}

// unfinished says where the sessions stand that have not come to their end.
func (h *harness) unfinished() string {
	var b strings.Builder
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(&b, "%d not created\n", h.pending)
	for _, s := range h.all {
		if !s.over() {
			fmt.Fprintf(&b, "%s %s: %d events seen\n", s.name, *s.id.Load(), s.last())
		}
	}
	return b.String()
}

// subjects returns the sessions that were created by now.
func (h *harness) subjects() []*subject {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// examine compares what the relay says with what was seen of it before. It
// ends early when the relay does, unless that stays.
func (h *harness) examine(stays bool) {
	all := h.subjects()
	before := make([]int, len(all))
	for i, s := range all {
		before[i] = s.last()
		if !s.examine() {
			if stays {
				h.t.Errorf("%s: the relay does not answer", s.name)
			}
			return
		}
	}
	if !h.examineListing(all) && stays {
		h.t.Error("the relay does not answer")
	}
	if !stays {
		return
	}
	h.examineMetrics()
	// Whatever lives moves: what is paused is resumed, what was sent is finished.
	h.wait(func() bool {
		for i, s := range all {
			if s.last() == before[i] && !s.over() {
				return false
			}
		}
		return true
	})
}

// A told is a session as the relay tells it.
type told struct {
	ID        string            `json:"id"`
	State     session.State     `json:"state"`
	Last      int               `json:"last_event_id"`
	Reason    string            `json:"reason"`
	Producers map[string]int64  `json:"producers"`
	Metadata  map[string]string `json:"metadata"`
	Source    struct {
		Type session.SourceType `json:"type"`
	} `json:"source"`
	Timings struct {
		Created time.Time `json:"created"`
		Ended   time.Time `json:"ended"`
	} `json:"timings"`
}

// list returns all sessions.
func (h *harness) list(limit int) (all []told, ok bool) {
	for after := ""; ; {
		var page struct {
			Sessions []told
			Next     string
		}
		status, body, err := h.do(http.MethodGet, fmt.Sprintf("/v1/sessions?limit=%d%s", limit, after), "")
		if err != nil || status == http.StatusServiceUnavailable {
			return nil, false
		}
		if err := json.Unmarshal(body, &page); err != nil || status != http.StatusOK {
			h.t.Errorf("listing: status %d, %v", status, err)
			return nil, false
		}
		all = append(all, page.Sessions...)
		if page.Next == "" {
			return all, true
		}
		after = "&after=" + page.Next
	}
}

// examineListing finds each of these sessions once, and none that nobody wanted.
func (h *harness) examineListing(all []*subject) bool {
	deleted := make(map[string]bool)
	for _, s := range all {
		if s.deleted.Load() {
			deleted[*s.id.Load()] = true
		}
	}
	listed, ok := h.list(3 + len(all)/3)
	if !ok {
		return false
	}
	seen, names := make(map[string]bool), make(map[string]bool)
	for i, one := range listed {
		if seen[one.ID] || deleted[one.ID] {
			h.t.Errorf("listing: %s is there once more", one.ID)
		}
		if i > 0 && one.Timings.Created.After(listed[i-1].Timings.Created) {
			h.t.Errorf("listing: %s is newer than the one before it", one.ID)
		}
		if name := one.Metadata["name"]; name != "" {
			if _, attempted := h.attempts.Load(name); !attempted || names[name] {
				h.t.Errorf("listing: %s, named %s, was never created", one.ID, name)
			}
			names[name] = true
		}
		seen[one.ID] = true
	}
	for _, s := range all {
		if !seen[*s.id.Load()] && !s.deleting.Load() {
			h.t.Errorf("listing: %s %s is missing", s.name, *s.id.Load())
		}
	}
	h.listings.Add(1)
	return true
}

var recoveredMetric = regexp.MustCompile(`(?m)^tokenrelay_sessions_recovered_total\{source="(\w+)"\} (\d+)$`)

// examineMetrics compares how many sessions the relay says it has recovered
// with those that had begun before it and had not ended then.
func (h *harness) examineMetrics() {
	h.t.Helper()
	listed, _ := h.list(200)
	want := map[string]int{"text": 0, "generate": 0, "push": 0, "upstream": 0}
	total := 0
	for _, one := range listed {
		if one.Timings.Created.Before(h.relay.began) && (one.Timings.Ended.IsZero() || one.Timings.Ended.After(h.relay.began)) {
			want[string(one.Source.Type)]++
			total++
		}
	}
	unlisted := 0 // text sessions that may have been recovered, and were deleted since
	for _, s := range h.subjects() {
		if s.deleting.Load() && (!s.deleted.Load() || s.deletedAt.After(h.relay.began)) {
			unlisted++
		}
	}
	got := make(map[string]int)
	h.wait(func() bool {
		_, body, _ := h.do(http.MethodGet, "/metrics", "")
		for _, found := range recoveredMetric.FindAllSubmatch(body, -1) {
			got[string(found[1])], _ = strconv.Atoi(string(found[2]))
		}
		sum := 0
		for _, n := range got {
			sum += n
		}
		return sum >= total
	})
	if more := got["text"] - want["text"]; more > 0 && more <= unlisted {
		want["text"] = got["text"]
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("recovered sessions: %v, want %v", got, want)
	}
	h.metrics.Add(1)
	h.recovered.Add(int64(total))
}

// finish waits until all sessions have come to their end, and compares the
// whole of each with what was seen and given: as it is, and after one more
// restart.
func (h *harness) finish() {
	h.t.Helper()
	h.ready()
	h.examine(true)
	over := make(chan struct{})
	go func() {
		h.working.Wait()
		close(over)
	}()
	h.wait(func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	})
	for range 2 {
		ends := make(map[session.Kind]int)
		for _, s := range h.subjects() {
			ends[s.verify()]++
		}
		h.examine(true)
		for _, p := range h.typists {
			p.verify()
		}
		h.t.Logf("%d lives, %d kills, %d sessions %v, %d typists", len(h.lives), h.kills, len(h.subjects()), ends, len(h.typists))
		h.stop()
		h.start(session.LevelPower)
		h.ready()
	}
	h.provider.verify(h)
	lost := 0
	for _, p := range h.typists {
		lost += strings.Count(string(p.notes), "connection lost")
	}
	f := &h.figures
	h.t.Logf("ask and follow lost their connection %d times", lost)
	h.t.Logf("%d events and %d readings of them compared while it ran, %d begun events, %d reconnections; then %d events in whole sessions",
		f.events.Load(), f.reread.Load(), f.parts.Load(), f.reconnects.Load(), f.whole.Load())
	h.t.Logf("%d appends acknowledged, %d of them as repeated after a loss, %d sent again; %d states, %d listings, %d times metrics (%d recovered)",
		f.acknowledged.Load(), f.repeated.Load(), f.again.Load(), f.states.Load(), f.listings.Load(), f.metrics.Load(), f.recovered.Load())
	h.stop()
}

// do sends a request and returns the answer, or an error if there is none.
func (h *harness) do(method, path, body string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(h.ctx, stuck)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+h.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := h.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}
