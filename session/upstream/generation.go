package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
	"unicode"

	"tokenrelay/session"
)

const (
	// afterFinish is how long a stream that has told its finish reason may
	// take to end.
	afterFinish = 5 * time.Second

	// The first wait before a request is made again, and the longest; each is
	// twice the one before it, less up to a half by chance.
	firstBackOff = 500 * time.Millisecond
	lastBackOff  = 8 * time.Second
	// maxRetryAfter is the longest wait that a provider can ask for.
	maxRetryAfter = 30 * time.Second

	// attachPatience is how long a generation that lives on without a connection
	// is attached to in vain. OpenAI streams one again for about as long.
	attachPatience = 5 * time.Minute

	// cancelTimeout is how long a provider may take to stop a generation that
	// lives on without a connection.
	cancelTimeout = 5 * time.Second
)

// An attacher is a protocol whose generations can live on without a connection.
// A cursor names one, and a place in it.
type attacher interface {
	// attach is the path, below the base URL, of what follows the cursor.
	attach(cursor string) (path string, err error)
	// cancel is the path that a POST to stops the generation.
	cancel(cursor string) (path string, err error)
}

// A generation is one session's answer of a provider. It implements
// session.Continuer and session.Suspender.
type generation struct {
	provider *provider
	question question

	mu        sync.Mutex // guards the fields below
	suspended bool
	watch     *watch // of the answer that was asked for last, while it runs
}

func newGeneration(p *provider, q question) (*generation, error) {
	_, err := p.fields(q) // which may refuse the parameters
	return &generation{provider: p, question: q}, err
}

// Deltas asks the provider and yields what it streams. It can only start at
// the start or, with a cursor, where a generation that lives on was left.
func (g *generation) Deltas(ctx context.Context, from session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		if from.Bytes != 0 && from.Cursor == "" {
			yield(session.Delta{}, session.ErrNotContinuable)
			return
		}
		g.run(ctx, g.question, from.Cursor, yield)
	}
}

// Continue asks the provider to go on from text.
func (g *generation) Continue(ctx context.Context, text string) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		q := g.question
		q.text, q.by = text, session.ByAnew
		if strings.TrimSpace(text) != "" { // no provider goes on from blanks
			q.by = cmp.Or(g.provider.Continuation, g.provider.protocol.continuation(q.model))
		}
		g.run(ctx, q, "", yield)
	}
}

// SetSuspended lets the clocks of the limits stand still, or go on.
func (g *generation) SetSuspended(still bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.suspended == still {
		return
	}
	g.suspended = still
	if g.watch != nil {
		g.watch.hold(still)
	}
}

func (g *generation) run(outer context.Context, q question, cursor string, yield func(session.Delta, error) bool) {
	ctx, end := context.WithCancelCause(outer)
	defer end(nil)
	g.mu.Lock()
	w := newWatch(g.provider.Limits, end, g.suspended)
	g.watch = w
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		if g.watch == w { // else there is a successor
			g.watch = nil
		}
		g.mu.Unlock()
		w.close()
	}()
	d := &decoder{watch: w, yield: yield, failure: g.provider.reported, cursor: cursor, begun: cursor != ""}
	_, d.holdHalves = g.provider.protocol.(attacher)
	if q.dialect == session.DialectChat && g.provider.Protocol == Chat {
		d.extras = new(extras)
	}
	err := g.stream(ctx, q, d)
	if refused, ok := errors.AsType[*refusal](err); ok && q.by == session.ByPrefill && refused.status == http.StatusBadRequest && !d.begun {
		q.by = session.ByMessage // not every model takes a prefill
		err = g.stream(ctx, q, d)
	}
	ended := context.Cause(outer) // who takes the deltas may see it before ctx does
	if cause := cmp.Or(ended, context.Cause(ctx)); err != nil && cause != nil {
		err = cause
	}
	if ended == nil && d.holdHalves {
		d.endHeld(true) // nobody will ask for it again
	}
	over := d.finished || errors.Is(err, session.ErrNotContinuable)
	if !over && (ended == nil || errors.Is(ended, session.ErrReleased)) {
		g.cancel(ctx, d.cursor)
	}
	if err != nil && !d.left {
		if ended == nil {
			err = g.provider.failure(outer, err)
		}
		yield(session.Delta{}, err)
	}
}

// stream feeds d until the answer has come to its end, or says why it did not.
// A try that may be made again is.
func (g *generation) stream(ctx context.Context, q question, d *decoder) error {
	resumed := d.cursor != "" // of another process
	var lost time.Time        // since when the provider has been away; zero if it has not
	for tries, asked := 0, 0; ; tries++ {
		before := d.cursor
		d.reached = time.Time{}
		err := g.try(ctx, q, d)

		// Has it ended?
		switch {
		case err == nil || d.left || d.dropped:
			return err
		case d.finished: // whole: only its farewell is missing
			d.finish()
			return nil
		case ctx.Err() != nil:
			return err
		}

		// Is it gone?
		switch now := time.Now(); {
		case d.cursor != before:
			tries, resumed, lost = 0, false, now
		case lost.IsZero():
			lost = now
		case !d.reached.IsZero(): // it was there meanwhile
			lost = lost.Add(now.Sub(d.reached))
		}
		refused, _ := errors.AsType[*refusal](err)
		if before != "" && refused != nil && refused.gone() {
			if resumed {
				return session.ErrNotContinuable
			}
			// The refusal is hidden: what clients are told is that the answer broke off.
			return fmt.Errorf("%w: status %d for what follows", errTruncated, refused.status)
		}

		// Is it asked for again?
		failed := refused != nil && refused.status == 0 // the generation itself
		if failed && d.cursor != "" {
			tries = 0 // they only attached
		}
		if failed {
			tries = max(tries, asked)
		}
		attaches := d.cursor != "" && !failed
		unknown := d.begun && !attaches // where to go on
		if !passes(err) || unknown || !attaches && tries >= g.provider.Limits.Retries {
			return err
		}
		left := attachPatience - time.Since(lost)
		if attaches && left <= 0 {
			return fmt.Errorf("%w: %w", errOutOfReach, err)
		}
		d.watch.pause()
		if failed {
			d.watch.hold(true)
			g.cancel(ctx, d.cursor) // after an error event it may go on
			d.watch.hold(false)
			d.cursor = ""
			asked++
		}
		wait := backOff(tries)
		if refused != nil && refused.after > wait {
			if wait = refused.after; wait > maxRetryAfter && !attaches {
				return err
			}
		}
		if attaches {
			wait = min(wait, left)
		}
		g.provider.log(ctx).Info("upstream is asked again", append([]any{"in", wait}, reasons(err)...)...)
		if !sleep(ctx, wait) {
			return err
		}
	}
}

