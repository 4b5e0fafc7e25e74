package session

import "encoding/json"

// A DeltaKind is what a Delta carries.
type DeltaKind uint8

const (
	DeltaText      DeltaKind = iota // Text: a piece of the text, cut anywhere
	DeltaReasoning                  // Text: a piece of the model's reasoning
	DeltaToolCall                   // Data: a fragment of a tool call, shown as it is
	DeltaUsage                      // Usage: a later one replaces it
	DeltaFinish                     // Reason: the source's own end marker; nothing follows
)

// A Delta is what a source yields.
type Delta struct {
	Kind   DeltaKind
	Text   string
	Data   json.RawMessage
	Usage  Usage
	Reason string
}

// Usage is what a text cost, in tokens.
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
	Reason string   `json:"reason"`
	Error  *Failure `json:"error,omitempty"`
	Usage  Usage    `json:"usage"`
}

// Reasons of an End that this package itself gives. A done upstream session
// has its provider's finish reason.
const (
	ReasonStop    = "stop"           // done: the source came to its end
	ReasonFinish  = "finish"         // done: the producer said so
	ReasonStopped = "stop_requested" // stopped
	ReasonDeleted = "deleted"        // stopped, because the session was deleted
	ReasonError   = "error"          // failed: see End.Error
	ReasonRestart = "restart"        // interrupted: see End.Error
)
