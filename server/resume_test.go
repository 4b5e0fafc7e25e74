package server_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// hard is a text that is easy to cut wrongly.
const hard = "naïve café\u0301 👩‍👩‍👧‍👦 🇩🇪 👍🏽\r\n日本語です。\u2028 \"q\\uote\" don't 12345\n\n```go\nx := 1\t// ok\n```\n" + "नमस्ते한국어 العربية <|endoftext|> \u0085\u00a0end\r"

// cursors are the ways to ask for what follows an id.
var cursors = map[string]func(k int) (query, header string){
	"header":     func(k int) (string, string) { return "", "Last-Event-ID: " + strconv.Itoa(k) },
	"after":      func(k int) (string, string) { return "?after=" + strconv.Itoa(k), "X: y" },
	"startIndex": func(k int) (string, string) { return "?startIndex=" + strconv.Itoa(k+1), "X: y" },
	"both":       func(k int) (string, string) { return "?startIndex=1", "Last-Event-ID: " + strconv.Itoa(k) },
}

// Law 1, for the native protocol: canonical[:k] + resume(k) is canonical, for
// each unit, each k and each way to ask, of a finished session.
func TestResumeLawFinished(t *testing.T) {
	for _, unit := range chunker.Units() {
		for _, format := range []string{"", "format=text"} {
			t.Run(string(unit)+format, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, options{})
					path := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":%q}`, quote(hard), unit))
					whole := canonical(t, r.ask("GET", path+"/events?"+format, "").Body)
					events := split(whole)
					if format == "" {
						checkText(t, whole, hard)
					}
					for k := range events {
						for name, cursor := range cursors {
							query, header := cursor(k)
							if query == "" {
								query = "?"
							}
							got := canonical(t, r.ask("GET", path+"/events"+query+"&"+format, "", header).Body)
							if joined := strings.Join(events[:k], "") + got; joined != whole {
								t.Fatalf("%s: canonical[:%d] + resume(%d) = %q, want %q", name, k, k, joined, whole)
							}
						}
					}
					// The terminal id is the end: the client is told to go away.
					for name, cursor := range cursors {
						query, header := cursor(len(events))
						if status, body := r.do("GET", path+"/events"+query, "", header); status != 204 || body != "" {
							t.Errorf("%s: resume at the terminal id = %d %q, want 204", name, status, body)
						}
					}
				})
			})
		}
	}
}

func checkText(t *testing.T, events, want string) {
	t.Helper()
	var text strings.Builder
	follow(strings.NewReader(events), func(e upstream.Event) bool {
		text.WriteString(textOf(e))
		return false
	})
	if text.String() != want {
		t.Errorf("text = %q, want %q", text.String(), want)
	}
}

// The same while the text is still coming: for each k one reader per way to
// ask begins as soon as frame k is there.
func TestResumeLawLive(t *testing.T) {
	for _, unit := range chunker.Units() {
		t.Run(string(unit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, options{})
				text := strings.Repeat(hard, 2)
				path := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":%q,"rate":10}`, quote(text), unit))
				var readers sync.WaitGroup
				var mu sync.Mutex
				resumed := make(map[string]string)
				live := 0
				err := follow(r.ask("GET", path+"/events", "").Body, func(e upstream.Event) bool {
					k, _ := strconv.Atoi(e.ID)
					if session.Kind(e.Name).Terminal() {
						return true
					}
					live = k
					for name, cursor := range cursors {
						query, header := cursor(k)
						body := r.ask("GET", path+"/events"+query, "", header).Body
						readers.Go(func() {
							got := canonical(t, body)
							mu.Lock()
							defer mu.Unlock()
							resumed[fmt.Sprint(name, " ", k)] = got
						})
					}
					return false
				})
				readers.Wait()
				whole := canonical(t, r.ask("GET", path+"/events", "").Body)
				checkText(t, whole, text)
				events := split(whole)
				if err != nil || live != len(events)-1 {
					t.Fatalf("the live reader got to %d of %d events: %v", live, len(events), err)
				}
				for k := 1; k <= live; k++ {
					for name := range cursors {
						if joined := strings.Join(events[:k], "") + resumed[fmt.Sprint(name, " ", k)]; joined != whole {
							t.Fatalf("%s: canonical[:%d] + resume(%d) = %q, want %q", name, k, k, joined, whole)
						}
					}
				}
			})
		})
	}
}

// A cutConn loses its line after some bytes, wherever that is.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Readers whose lines are cut at random bytes, live and finished, get every
// event once: at least 10,000 cuts over all units.
func TestRandomCuts(t *testing.T) {
	var mu sync.Mutex
	cuts, midEvent := 0, 0
	t.Run("units", func(t *testing.T) {
		for i, unit := range chunker.Units() {
			t.Run(string(unit), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c, m := cutUnit(t, unit, uint64(i), cutsWanted/len(chunker.Units()))
					mu.Lock()
					defer mu.Unlock()
					cuts, midEvent = cuts+c, midEvent+m
				})
			})
		}
	})
	t.Logf("%d cuts, %d of them in mid-event: 0 lost, 0 repeated", cuts, midEvent)
	if cuts < cutsWanted || midEvent < cutsWanted/2 {
		t.Errorf("%d cuts, %d in mid-event; want %d and half of them", cuts, midEvent, cutsWanted)
	}
}

