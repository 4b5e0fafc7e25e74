package upstream

import (
	"bytes"
	"cmp"
	"context"
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
	watch     *watch // of the Deltas that run
}

func newGeneration(p *provider, q question) (*generation, error) {
	_, err := p.body(q) // which may refuse the parameters
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
		if text != "" {
			q.by = cmp.Or(g.provider.Continuation, g.provider.protocol.continuation(q.model))
		}
		g.run(ctx, q, "", yield)
	}
}

// Suspend lets the clocks of the limits stand still, or go on.
func (g *generation) Suspend(still bool) {
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

func (g *generation) run(ctx context.Context, q question, cursor string, yield func(session.Delta, error) bool) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	g.mu.Lock()
	w := newWatch(g.provider.Limits, end, g.suspended)
	g.watch = w
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.watch = nil
		g.mu.Unlock()
		w.close()
	}()
	d := &decoder{watch: w, yield: yield, failure: g.provider.reported, cursor: cursor, begun: cursor != ""}
	_, d.holdHalves = g.provider.protocol.(attacher)
	err := g.stream(ctx, q, d)
	cause := context.Cause(ctx)
	if err != nil && cause != nil {
		err = cause
	}
	_, failed := errors.AsType[*session.Failure](err)
	if nobody := cause == nil || failed || errors.Is(cause, session.ErrReleased); nobody && !d.finished && !errors.Is(err, session.ErrNotContinuable) {
		g.cancel(ctx, d.cursor)
	}
	if err != nil && !d.left {
		yield(session.Delta{}, g.provider.failure(err))
	}
}

// stream feeds d until the answer has come to its end, or says why it did not.
// A try that may be made again is.
func (g *generation) stream(ctx context.Context, q question, d *decoder) error {
	resumed := d.cursor != "" // of another process
	for tries := 0; ; tries++ {
		before := d.cursor
		err := g.try(ctx, q, d)
		if err == nil || d.left || ctx.Err() != nil {
			return err
		}
		if d.finished { // whole: only its farewell is missing
			d.finish()
			return nil
		}
		if d.cursor != before {
			tries, resumed = 0, false
		}
		refused, _ := errors.AsType[*refusal](err)
		switch {
		case resumed && refused != nil && !refused.passing:
			return session.ErrNotContinuable // the provider has it no more
		case refused != nil && refused.status == http.StatusBadRequest && q.by == session.ByPrefill:
			q.by, d.skip, tries = session.ByMessage, "", -1 // not every model takes a prefill
			continue
		case !passes(err) || tries >= g.provider.Limits.Retries:
			return err
		case refused != nil && refused.status == 0: // the generation itself has failed
			if d.begun {
				return err
			}
			d.cursor = ""
		case d.begun && d.cursor == "":
			return err
		}
		wait := backOff(tries)
		if refused != nil && refused.after > wait {
			if wait = refused.after; wait > maxRetryAfter {
				return err
			}
		}
		g.provider.logger.Info("upstream is asked again", "in", wait, "error", err)
		d.watch.pause()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

func backOff(tries int) time.Duration {
	wait := min(firstBackOff<<min(tries, 10), lastBackOff)
	return wait - rand.N(wait/2)
}

// passes reports whether what broke a try need not break the next one.
func passes(err error) bool {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.passing
	}
	_, told := errors.AsType[*session.Failure](err)
	return !told // it is the network's
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
		request, err = p.request(ctx, &q, d)
	}
	if err != nil {
		return err
	}
	d.watch.connecting()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { d.watch.connected() }}
	response, err := p.client.Do(request.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer response.Body.Close()
	d.watch.answered()
	if response.StatusCode != http.StatusOK {
		return p.errorAnswer(response)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != p.protocol.mediaType() {
		return &session.Failure{Code: CodeMalformed, Message: fmt.Sprintf("the provider answered with %q instead of a stream", kind)}
	}
	if q.by != "" && !d.seamed {
		d.seamed = true
		d.send(session.Delta{Kind: session.DeltaSeam, By: q.by})
	}
	d.end = func() { response.Body.Close() }
	body := &meter{body: response.Body, left: &d.bytes, most: p.Limits.Bytes}
	err = p.protocol.read(body, d)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errTruncated
	}
	return err
}

// request makes the request of q. A prefill does not end in blanks, at which
// some providers refuse it and others do not begin the answer with them: d
// takes them off its beginning.
func (p *provider) request(ctx context.Context, q *question, d *decoder) (*http.Request, error) {
	asked := *q
	if q.by == session.ByPrefill {
		asked.text = strings.TrimRightFunc(q.text, unicode.IsSpace)
		d.skip = q.text[len(asked.text):]
	}
	body, err := p.body(asked)
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
		var request *http.Request
		if request, err = g.provider.newRequest(ctx, http.MethodPost, path, nil); err == nil {
			var response *http.Response
			if response, err = g.provider.client.Do(request); err == nil {
				if response.StatusCode != http.StatusOK {
					err = g.provider.errorAnswer(response)
				}
				response.Body.Close()
			}
		}
	}
	if err != nil {
		g.provider.logger.Warn("upstream may not have stopped", "error", err)
	}
}

// A meter bounds the bytes of an answer.
type meter struct {
	body io.Reader
	left *int64 // that have been read, of all tries
	most int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.body.Read(p)
	if *m.left += int64(n); *m.left > m.most {
		return 0, &session.Failure{Code: CodeBytes, Message: fmt.Sprintf("the provider's answer has more than %d bytes", m.most)}
	}
	return n, err
}
