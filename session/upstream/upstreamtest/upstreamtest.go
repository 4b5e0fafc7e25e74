// Package upstreamtest is a provider of models for tests: it speaks the
// protocols of several, its answers are known to the byte, and it tells when
// its clients leave. It works over TCP and, in a synctest bubble in which it
// was made, over net.Pipe.
package upstreamtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are those of a Provider. The zero value works.
type Options struct {
	// Default is how prompts without a script are answered.
	Default Behavior
	// Continue reports whether a user's message after a whole answer asks to
	// go on with it, of which nothing is left. Nil says that none does. After
	// part of an answer every message asks that.
	Continue func(content string) bool
}

// A Provider is a mock of providers of models, for any prefix of the paths
// that theirs have.
type Provider struct {
	opts    Options
	running sync.WaitGroup // generations in the background

	mu        sync.Mutex // guards the fields below
	scripts   map[string][]Behavior
	asked     map[string]int // requests for each prompt, since its script
	made      int            // generations
	requests  []*Request
	given     int           // of the requests, by Next
	changed   chan struct{} // closed and replaced when there are more
	responses map[string]*response
	counts    Counts
}

// Counts are those of the generations in the background.
type Counts struct{ Started, Ended, Cancelled int }

// New returns a provider, which a server is to serve.
func New(o Options) *Provider {
	if o.Continue == nil {
		o.Continue = func(string) bool { return false }
	}
	return &Provider{
		opts:      o,
		scripts:   make(map[string][]Behavior),
		asked:     make(map[string]int),
		changed:   make(chan struct{}),
		responses: make(map[string]*response),
	}
}

// Script makes the requests that follow for prompt behave as steps say: the
// first as the first, and so on; the last step holds for all further ones. To
// continue an answer and to re-attach to a response are requests for its
// prompt; to poll one or to cancel it are not.
func (p *Provider) Script(prompt string, steps ...Behavior) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scripts[prompt] = slices.Clone(steps)
	p.asked[prompt] = 0
}

// behavior returns that of the next request for prompt.
func (p *Provider) behavior(prompt string) Behavior {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.asked[prompt]
	p.asked[prompt]++
	steps := p.scripts[prompt]
	if len(steps) == 0 {
		return p.opts.Default
	}
	return steps[min(n, len(steps)-1)]
}

// Requests returns all requests so far, in the order in which they came.
func (p *Provider) Requests() []*Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Next returns the first request that no call of it returned, when it comes.
func (p *Provider) Next(ctx context.Context) (*Request, error) {
	for {
		p.mu.Lock()
		changed := p.changed
		if p.given < len(p.requests) {
			r := p.requests[p.given]
			p.given++
			p.mu.Unlock()
			return r, nil
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Background returns the counts of the generations in the background.
func (p *Provider) Background() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Close ends the generations in the background and waits for them. The server
// is to be closed before.
func (p *Provider) Close() {
	p.mu.Lock()
	for _, r := range p.responses {
		r.cancel(errClosed)
	}
	p.mu.Unlock()
	p.running.Wait()
}

var responsePath = regexp.MustCompile(`/responses(?:/([^/]+)(/cancel)?)?$`)

// ServeHTTP answers one request.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := &Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header,
		done: make(chan struct{}), left: make(chan struct{}),
	}
	request.Done, request.Left = request.done, request.left
	method, cancels := http.MethodPost, false
	match := responsePath.FindStringSubmatch(r.URL.Path)
	switch {
	case strings.HasSuffix(r.URL.Path, "/chat/completions"):
		request.Dialect = Chat
	case strings.HasSuffix(r.URL.Path, "/messages"):
		request.Dialect = Messages
	case strings.HasSuffix(r.URL.Path, "/api/chat"):
		request.Dialect = Ollama
	case match != nil:
		request.Dialect, request.Response, cancels = Responses, match[1], match[2] != ""
		if request.Response != "" && !cancels {
			method = http.MethodGet
		}
	default:
		http.NotFound(w, r)
		return
	}
	// Only when it was read whole does the server watch for the client's leaving.
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	request.Body, request.At = data, time.Now()
	ctx := r.Context()
	request.watch(ctx)
	defer close(request.done)
	defer request.unwatch()

	c := &conn{w: w, control: http.NewResponseController(w), request: request}
	if r.Method != method {
		p.record(request)
		c.refuse(ctx, http.StatusMethodNotAllowed, "not allowed method")
		return
	}
	if request.Response != "" {
		found := p.response(request.Response)
		if found != nil {
			request.Model, request.Prompt, request.Background = found.model, found.prompt, true
			request.Stream = request.Query.Get("stream") == "true"
		}
		p.record(request)
		switch {
		case found == nil:
			c.refuse(ctx, http.StatusNotFound, fmt.Sprintf("Response with id '%s' not found.", request.Response))
		case cancels:
			found.cancel(errCancelled)
			<-found.ended
			c.whole(ctx, http.StatusOK, found.current())
		case request.Stream:
			p.attach(ctx, c, found)
		default:
			c.whole(ctx, http.StatusOK, found.current())
		}
		return
	}
	p.generate(ctx, c)
}

// record adds r to the requests.
func (p *Provider) record(r *Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, r)
	close(p.changed)
	p.changed = make(chan struct{})
}

