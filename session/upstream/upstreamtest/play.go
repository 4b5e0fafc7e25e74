package upstreamtest

import (
	"cmp"
	"context"
	"time"
)

// An event is what a generation sends at once.
type event struct {
	wire    string
	token   bool // a piece of the answer
	last    bool // nothing follows
	comment bool // has no number, and is not sent again

	// In the Responses dialect.
	number int    // sequence_number
	object string // what the response is from here on; empty: as before
}

// A part is a piece's place in the answer.
type part int

const (
	noPart part = iota
	reasoning
	text
	arguments
)

// An encoder writes one generation in a dialect. Its methods are called in
// order, and each may return several events.
type encoder interface {
	// start returns what comes before the first token.
	start() []event
	// piece returns a piece of the answer, which is a JSON string. The last
	// event is the token.
	piece(p part, quoted string) []event
	// keepAlive returns an event that says nothing.
	keepAlive() event
	// fail returns the error of the behavior.
	fail() []event
	// finish returns what follows the last of so many tokens.
	finish(tokens int) []event
}

// An answer is what encoders know of the one they write.
type answer struct {
	Behavior
	id      string
	model   string // as JSON
	created time.Time
	input   int // words of the messages
}

// usage returns what the answer reports after so many tokens.
func (a *answer) usage(tokens int) Usage {
	if a.Usage != nil {
		return *a.Usage
	}
	return Usage{Input: a.input, Output: tokens}
}

// trouble returns what an error in the stream says.
func (a *answer) trouble() string { return cmp.Or(a.Message, "the model broke down") }

// reason returns why the answer ends: the behavior's words, or the usual ones.
func (a *answer) reason(usual, withToolCall string) string {
	if a.ToolCall != nil {
		usual = withToolCall
	}
	return cmp.Or(a.Finish, usual)
}

// A player sends one generation in the time that its behavior says.
type player struct {
	Behavior
	encoder
	deliver func(event) error
}

func (p *player) play(ctx context.Context, rest string) error {
	type token struct {
		part   part
		quoted string
	}
	var tokens []token
	add := func(part part, whole string, limit int) {
		cut := pieces(whole, cmp.Or(p.Size, DefaultSize), p.Unit)
		if limit > 0 {
			cut = cut[:min(limit, len(cut))]
		}
		for _, quoted := range cut {
			tokens = append(tokens, token{part, quoted})
		}
	}
	add(reasoning, p.Reasoning, 0)
	add(text, rest, p.Tokens)
	if p.ToolCall != nil {
		add(arguments, p.ToolCall.Arguments, 0)
	}

	if err := p.wait(ctx, p.Begin, nil); err != nil {
		return err
	}
	if err := p.send(p.start()...); err != nil {
		return err
	}
	fails := p.Fault == ErrorEvent || p.Fault == Failed
	delay := p.First
	for i, t := range tokens {
		if fails && i == p.After {
			return p.end(p.fail())
		}
		if err := p.wait(ctx, delay, p.Gate); err != nil {
			return err
		}
		if err := p.send(p.piece(t.part, t.quoted)...); err != nil {
			return err
		}
		delay = p.Between
	}
	if fails && len(tokens) == p.After {
		return p.end(p.fail())
	}
	return p.end(p.finish(len(tokens)))
}

// end sends the last events.
func (p *player) end(events []event) error {
	events[len(events)-1].last = true
	return p.send(events...)
}

func (p *player) send(events ...event) error {
	for _, e := range events {
		if err := p.deliver(e); err != nil {
			return err
		}
	}
	return nil
}

// wait returns after d and then one receive from gate, if there is one. It
// sends keep-alives.
func (p *player) wait(ctx context.Context, d time.Duration, gate <-chan struct{}) error {
	var timer, silent <-chan time.Time
	if d > 0 {
		timer = time.After(d)
	}
	if p.KeepAlive > 0 {
		ticker := time.NewTicker(p.KeepAlive)
		defer ticker.Stop()
		silent = ticker.C
	}
	for timer != nil || gate != nil {
		open := gate
		if timer != nil {
			open = nil
		}
		select {
		case <-timer:
			timer = nil
		case <-open:
			gate = nil
		case <-silent:
			if err := p.send(p.keepAlive()); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}
