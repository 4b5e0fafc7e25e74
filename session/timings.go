package session

import (
	"math"
	"time"
)

// Timings are how fast an upstream was, in milliseconds. What is not known is
// nil.
type Timings struct {
	// FirstToken is from the request to the first text, reasoning or tool call.
	FirstToken *float64 `json:"first_token_ms,omitempty"`
	// BetweenTokens is the mean between two tokens that came.
	BetweenTokens *float64 `json:"between_tokens_ms,omitempty"`
}

// A clock measures how the tokens of an upstream come.
type clock struct {
	check *Checkpoint
	asked time.Time // when it was asked
	last  time.Time // when the last token came; zero if the time since is not its own
	apart bool      // the time before the next arrival is not the source's
}

func (c *clock) open() { c.asked, c.apart = time.Now(), true }

// arrive notes when a delta came.
func (c *clock) arrive(d Delta) arrival {
	a := arrival{d, time.Now(), c.apart}
	c.apart = false
	return a
}

// count counts the time of a delta that leaves the queue: what is still in it
// is in no checkpoint either.
func (c *clock) count(a arrival) {
	if a.apart {
		c.last = time.Time{}
	}
	switch a.Kind {
	case deltaGiven:
		c.asked = a.at
		return
	case DeltaText, DeltaReasoning, DeltaToolCall:
	default:
		return
	}
	if c.check.FirstToken == 0 {
		c.check.FirstToken = max(a.at.Sub(c.asked), 1)
	}
	if !c.last.IsZero() {
		c.check.Streaming += a.at.Sub(c.last)
	}
	c.last = a.at
}

// timings are nil until an upstream's first token has come.
func (p *pump) timings() *Timings {
	if p.check.FirstToken == 0 {
		return nil
	}
	t := Timings{FirstToken: new(milliseconds(p.check.FirstToken))}
	if gaps := p.check.Output - 1; gaps > 0 && p.check.Streaming > 0 {
		t.BetweenTokens = new(milliseconds(p.check.Streaming / time.Duration(gaps)))
	}
	return &t
}

// milliseconds is d in milliseconds, to the hundredth.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*100) / 100
}
