package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

var (
	// errCancelled is the cause of a generation that was cancelled.
	errCancelled = errors.New("cancelled")
	// errClosed is the cause of a generation that ends with the provider.
	errClosed = errors.New("provider closed")
)

// A response is one generation of the Responses dialect, with its events.
type response struct {
	id     string
	model  string
	prompt string
	cancel context.CancelCauseFunc
	ended  chan struct{} // closes when there are no more events

	mu      sync.Mutex    // guards the fields below
	events  []event       // append-only, so slices of it may be shared
	object  string        // what it is now, as JSON
	changed chan struct{} // closed and replaced when there are more events
}

func (r *response) append(e event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if e.object != "" {
		r.object = e.object
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// after returns the events past the first n, and a channel that closes when
// there are more.
func (r *response) after(n int) ([]event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[n:], r.changed
}

func (r *response) current() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.object
}

// response returns that of id, which is in the background, or nil.
func (p *Provider) response(id string) *response {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.responses[id]
}

// respond starts a generation and sends its events. One in the background goes
// on when the client leaves.
func (p *Provider) respond(ctx context.Context, c *conn, a answer, rest string) {
	e := &responsesEncoder{answer: a, background: c.request.Background}
	running := ctx
	if e.background {
		running = context.WithoutCancel(ctx)
	}
	running, cancel := context.WithCancelCause(running)
	r := &response{
		id: a.id, model: c.request.Model, prompt: c.request.Prompt, cancel: cancel,
		object: e.render("queued", outcome{}), changed: make(chan struct{}), ended: make(chan struct{}),
	}
	if e.background {
		p.keep(r)
		p.running.Go(func() {
			defer close(r.ended)
			p.ended(r.play(running, e, rest))
		})
	} else {
		var own sync.WaitGroup
		own.Go(func() {
			defer close(r.ended)
			r.play(running, e, rest)
		})
		defer own.Wait()
		defer cancel(nil)
	}
	if !c.request.Stream {
		c.whole(ctx, http.StatusOK, r.current())
		return
	}
	c.follow(ctx, r, -1)
}

func (r *response) play(ctx context.Context, e *responsesEncoder, rest string) (cancelled bool) {
	defer r.cancel(nil)
	play := player{Behavior: e.Behavior, encoder: e, deliver: r.append}
	err := play.play(ctx, rest)
	cancelled = err != nil && context.Cause(ctx) == errCancelled
	if cancelled {
		r.append(e.incomplete("cancelled", ""))
	}
	return cancelled
}

func (p *Provider) keep(r *response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.responses[r.id] = r
	p.counts.Started++
}

func (p *Provider) ended(cancelled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Ended++
	if cancelled {
		p.counts.Cancelled++
	}
}

// attach sends the events of r past the one that the request names.
func (p *Provider) attach(ctx context.Context, c *conn, r *response) {
	number := -1
	if after := c.request.Query.Get("starting_after"); after != "" {
		var err error
		if number, err = strconv.Atoi(after); err != nil {
			c.refuse(ctx, http.StatusBadRequest, "Invalid 'starting_after': expected an integer.")
			return
		}
	}
	c.Behavior = p.behavior(r.prompt)
	if c.refused(ctx) {
		return
	}
	if c.Expired {
		c.refuse(ctx, http.StatusBadRequest, fmt.Sprintf("Response with id '%s' can no longer be streamed because it is more than 5 minutes old.", r.id))
		return
	}
	c.follow(ctx, r, number)
}

// follow sends the events of r past number, and those that come.
func (c *conn) follow(ctx context.Context, r *response, number int) {
	if c.head(ctx) != nil {
		return
	}
	missed, _ := r.after(0)
	for at, over := 0, false; ; {
		select {
		case <-r.ended:
			over = true // once what is there now was sent
		default:
		}
		events, changed := r.after(at)
		for _, e := range events {
			at++
			if e.comment && at > len(missed) || !e.comment && e.number > number {
				if c.send(ctx, e) != nil {
					return
				}
			}
			if e.last {
				return
			}
		}
		if over {
			return
		}
		select {
		case <-changed:
		case <-r.ended:
		case <-ctx.Done():
			return
		}
	}
}
