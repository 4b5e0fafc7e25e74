package cli

import (
	"bytes"
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

const (
	// silence is how long a stream may say nothing before it counts as lost.
	// The relay sends a keep-alive every 15 s.
	silence = 45 * time.Second

	// The first wait before a reconnection, and the longest; and the longest
	// before a session is asked for again.
	minBackoff  = 250 * time.Millisecond
	maxBackoff  = 15 * time.Second
	maxMakeWait = time.Second
)

// errSilent reports a stream that counts as lost.
var errSilent = fmt.Errorf("nothing came for %v", silence)

// A client speaks the native protocol.
type client struct {
	base string // without a slash at the end
	http *http.Client
}

func newClient(base string) *client {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return &client{base: strings.TrimSuffix(base, "/"), http: &http.Client{}}
}

// A problem is an error as the relay tells it.
type problem struct {
	Status     int    `json:"status"`
	Code       string `json:"code"`
	Detail     string `json:"detail"`
	retryAfter time.Duration
}

func (p *problem) Error() string {
	return fmt.Sprintf("the relay says: %s (%s)", p.Detail, p.Code)
}

// passes reports whether the same request may succeed later.
func (p *problem) passes() bool {
	return p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests || p.Status == http.StatusRequestTimeout
}

// problemOf reads the answer's problem, whatever came instead of one.
func problemOf(response *http.Response) *problem {
	p := &problem{Status: response.StatusCode, Code: "http_" + strconv.Itoa(response.StatusCode), Detail: response.Status}
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err == nil {
		json.Unmarshal(body, p)
		p.Status = response.StatusCode
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		p.retryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

// create makes a session and returns its id.
func (c *client) create(ctx context.Context, body any) (string, error) {
	return c.make(ctx, "/v1/sessions", body)
}

// continueFrom makes a session that goes on from the text of the one with this
// id, and returns the new one's.
func (c *client) continueFrom(ctx context.Context, id string) (string, error) {
	return c.make(ctx, "/v1/sessions/"+id+"/continue", struct{}{})
}

// make sends body to a route that makes a session, and returns its id. If the
// line breaks before the answer is there it asks again, a few times, with the
// same key: by that the relay knows that it is to make one session.
func (c *client) make(ctx context.Context, route string, body any) (string, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	key := cryptorand.Text()
	for wait := minBackoff; ; wait *= 2 {
		id, lost, err := c.makeOnce(ctx, route, encoded, key)
		if !lost || wait > maxMakeWait {
			return id, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", err
		}
	}
}

// makeOnce asks once. That the line was lost means that a session may have been
// made: there was a connection, and it broke before all of the answer was there.
func (c *client) makeOnce(ctx context.Context, route string, body []byte, key string) (id string, lost bool, err error) {
	var connected atomic.Bool // to a relay or not; with TLS after that has agreed
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, c.base+route, bytes.NewReader(body))
	if err != nil {
		return "", false, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := c.http.Do(request)
	if err != nil {
		return "", connected.Load() && !noHTTP(err), fmt.Errorf("%w\nIs there a relay at %s? Start one with %s serve, or name another with --server", err, c.base, program)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		return "", false, problemOf(response)
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", true, fmt.Errorf("the relay's answer: %w", err)
	}
	var created struct{ ID string }
	if err := json.Unmarshal(answer, &created); err != nil {
		return "", false, fmt.Errorf("the relay's answer: %w", err)
	}
	return created.ID, false, nil
}

// noHTTP reports whether what answered speaks another protocol. An answer that
// was cut off within its first word looks alike, but for how it begins.
func noHTTP(err error) bool {
	_, line, malformed := strings.Cut(err.Error(), `malformed HTTP response "`)
	return malformed && !strings.HasPrefix(line, "H")
}

// sourceOf returns what the text of a session is from.
func (c *client) sourceOf(ctx context.Context, id string) (session.SourceType, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/sessions/"+id, nil)
	if err != nil {
		return "", err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", problemOf(response)
	}
	var state struct {
		Source struct{ Type session.SourceType }
	}
	err = json.NewDecoder(response.Body).Decode(&state)
	return state.Source.Type, err
}

// A message is an event of a session. Text is what a text event carries.
type message struct {
	id   session.FrameID
	kind session.Kind
	data string
}

// follow hands every event past after to take, once and in order, until the
// terminal one. It reconnects by itself, and says so to notice. It returns nil
// after the terminal event, and else why it gave up: ctx is done, or the relay
// refuses for good.
func (c *client) follow(ctx context.Context, id string, after session.FrameID, take func(message), notice func(string)) error {
	backoff, lost := minBackoff, false
	for {
		before := after
		ended, err := c.followOnce(ctx, id, &after, func(m message) {
			if lost {
				notice(fmt.Sprintf("back at %d", m.id))
				lost = false
			}
			take(m)
		})
		refusal, refused := errors.AsType[*problem](err)
		switch {
		case ended:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case refused && !refusal.passes():
			return err
		case after > before:
			backoff = minBackoff
		}
		if !lost {
			notice(fmt.Sprintf("connection lost at %d: %v", after, withoutAddress(err)))
			lost = true
		}
		wait := time.Duration((0.5 + rand.Float64()/2) * float64(backoff))
		if refused {
			wait = max(wait, refusal.retryAfter)
		}
		backoff = min(2*backoff, maxBackoff)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// withoutAddress returns what is wrong with a connection whose ends are known.
func withoutAddress(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the line broke")
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed.Err
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// followOnce follows over one connection, and reports whether the session's
// end was reached. It moves after past each event that it has handed on.
func (c *client) followOnce(ctx context.Context, id string, after *session.FrameID, take func(message)) (ended bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/sessions/"+id+"/events", nil)
	if err != nil {
		return false, err
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Last-Event-ID", strconv.FormatUint(uint64(*after), 10))
	response, err := c.http.Do(request)
	if err != nil {
		return false, cmp.Or(context.Cause(ctx), err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "text/event-stream" {
			return false, &problem{Status: response.StatusCode, Code: "no_stream", Detail: fmt.Sprintf("%q instead of a stream: it is no relay", kind)}
		}
	case http.StatusNoContent:
		return true, nil
	default:
		return false, problemOf(response)
	}
	body := activity{response.Body, func() { watchdog.Reset(silence) }}
	for event, err := range upstream.Events(body) {
		if err != nil {
			return false, cmp.Or(context.Cause(ctx), err)
		}
		n, err := strconv.ParseUint(event.ID, 10, 64)
		if err != nil {
			continue // a ping before the first event
		}
		m := message{session.FrameID(n), session.Kind(event.Name), event.Data}
		if m.id <= *after {
			continue // seen
		}
		if m.id != *after+1 {
			return false, fmt.Errorf("event %d came after %d", m.id, *after)
		}
		take(m)
		*after = m.id
		if m.kind.Terminal() {
			return true, nil
		}
	}
	return false, io.ErrUnexpectedEOF
}

// An activity calls active whenever something arrives.
type activity struct {
	io.Reader
	active func()
}

func (a activity) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.active()
	return n, err
}
