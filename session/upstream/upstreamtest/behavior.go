package upstreamtest

import (
	"net/http"
	"time"
)

// DefaultSize is how long a token is, in units.
const DefaultSize = 8

// A Unit is what the length of a token is measured in.
type Unit int

const (
	Runes Unit = iota // code points
	Bytes             // of whole code points: one that is longer stands alone
	UTF16             // code units: the halves of a surrogate pair may come apart
)

// A Fault is what goes wrong with an answer.
type Fault int

const (
	None     Fault = iota
	NoAnswer       // nothing, not even a head, until the client leaves
	Hangup         // the connection closes without an answer

	// Those that happen after Behavior.After tokens of a connection.

	Silent    // nothing more until the client leaves, no keep-alives either
	Cut       // the connection closes within the body; what was written arrives
	Reset     // the same by a TCP reset: what the client has not read may be lost
	CleanEnd  // the body ends as if it were whole
	Malformed // an event that is no JSON, then the answer goes on

	// Those that happen after Behavior.After tokens of a generation.

	ErrorEvent // an error in the stream, then its end
	Failed     // the same, in the Responses dialect as response.failed

	// NoDone leaves out what follows the finish reason and the usage: [DONE]
	// or message_stop. The other dialects have nothing there.
	NoDone
)

// A Behavior is how one request is answered. The zero value gives the whole
// text without delay.
type Behavior struct {
	// Size is the length of a token, in units; zero means DefaultSize.
	Size int
	Unit Unit
	// Tokens is how many tokens of the text are written; zero means all.
	Tokens int

	// Headers passes before the head of the answer, Begin from there until its
	// first event, First until the first token, Between from each to the next.
	// A generation in the background begins with its request: its events do
	// not wait for the head.
	Headers, Begin, First, Between time.Duration
	// Gate, if not nil, is received from before each token, after its delay.
	Gate <-chan struct{}
	// KeepAlive is after how much silence, in Begin and later, a keep-alive
	// comes; zero means none. It is a comment, or with KeepAliveEvents what
	// the dialect has: ping, keepalive, or a chunk with an empty delta. Ollama
	// has only that.
	KeepAlive       time.Duration
	KeepAliveEvents bool

	Fault Fault
	// After is how many tokens come before the fault. That of an answer with
	// fewer does not happen.
	After int

	// Status, if not zero, is that of an error instead of an answer; Message
	// is what it or an error in the stream says.
	Status  int
	Message string
	// Header is added to that of the answer, say a Retry-After.
	Header http.Header
	// NoPrefill refuses requests that end with an assistant's message.
	NoPrefill bool
	// Expired refuses to re-attach to a response in the background: it is said
	// to be too old.
	Expired bool

	// Reasoning comes before the text, ToolCall after it, in tokens of their
	// own.
	Reasoning string
	ToolCall  *ToolCall
	// Finish is the reason in the dialect's words; empty means its usual one.
	// In the Responses dialect any other makes the response incomplete.
	Finish string
	// Usage is what is reported; nil counts words of the messages and tokens
	// of the answer.
	Usage   *Usage
	NoUsage bool

	// Extra is what chunks of chat completions have beside.
	Extra Extra
}

// An Extra is fields of JSON objects, as in "a":1,"b":2: of each chunk, of the
// choice and of the delta of each piece, and of the usage.
type Extra struct{ Chunk, Choice, Delta, Usage string }

// A ToolCall is one that the model wants. Arguments is a JSON object.
type ToolCall struct{ ID, Name, Arguments string }

// A Usage counts tokens.
type Usage struct{ Input, Output int }