// generate answers a request for a generation.
func (p *Provider) generate(ctx context.Context, c *conn) {
	r := c.request
	b, err := r.Dialect.parse(r.Body)
	r.Model, r.Background = b.Model, b.Background
	r.Stream = r.Dialect == Ollama
	if b.Stream != nil {
		r.Stream = *b.Stream
	}
	input := 0
	for _, m := range b.Messages {
		if m.Role != "" { // else an item of another kind
			r.Messages = append(r.Messages, Message{m.Role, string(m.Content)})
			input += len(strings.Fields(string(m.Content)))
		}
	}
	if err == nil {
		r.Prompt, r.Prefix, err = continuation(r.Messages, r.Dialect.prefills(b), p.opts.Continue)
	}
	if err == nil {
		err = r.Dialect.check(r, b)
	}
	a := answer{model: quote(r.Model), created: r.At, input: input}
	if err == nil {
		c.Behavior = p.behavior(r.Prompt)
		a.Behavior = c.Behavior
		a.id = p.id(r.Dialect)
		if r.Dialect == Responses {
			r.Response = a.id
		}
	}
	p.record(r)
	if err != nil {
		c.refuse(ctx, http.StatusBadRequest, err.Error())
		return
	}
	if c.NoPrefill && r.last().Role == "assistant" {
		c.refuse(ctx, http.StatusBadRequest, "This model does not support assistant message prefill. The conversation must end with a user message.")
		return
	}
	if c.refused(ctx) {
		return
	}
	rest := Text(r.Prompt)[len(r.Prefix):]
	if r.Dialect == Responses {
		p.respond(ctx, c, a, rest)
		return
	}
	if c.head(ctx) != nil {
		return
	}
	var e encoder
	switch r.Dialect {
	case Chat:
		e = &chatEncoder{answer: a, includeUsage: b.StreamOptions.IncludeUsage}
	case Messages:
		e = &messagesEncoder{answer: a}
	case Ollama:
		e = &ollamaEncoder{answer: a}
	}
	play := player{Behavior: c.Behavior, encoder: e, deliver: func(ev event) error { return c.send(ctx, ev) }}
	play.play(ctx, rest) // what ends it early is the behavior or the client, and recorded
}

// id returns the next generation's.
func (p *Provider) id(d Dialect) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made++
	prefix := map[Dialect]string{Chat: "chatcmpl", Responses: "resp", Messages: "msg", Ollama: "ollama"}[d]
	return fmt.Sprintf("%s_%d", prefix, p.made)
}