// sleep waits for d, and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backOff is how long to wait after so many tries before the last one.
func backOff(tries int) time.Duration {
	wait := min(firstBackOff<<min(tries, 10), lastBackOff)
	return wait - rand.N(wait/2)
}

// try makes one request, for the answer to q or for what follows d's cursor,
// and feeds d with what comes.
func (g *generation) try(ctx context.Context, q question, d *decoder) error {
	p := g.provider
	var request *http.Request
	var err error
	if d.cursor != "" {
		request, err = p.attachRequest(ctx, d.cursor)
	} else {
		request, err = p.request(ctx, q, d)
	}
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	d.watch.connecting(end)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { d.watch.connected() }}
	ctx = httptrace.WithClientTrace(ctx, trace)
	d.launch = nil
	if p.Background && d.cursor == "" {
		d.launch, request = newLaunch(ctx, request)
		defer d.launch.close(p.log(ctx))
	} else {
		request = request.WithContext(ctx)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, cmp.Or(context.Cause(ctx), err))
	}
	defer response.Body.Close()
	d.watch.answered()
	if response.StatusCode != http.StatusOK {
		d.watch.pause() // its body has a limit of its own
		return p.errorAnswer(response)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != p.protocol.mediaType() {
		return &session.Failure{Code: CodeMalformed, Message: fmt.Sprintf("the provider answered with %q where %q was expected: is its protocol %s?", kind, p.protocol.mediaType(), p.Protocol)}
	}
	d.begin(q.by, func() { response.Body.Close() })
	err = p.protocol.read(&limitedBody{body: response.Body, read: &d.bytes, most: p.Limits.Bytes}, d)
	switch {
	case d.dropped:
		return context.Cause(ctx)
	case err == io.ErrUnexpectedEOF: // a body that ended as if it were whole
		return errTruncated
	case errors.Is(err, bufio.ErrTooLong):
		return malformed(fmt.Sprintf("an event of more than %d bytes", maxEvent))
	}
	return err
}

// request makes the request of q. A prefill does not end in blanks, at which
// some providers refuse it and others do not begin the answer with them: d
// takes them off its beginning.
func (p *provider) request(ctx context.Context, q question, d *decoder) (*http.Request, error) {
	text := q.text
	switch q.by {
	case session.ByPrefill:
		q.text = strings.TrimRightFunc(text, unicode.IsSpace)
	case session.ByAnew:
		q.text = ""
	}
	d.skip = text[len(q.text):]
	fields, err := p.fields(q)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return p.newRequest(ctx, http.MethodPost, p.protocol.path(), body)
}

func (p *provider) attachRequest(ctx context.Context, cursor string) (*http.Request, error) {
	a, ok := p.protocol.(attacher)
	if !ok {
		return nil, session.ErrNotContinuable
	}
	path, err := a.attach(cursor)
	if err != nil {
		return nil, err
	}
	return p.newRequest(ctx, http.MethodGet, path, nil)
}

func (p *provider) newRequest(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, p.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", p.protocol.mediaType())
	request.Header.Set("User-Agent", "tokenrelay")
	if v, ok := p.protocol.(versioner); ok {
		v.version(request.Header)
	}
	if p.key != "" {
		p.protocol.authorize(request.Header, p.key)
	}
	return request, nil
}

// cancel stops a generation that lives on without a connection.
func (g *generation) cancel(ctx context.Context, cursor string) {
	a, ok := g.provider.protocol.(attacher)
	if !ok || cursor == "" {
		return
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer done()
	path, err := a.cancel(cursor)
	if err == nil {
		err = g.provider.post(ctx, path)
	}
	if err != nil {
		g.provider.log(ctx).Warn("upstream may not have stopped", reasons(err)...)
	}
}

// post makes a request without a body, whose answer says nothing but whether
// it was refused.
func (p *provider) post(ctx context.Context, path string) error {
	request, err := p.newRequest(ctx, http.MethodPost, path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return p.errorAnswer(response)
	}
	io.Copy(io.Discard, io.LimitReader(response.Body, maxPlainBody)) // so that the next request has the connection
	return nil
}

// A limitedBody is an answer's body with no more than the limit of bytes. Where
// it breaks off the error is errTruncated.
type limitedBody struct {
	body io.Reader
	read *int64 // of all tries
	most int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	if *l.read += int64(n); *l.read > l.most {
		return 0, &session.Failure{Code: CodeBytes, Message: fmt.Sprintf("the provider's answer has more than %d bytes", l.most)}
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errTruncated, err)
	}
	return n, err
}
