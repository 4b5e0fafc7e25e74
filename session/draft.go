package session

import (
	"encoding/json"
	"errors"
	"unicode/utf8"

	"tokenrelay/chunker"
)

// A draft is a frame that has no id yet.
type draft struct {
	kind    Kind
	chunk   chunker.Chunk // text and reasoning
	capped  uint64        // text and reasoning: units cut at their longest length up to here
	reason  string        // terminal kinds
	own     string        // done: the provider's own word
	failure *Failure      // failed
	data    []byte        // any other kind
}

// refill makes drafts of what waits, and reports whether there is one.
func (p *pump) refill() bool {
	for len(p.drafts) == 0 {
		switch {
		case p.rest != "":
			piece := p.rest
			if len(piece) > cutPiece && p.s.info.Spec.Unit != chunker.Delta {
				piece = piece[:cutPiece]
			}
			p.rest = p.rest[len(piece):]
			p.draftChunks(func(dst []chunker.Chunk) []chunker.Chunk { return p.cut.Push(dst, piece) })
		case len(p.queue) > 0:
			p.draftDelta(p.next())
		default:
			return false
		}
	}
	return true
}

// draftDelta makes drafts of a delta, or leaves its text in rest.
func (p *pump) draftDelta(d arrival) {
	if p.upstream() {
		p.clock.count(d)
	}
	if d.Cursor != "" {
		p.check.Cursor, p.changed = d.Cursor, true
	}
	switch d.Kind {
	case DeltaText:
		p.count(KindText, d.Text)
		p.beginText(KindText, d.Text)
	case deltaGiven:
		p.beginText(KindText, d.Text)
	case DeltaReasoning:
		p.count(KindReasoning, d.Text)
		p.beginText(KindReasoning, d.Text)
	case DeltaToolCall:
		p.count(KindToolCall, d.Call.Name)
		p.count(KindToolCall, d.Call.Arguments)
		p.flushCut()
		p.draftCall(d.Call)
	case DeltaUsage:
		p.check.Usage = d.Usage
	case DeltaProvider:
		p.draftProvider(d.Text)
	case DeltaSeam:
		p.draftSeam(d.By)
	case DeltaFinish:
		p.flushCut()
		p.drafts = append(p.drafts, draft{kind: KindDone, reason: d.Reason, own: d.ProviderReason})
	case deltaBroken:
		p.flushCut()
		if errors.Is(p.broke, ErrNotContinuable) {
			p.drafts = append(p.drafts, interrupted(errNotContinuable))
			return
		}
		p.draftFailure(p.broke)
	}
}

// maxArguments is how much of a tool call's arguments one frame carries, in
// bytes; JSON may take six for each.
const maxArguments = 8 << 10

// draftCall makes drafts of a fragment of a tool call.
func (p *pump) draftCall(call ToolCall) {
	for rest, first := call.Arguments, true; rest != "" || first; first = false {
		call.Arguments = rest[:cutAt(rest, maxArguments)]
		rest = rest[len(call.Arguments):]
		data, err := json.Marshal(call)
		if err == nil {
			data, err = lineOf(data)
		}
		if err != nil || len(Frame{MaxFrameID, KindToolCall, data}.AppendWire(nil)) > MaxFrame {
			p.draftFailure(errors.New("tool call whose name no frame can carry"))
			return
		}
		p.drafts = append(p.drafts, draft{kind: KindToolCall, data: data})
		p.called = true
		call.ID, call.Name = "", ""
	}
}

// draftProvider makes a draft of what a provider sent beside the text. The text
// goes on over it: what the chunker holds may be cut behind it. The log does
// without what no frame can carry.
func (p *pump) draftProvider(payload string) {
	data, err := lineOf([]byte(payload))
	switch {
	case err != nil, !utf8.Valid(data):
		p.logger.Debug("what a provider sent is no JSON", "session", p.s.info.ID, "bytes", len(payload))
	case len(Frame{MaxFrameID, KindProvider, data}.AppendWire(nil)) > MaxFrame:
		p.logger.Debug("what a provider sent is too large for a frame", "session", p.s.info.ID, "bytes", len(payload))
	default:
		p.drafts = append(p.drafts, draft{kind: KindProvider, data: data})
	}
}

// shorten cuts a text that comes from elsewhere to n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:cutAt(s, n)] + "…"
}

// cutAt is where the last character ends that fits into the first n bytes.
func cutAt(s string, n int) int {
	if len(s) <= n {
		return len(s)
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

// draftSeam makes a draft of the place where another generation goes on. The
// text goes on over it: what the chunker holds may be cut behind it.
func (p *pump) draftSeam(by Continuation) {
	p.check.Output += p.tally.end()
	p.check.Earlier, p.check.Usage = p.check.Output, Usage{}
	offset := p.check.Position
	if p.kind == KindText {
		offset += int64(len(p.cut.Held()))
	}
	if offset == 0 && p.check.Output == 0 {
		return // nothing was there
	}
	data, err := json.Marshal(struct {
		By     Continuation `json:"by"`
		Offset int64        `json:"offset"`
	}{by, offset})
	if err != nil {
		panic(err) // strings and numbers only
	}
	p.drafts = append(p.drafts, draft{kind: KindSeam, data: data})
}

func (p *pump) draftFailure(err error) {
	p.drafts = append(p.drafts, draft{kind: KindFailed, reason: ReasonError, failure: p.failure(err)})
}

// beginText makes text the rest, which must be empty. Text of another kind
// ends what the chunker holds.
func (p *pump) beginText(kind Kind, text string) {
	if text == "" {
		return // it would end what is held, and no log would tell
	}
	if kind != p.kind {
		p.flushCut()
		p.kind = kind
	}
	p.rest = text
}

// flushCut ends the text that the chunker holds: another kind follows, or nothing.
func (p *pump) flushCut() { p.draftChunks(p.cut.Flush) }

func (p *pump) draftChunks(cut func([]chunker.Chunk) []chunker.Chunk) {
	var room [16]chunker.Chunk
	chunks := cut(room[:0])
	for len(p.again) > 0 && len(chunks) > 0 {
		if err := p.repeat(chunks[0]); err != nil {
			p.drop()
			p.closeFeed(ErrReleased)
			failure, _ := errors.AsType[*Failure](err)
			p.drafts = append(p.drafts, interrupted(failure))
			return
		}
		chunks = chunks[1:]
	}
	for _, c := range chunks {
		p.drafts = append(p.drafts, draft{kind: p.kind, chunk: c})
	}
	if len(chunks) > 0 {
		p.drafts[len(p.drafts)-1].capped = p.cut.Capped() // which of the chunks it was is not known
	}
}
