package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
)

// A relay is a whole server over net.Pipe, so that a synctest bubble holds
// client, server and clock.
type relay struct {
	t       testing.TB
	manager *session.Manager
	conns   chan net.Conn
	closed  chan struct{}
	stop    func() // ends the server as a signal would; waits
}

type options struct {
	server  server.Options
	session session.Options
	store   session.Store // nil: a new one in memory
}

// start runs a relay until the test ends.
func start(t testing.TB, o options) *relay {
	t.Helper()
	metrics := server.NewMetrics()
	o.session.Events, o.server.Metrics = metrics.Events(), metrics
	if o.store == nil {
		o.store = memstore.New()
	}
	manager, err := session.NewManager(o.store, o.session)
	if err != nil {
		t.Fatal(err)
	}
	o.server.Manager = manager
	srv, err := server.New(o.server)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, manager: manager, conns: make(chan net.Conn), closed: make(chan struct{})}
	running, stopManager := context.WithCancel(context.Background())
	serving, stopServer := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { manager.Run(running) })
	all.Go(func() {
		if err := srv.Serve(serving, r); err != nil {
			t.Errorf("Serve = %v", err)
		}
		stopManager()
	})
	r.stop = sync.OnceFunc(func() {
		stopServer()
		all.Wait()
	})
	t.Cleanup(r.stop)
	if err := manager.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// Accept, Close and Addr make the relay its own listener.
func (r *relay) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *relay) Close() error {
	select {
	case <-r.closed:
	default:
		close(r.closed)
	}
	return nil
}

func (r *relay) Addr() net.Addr { return &net.IPAddr{} }

// dial returns a connection, nil if the server takes none any more.
func (r *relay) dial() net.Conn {
	client, server := net.Pipe()
	select {
	case r.conns <- server:
		return client
	case <-r.closed:
		return nil
	}
}

// An answer is a response and the connection that it comes on.
type answer struct {
	*http.Response
	conn net.Conn
}

// ask sends one request on a connection of its own. headers are "Name: value".
func (r *relay) ask(method, path, body string, headers ...string) answer {
	r.t.Helper()
	a, err := r.askOn(r.dial(), method, path, body, headers...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	r.t.Cleanup(func() { a.conn.Close() })
	return a
}

func (r *relay) askOn(conn net.Conn, method, path, body string, headers ...string) (answer, error) {
	if conn == nil {
		return answer{}, net.ErrClosed
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	for _, h := range headers {
		fmt.Fprintf(&head, "%s\r\n", h)
	}
	if body != "" {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	head.WriteString("\r\n" + body)
	return exchange(conn, method, head.String())
}

// exchange sends a request as it is and reads the head of the answer.
func exchange(conn net.Conn, method, request string) (answer, error) {
	// The answer may come, and the server hang up, before all of it is sent.
	go io.WriteString(conn, request)
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		conn.Close()
		return answer{}, err
	}
	return answer{response, conn}, nil
}

// do sends a request and returns the status and the whole body.
func (r *relay) do(method, path, body string, headers ...string) (int, string) {
	r.t.Helper()
	a := r.ask(method, path, body, headers...)
	defer a.conn.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil {
		r.t.Fatalf("%s %s: body: %v", method, path, err)
	}
	return a.StatusCode, string(got)
}

// create makes a session and returns its path.
func (r *relay) create(body string) string {
	r.t.Helper()
	status, answer := r.do("POST", "/v1/sessions", body)
	var created struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &created); err != nil || status != http.StatusCreated {
		r.t.Fatalf("create %s = %d %s", body, status, answer)
	}
	return "/v1/sessions/" + created.ID
}

// state returns what the session says of itself.
func (r *relay) state(path string) (s struct {
	State       string
	LastEventID session.FrameID `json:"last_event_id"`
	Readers     int
	Reason      string
	Error       *session.Failure
	Producers   map[string]uint64
}) {
	r.t.Helper()
	status, body := r.do("GET", path, "")
	if err := json.Unmarshal([]byte(body), &s); err != nil || status != http.StatusOK {
		r.t.Fatalf("state of %s = %d %s", path, status, body)
	}
	return s
}

// canonical returns the events of a stream that ended properly, without what
// is no event: the retry line and keep-alives.
func canonical(t testing.TB, body io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("stream ended with %v after %q", err, all)
	}
	var events strings.Builder
	for line := range strings.Lines(string(all)) {
		if !strings.HasPrefix(line, "retry: ") && !strings.HasPrefix(line, ":") {
			events.WriteString(line)
		}
	}
	return events.String()
}

// split cuts a canonical stream into its events.
func split(events string) []string {
	parts := strings.SplitAfter(events, "\n\n")
	return parts[:len(parts)-1]
}

// follow reads the events of a stream until take has enough, and returns how
// the body ended: nil if take had enough, io.EOF at a proper end.
func follow(body io.Reader, take func(upstream.Event) (enough bool)) error {
	for event, err := range upstream.Events(body) {
		if err != nil {
			return err
		}
		if take(event) {
			return nil
		}
	}
	return io.EOF
}

func textOf(event upstream.Event) string {
	if event.Name != "" {
		return ""
	}
	var payload struct{ Text string }
	json.Unmarshal([]byte(event.Data), &payload)
	return payload.Text
}

func isReset(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
