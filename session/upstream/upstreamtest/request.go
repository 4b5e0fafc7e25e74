package upstreamtest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Dialect is a protocol that the provider speaks.
type Dialect string

const (
	Chat      Dialect = "chat"      // OpenAI's chat completions
	Responses Dialect = "responses" // OpenAI's Responses
	Messages  Dialect = "messages"  // Anthropic's Messages
	Ollama    Dialect = "ollama"    // Ollama's chat
)

// A Request is what the provider knows of one. The fields do not change.
type Request struct {
	Dialect Dialect
	Method  string
	Path    string
	Query   url.Values
	Header  http.Header
	Body    []byte
	At      time.Time // when its body had come

	// What the body says.
	Model      string
	Messages   []Message // with instructions or system prompt as the first, if there are any
	Stream     bool
	Background bool

	Prompt   string // the message that is answered, or was by the response of the path
	Prefix   string // of the answer: what the client has already
	Response string // the id of the response that it makes or names

	Done <-chan struct{} // closes when the handler has ended
	Left <-chan struct{} // closes when the client leaves before the last event

	done, left chan struct{}
	leftAt     time.Time // set before left closes
	unwatch    func()    // settles whether the client left
	tokens     atomic.Int64
	status     atomic.Int64
}

// A Message is one of a conversation. Content is its text.
type Message struct{ Role, Content string }

// Key returns the key that the request shows: bearer token or x-api-key.
func (r *Request) Key() string {
	if key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return key
	}
	return r.Header.Get("X-Api-Key")
}

// Tokens returns how many tokens were written so far.
func (r *Request) Tokens() int { return int(r.tokens.Load()) }

// Status returns that of the answer, 0 before its head.
func (r *Request) Status() int { return int(r.status.Load()) }

// LeftAt returns when the client left; ok is false if it did not so far, or
// had the last event.
func (r *Request) LeftAt() (at time.Time, ok bool) {
	select {
	case <-r.left:
		return r.leftAt, true
	default:
		return time.Time{}, false
	}
}

// watch begins to look out for the client's leaving, which cancels ctx.
func (r *Request) watch(ctx context.Context) {
	leave := sync.OnceFunc(func() {
		r.leftAt = time.Now()
		close(r.left)
	})
	stop := context.AfterFunc(ctx, leave)
	r.unwatch = sync.OnceFunc(func() {
		// Who sees ctx done may be ahead of what AfterFunc starts.
		if !stop() || ctx.Err() != nil {
			leave()
		}
	})
}