func cutUnit(t *testing.T, unit chunker.Unit, seed uint64, wanted int) (cuts, midEvent int) {
	r := start(t, options{})
	rnd := rand.New(rand.NewPCG(seed, 1))
	for round := 0; cuts < wanted; round++ {
		rate := ""
		if round%2 == 0 {
			rate = `,"rate":200`
		}
		path := r.create(fmt.Sprintf(`{"source":{"type":"generate","prompt":"cut","seed":%d,"length":150},"unit":%q%s}`, round, unit, rate))
		var got strings.Builder
		last, done := 0, false
		for !done {
			conn := &cutConn{r.dial(), 200 + rnd.IntN(1500)}
			a, err := r.askOn(conn, "GET", path+"/events", "", "Last-Event-ID: "+strconv.Itoa(last))
			if err != nil {
				cuts++
				continue
			}
			tail := &tailReader{r: a.Body}
			err = follow(tail, func(e upstream.Event) bool {
				id, _ := strconv.Atoi(e.ID)
				if id != last+1 {
					t.Fatalf("%s: event %d came after %d", unit, id, last)
				}
				last = id
				got.WriteString(textOf(e))
				done = session.Kind(e.Name).Terminal()
				return done
			})
			conn.Close()
			if err != nil {
				cuts++
				if !strings.HasSuffix(tail.last, "\n\n") {
					midEvent++
				}
			}
		}
		if _, want := r.do("GET", path+"/text", ""); got.String() != want {
			t.Fatalf("%s: text put together = %q, want %q", unit, got.String(), want)
		}
		r.do("DELETE", path, "")
	}
	return cuts, midEvent
}

// A tailReader remembers the last bytes that it gave.
type tailReader struct {
	r    io.Reader
	last string
}

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.last += string(p[:n])
	t.last = t.last[max(0, len(t.last)-2):]
	return n, err
}

// Law 6: 1,000 readers each follow two sessions, and one of them does not read
// for a minute. Nobody else waits, and no memory is kept for it.
func TestNobodyWaitsForAReader(t *testing.T) {
	const readers, events = 1000, 75
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{MaxReaders: 3 * readers}})
		text := strings.Repeat("x", events)
		var following sync.WaitGroup
		began := time.Now()
		var late, wrong int
		var mu sync.Mutex
		var paths []string
		for range 2 {
			paths = append(paths, r.create(fmt.Sprintf(`{"source":{"type":"text","text":%q},"unit":"rune","rate":1}`, text)))
		}
		for i := range 2 * readers {
			body := r.ask("GET", paths[i%2]+"/events", "").Body
			following.Go(func() {
				n := 0
				err := follow(body, func(e upstream.Event) bool {
					if n++; e.ID != strconv.Itoa(n) {
						mu.Lock()
						wrong++
						mu.Unlock()
					}
					// The text's first event comes at once, as id 2.
					due := began.Add(time.Duration(max(n-2, 0)) * time.Second)
					if i >= 2 && n < events+2 && time.Since(due) > 0 {
						mu.Lock()
						late++
						mu.Unlock()
					}
					if i < 2 && n == 5 {
						time.Sleep(time.Minute)
					}
					return session.Kind(e.Name).Terminal()
				})
				if stalled := i < 2; stalled != isReset(err) {
					t.Errorf("reader %d, stalled %t, ended with %v after %d events", i, stalled, err, n)
				}
				if i < 2 { // given up on, it comes back for the rest
					rest := canonical(t, r.ask("GET", paths[i%2]+"/events", "", "Last-Event-ID: "+strconv.Itoa(n)).Body)
					if n += len(split(rest)); n != events+2 {
						t.Errorf("stalled reader %d got %d events, want %d", i, n, events+2)
					}
				}
			})
		}
		time.Sleep(10 * time.Second)
		before := heap()
		time.Sleep(55 * time.Second) // the two stand still
		synctest.Wait()
		grown := heap() - before
		following.Wait()
		t.Logf("2 sessions × %d readers, 1 stalled reader each: %d late events, heap %.1f MiB (%.1f KiB a reader), %+.2f MiB during the stall",
			readers, late, float64(before)/(1<<20), float64(before)/(2*readers)/(1<<10), float64(grown)/(1<<20))
		if late > 0 || wrong > 0 {
			t.Errorf("%d events came late, %d came wrong", late, wrong)
		}
		if grown > 4<<20 {
			t.Errorf("the heap grew by %d bytes during the stall", grown)
		}
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
