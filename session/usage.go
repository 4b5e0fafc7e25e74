package session

import (
	"cmp"

	"tokenrelay/chunker"
)

// A tally counts the tokens of what a model writes, for when nobody reports
// them. What it holds of an open token is not in a checkpoint: over a restart
// the count may be a token or two short.
type tally struct {
	cut  chunker.Chunker
	kind Kind
}

func newTally(model string) *tally {
	encoding, _ := chunker.EncodingForModel(model)
	cut, err := chunker.New(chunker.Token, cmp.Or(encoding, chunker.DefaultEncoding))
	if err != nil {
		panic(err) // an encoding that the chunker itself named
	}
	return &tally{cut: cut}
}

// add returns how many tokens are complete with text. Text of another kind
// ends those before it.
func (t *tally) add(kind Kind, text string) (tokens int64) {
	if kind != t.kind {
		tokens, t.kind = t.end(), kind
	}
	var room [16]chunker.Chunk
	return tokens + units(t.cut.Push(room[:0], text))
}

// end returns how many more there are if nothing follows.
func (t *tally) end() int64 {
	var room [16]chunker.Chunk
	return units(t.cut.Flush(room[:0]))
}

func units(chunks []chunker.Chunk) (n int64) {
	for _, c := range chunks {
		n += int64(c.Units)
	}
	return n
}

// count counts what an upstream's model wrote.
func (p *pump) count(kind Kind, text string) {
	if p.tally != nil {
		p.check.Output += p.tally.add(kind, text)
	}
}

// usage is what the source reported; else it is estimated by our own tokenizer.
// What an upstream that was let go had written before is always estimated.
func (p *pump) usage() Usage {
	reported := p.check.Usage
	switch {
	case p.upstream() && (reported.Output == nil || p.check.Earlier > 0):
		output := p.check.Output
		if reported.Output != nil {
			output = p.check.Earlier + *reported.Output
		}
		return Usage{Input: reported.Input, Output: &output, Source: UsageEstimated}
	case reported.Source != "":
		return reported
	case p.s.info.Spec.Unit == chunker.Token:
		tokens := p.check.Units
		return Usage{Output: &tokens, Source: UsageEstimated}
	}
	return Usage{Source: UsageNone}
}
