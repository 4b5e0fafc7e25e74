package contract_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A cutter passes connections on to a relay and resets (RST, not FIN) the
// first ones at random bytes of what the relay sends, wherever that falls.
type cutter struct {
	url     string
	between bool // cut behind whole events only

	mu      sync.Mutex // guards the fields below
	random  *rand.Rand
	left    int // cuts to come
	most    int // bytes until one
	first   int // the least of the first one
	least   int // of those that follow
	made    int
	inEvent int // of them, those in mid-event
}

// newCutter starts one that makes so many cuts, each after at most most bytes.
// It lasts until the end of the test.
func newCutter(t *testing.T, r *relay, random *rand.Rand, cuts, most int) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The first one leaves time to hear of retry: a client's own is long.
	c := &cutter{url: "http://" + l.Addr().String(), random: random, left: cuts, most: most, first: 400, least: 1}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { c.pass(conn.(*net.TCPConn), strings.TrimPrefix(r.url, "http://")) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		http1.CloseIdleConnections()
		running.Wait()
	})
	return c
}

// next returns how many bytes the next connection lasts, or -1.
func (c *cutter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return -1
	}
	c.left--
	n := c.first + c.random.IntN(c.most-c.first)
	c.first = c.least
	return n
}

func (c *cutter) pass(client *net.TCPConn, addr string) {
	defer client.Close()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	go func() {
		io.Copy(server, client)
		server.Close() // the client has left
	}()
	n := c.next()
	if n < 0 {
		io.Copy(client, server)
		return
	}
	var passed []byte
	buf := make([]byte, 4096)
	for {
		got, err := server.Read(buf)
		for i, b := range buf[:got] {
			passed = append(passed, b)
			if len(passed) < n || c.between && !bytes.HasSuffix(passed, []byte("\n\n")) {
				continue
			}
			client.Write(buf[:i+1])
			c.count(passed)
			client.SetLinger(0)
			return // which resets both
		}
		if _, failed := client.Write(buf[:got]); err != nil || failed != nil {
			return
		}
	}
}

// betweenEvents matches what may follow the last event: the framing of HTTP.
var betweenEvents = regexp.MustCompile(`^(\r\n([0-9a-f]*(\r\n?)?)?)?$`)

func (c *cutter) count(passed []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	if at := bytes.LastIndex(passed, []byte("\n\n")); at >= 0 && !betweenEvents.Match(passed[at+2:]) {
		c.inEvent++
	}
}

// logged says what was cut.
func (c *cutter) logged(t *testing.T, s *transcript) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d cuts, %d of them in mid-event, %d events, %d lost, %d repeated", c.made, c.inEvent, s.events, s.lost, s.repeated)
	if c.made < 50 {
		t.Errorf("cuts = %d, want at least 50", c.made)
	}
}
