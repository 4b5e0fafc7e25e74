package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"tokenrelay/session"
)

// errLaunched reports a generation that was let go before its id was known, and
// could not be stopped.
var errLaunched = errors.New("the provider did not name what it began")

// A launch is a request that begins a generation which lives on without its
// connection. Only with the id, which the first event has, can that be stopped:
// if its context ends before, because nobody wants the rest, the request goes
// on until the id is known, for cancelTimeout at most. So it does not before the
// provider can have it, nor if somebody else may want the rest.
type launch struct {
	end  context.CancelCauseFunc // of the request
	stop func() bool             // looks out no more for the end of the context

	mu    sync.Mutex // guards the fields below
	sent  bool       // the provider may have the request
	told  bool       // its answer has told the id, or has none
	ended bool       // its context has
	lost  bool       // the id did not come in time
	timer *time.Timer
}

// newLaunch returns the launch that request is when ctx is its context, and the
// request to be made in its stead.
func newLaunch(ctx context.Context, request *http.Request) (*launch, *http.Request) {
	outliving, end := context.WithCancelCause(context.WithoutCancel(ctx))
	l := &launch{end: end}
	again := request.GetBody // for when the transport takes another connection
	request = request.WithContext(outliving)
	request.Body = &launchBody{request.Body, l}
	request.GetBody = func() (io.ReadCloser, error) {
		body, err := again()
		return &launchBody{body, l}, err
	}
	l.stop = context.AfterFunc(ctx, func() { l.leave(context.Cause(ctx)) })
	return l, request
}

// close is for when the answer was read.
func (l *launch) close(logger *slog.Logger) {
	l.stop()
	l.tell() // so that what leave waits for is over
	l.end(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		logger.Warn("upstream may not have stopped", "error", errLaunched)
	}
}

// leave is for the end of the context.
func (l *launch) leave(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if _, limit := errors.AsType[*session.Failure](cause); l.told || !l.sent || !limit && !errors.Is(cause, session.ErrReleased) {
		l.end(cause)
		return
	}
	l.timer = time.AfterFunc(cancelTimeout, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost = !l.told
		l.end(errLaunched)
	})
}

// tell is for when the id is known, or that there is none. It reports whether
// what comes is still wanted.
func (l *launch) tell() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = true
	if l.timer != nil {
		l.timer.Stop()
	}
	return !l.ended
}

// send reports whether the request may go to the provider.
func (l *launch) send() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = l.sent || !l.ended
	return l.sent
}

// A launchBody is the body of a request that has not been sent until it is read.
type launchBody struct {
	io.ReadCloser
	launch *launch
}

func (b *launchBody) Read(p []byte) (int, error) {
	if !b.launch.send() {
		return 0, context.Canceled
	}
	return b.ReadCloser.Read(p)
}
