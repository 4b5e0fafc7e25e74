package session

// A DeltaKind is what a Delta carries.
type DeltaKind uint8

const (
	DeltaText      DeltaKind = iota // Text: a piece of the text, cut anywhere
	DeltaReasoning                  // Text: a piece of the model's reasoning
	DeltaToolCall                   // Call: a fragment of a tool call, shown as it is
	DeltaUsage                      // Usage: a later one replaces it
	DeltaProvider                   // Text: a JSON object, which a KindProvider frame is to carry
	DeltaSeam                       // By: what follows was asked for by Continue
	DeltaCursor                     // nothing but its Cursor
	DeltaFinish                     // Reason: the source's own end marker; nothing follows
)

// A Delta is what a source yields.
type Delta struct {
	Kind  DeltaKind
	Text  string
	Call  ToolCall
	Usage Usage
	By    Continuation

	// Reason is why the text ends, in the words of chat completions where they
	// have one: stop, length, tool_calls, content_filter. ProviderReason is the
	// provider's own word for it, if that is another.
	Reason, ProviderReason string

	// Cursor, if not empty, is what Deltas takes to go on behind this delta.
	Cursor string
}

// A ToolCall is a fragment of a call: arguments of the calls of one index
// make up a whole when they are joined. Indices tell calls apart and grow, but
// may leave numbers out.
type ToolCall struct {
	Index     int    `json:"index"`
	ID        string `json:"id,omitempty"`   // in the first fragment
	Name      string `json:"name,omitempty"` // in the first fragment
	Arguments string `json:"arguments"`
}

// A Continuation is how a provider is asked to go on from a text.
type Continuation string

const (
	ByPrefill Continuation = "prefill" // the text is the beginning of its answer
	ByMessage Continuation = "message" // a message quotes it and asks for the rest: the join need not be exact
	ByAnew    Continuation = "anew"    // there is no text yet: the whole is asked for again
)

// Usage is what a text cost, in tokens. What is not known is nil: a zero was
// reported as one.
type Usage struct {
	Input  *int64      `json:"input_tokens,omitempty"`
	Output *int64      `json:"output_tokens,omitempty"`
	Source UsageSource `json:"source"`
}

// A UsageSource says where the figures of a Usage are from.
type UsageSource string

const (
	UsageReported  UsageSource = "reported"  // by the provider
	UsageEstimated UsageSource = "estimated" // counted by our own tokenizer
	UsageNone      UsageSource = "none"      // there are none
)

// An End is the payload of a terminal frame.
type End struct {
	Reason         string   `json:"reason"`
	ProviderReason string   `json:"provider_reason,omitempty"` // the provider's own word for Reason
	Error          *Failure `json:"error,omitempty"`
	Usage          Usage    `json:"usage"`
	Timings        *Timings `json:"timings,omitempty"` // of an upstream; nil if no token came
}

// Reasons of an End that this package itself gives. A done upstream session
// has its provider's finish reason.
const (
	ReasonStop     = "stop"           // done: the source came to its end
	ReasonFinish   = "finish"         // done: the producer said so
	ReasonStopped  = "stop_requested" // stopped
	ReasonDeleted  = "deleted"        // stopped, because the session was deleted
	ReasonNoReader = "no_reader"      // stopped, because nobody read it; also of a pause
	ReasonUnread   = "unread_limit"   // stopped: an upstream that ran on unread beyond MaxUnread or MaxUnreadTime
	ReasonReader   = "reader"         // of the end of such a pause: somebody reads again
	ReasonIdle     = "idle"           // stopped, because nobody read it and nothing came
	ReasonError    = "error"          // failed: see End.Error
	ReasonRestart  = "restart"        // interrupted: see End.Error
)
