package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// Figures are ratios to a floor of the same run: one goroutine, and one
// write(2) of ready bytes for each event and reader. They are CPU time, since
// the wall clock of a paced stream says nothing, and hold the readers' own
// share on both sides, which are in this process.

const (
	benchRate   = 50 // events a second
	benchEvents = 100
)

// BenchmarkLive delivers paced events to readers that wait for them.
func BenchmarkLive(b *testing.B) {
	for _, shape := range []struct{ sessions, readers int }{{1, 500}, {500, 1}} {
		b.Run(fmt.Sprintf("%dsessions_x_%dreaders", shape.sessions, shape.readers), func(b *testing.B) {
			for b.Loop() {
				floor := floorCost(b, shape.sessions*shape.readers, time.Second/benchRate, benchEvents)
				report(b, floor, liveCost(b, shape.sessions, shape.readers))
			}
		})
	}
}

// BenchmarkReplay serves readers that all come at once for a text that is there.
func BenchmarkReplay(b *testing.B) {
	const readers, events = 200, 2000
	for b.Loop() {
		floor := floorCost(b, readers, 0, events)
		r := startTCP(b, session.Options{})
		s, err := r.manager.Create(b.Context(), session.Anonymous, session.Spec{
			Source: session.SourceSpec{Type: session.SourceText, Text: strings.Repeat("x", events)}, Unit: chunker.Rune})
		if err != nil {
			b.Fatal(err)
		}
		path := eventsPath(s)
		r.read(b, path, nil)
		report(b, floor, r.readAll(b, path, readers)/(readers*events))
		r.stop()
	}
}

// BenchmarkProjections serves the same text in each protocol: whole, and the
// last event alone, for which the projection runs over all others.
func BenchmarkProjections(b *testing.B) {
	const readers, events = 100, 2000
	for _, p := range []struct{ name, path, last string }{
		{"native", "/v1/sessions/%s/events?", "after=2001"},
		{"responses", "/v1/responses/%s?stream=true", "&starting_after=2006"},
		{"chat", "/v1/chat/completions/%s?stream=true", "&starting_after=2000"},
		{"ui", "/api/chat/%s/stream?startIndex=", "2005"},
	} {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				floor := floorCost(b, readers, 0, events)
				r := startTCP(b, session.Options{})
				s, err := r.manager.Create(b.Context(), session.Anonymous, session.Spec{
					Source: session.SourceSpec{Type: session.SourceText, Text: strings.Repeat("x", events)}, Unit: chunker.Rune})
				if err != nil {
					b.Fatal(err)
				}
				r.read(b, eventsPath(s), nil)
				path := fmt.Sprintf(p.path, s.Info().ID)
				whole := path
				if p.name == "ui" {
					whole += "0"
				}
				report(b, floor, r.readAll(b, whole, readers)/(readers*events))
				b.ReportMetric(float64(r.readAll(b, path+p.last, readers)/readers)/1000, "resume-µs")
				r.stop()
			}
		})
	}
}

// readAll is what so many readers of a stream cost that come at once.
func (r *tcpRelay) readAll(b *testing.B, path string, readers int) time.Duration {
	var reading sync.WaitGroup
	began := cpuTime()
	for range readers {
		reading.Go(func() { r.read(b, path, nil) })
	}
	reading.Wait()
	return cpuTime() - began
}

func report(b *testing.B, floor, relay time.Duration) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(floor)/1000, "floor-µs/event")
	b.ReportMetric(float64(relay)/1000, "relay-µs/event")
	b.ReportMetric(float64(relay)/float64(floor), "x-floor")
}

// floorCost is what the floor spends on one event for one reader.
func floorCost(b *testing.B, readers int, interval time.Duration, events int) time.Duration {
	l := listen(b)
	defer l.Close()
	var reading sync.WaitGroup
	conns := make([]net.Conn, readers)
	for i := range conns {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		reading.Go(func() {
			io.Copy(io.Discard, c)
			c.Close()
		})
		if conns[i], err = l.Accept(); err != nil {
			b.Fatal(err)
		}
	}
	began := cpuTime()
	for n := range events {
		time.Sleep(interval)
		frame := fmt.Appendf(nil, "id: %d\ndata: {\"text\":\"x\"}\n\n", n)
		for _, c := range conns {
			c.Write(frame)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	reading.Wait()
	return (cpuTime() - began) / time.Duration(events*readers)
}

// liveCost is the same of the relay, with the appends that it takes.
func liveCost(b *testing.B, sessions, readers int) time.Duration {
	r := startTCP(b, session.Options{})
	defer r.stop()
	var all []*session.Session
	var reading, attached sync.WaitGroup
	for range sessions {
		s, err := r.manager.Create(b.Context(), session.Anonymous, session.Spec{Source: session.SourceSpec{Type: session.SourcePush}, Unit: chunker.Rune})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, s)
		for range readers {
			attached.Add(1)
			reading.Go(func() { r.read(b, eventsPath(s), attached.Done) })
		}
	}
	attached.Wait()
	began := cpuTime()
	for range benchEvents {
		time.Sleep(time.Second / benchRate)
		var appending sync.WaitGroup
		for _, s := range all {
			appending.Go(func() { s.Append(b.Context(), session.Append{Text: "x"}) })
		}
		appending.Wait()
	}
	for _, s := range all {
		s.Finish(b.Context())
	}
	reading.Wait()
	return (cpuTime() - began) / time.Duration(benchEvents*sessions*readers)
}

// A tcpRelay is a relay on a loopback socket.
type tcpRelay struct {
	manager *session.Manager
	addr    string
	stop    func()
}

func startTCP(t testing.TB, o session.Options) *tcpRelay {
	t.Helper()
	manager, err := session.NewManager(memstore.New(), o)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Manager: manager, Drain: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := listen(t)
	var all sync.WaitGroup
	all.Go(func() { manager.Run(ctx) })
	all.Go(func() { srv.Serve(ctx, l) })
	return &tcpRelay{manager: manager, addr: l.Addr().String(), stop: func() {
		cancel()
		all.Wait()
	}}
}

// read takes a stream in to its end, as raw as the floor's readers, and calls
// attached once it has begun.
func (r *tcpRelay) read(t testing.TB, path string, attached func()) {
	c := r.open(t, path, "HTTP/1.1")
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if attached != nil {
		attached()
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error(err)
	}
}

// eventsPath is that of a session's native stream.
func eventsPath(s *session.Session) string {
	return fmt.Sprintf("/v1/sessions/%s/events", s.Info().ID)
}

// open asks for a stream on a connection of its own, which ends with the stream.
func (r *tcpRelay) open(t testing.TB, path, version string) net.Conn {
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET %s %s\r\nHost: localhost\r\nConnection: close\r\n\r\n", path, version)
	return c
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func cpuTime() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		panic(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
