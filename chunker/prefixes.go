package chunker

// A prefixes knows how byte pair encoding divides each prefix of a text that
// grows: the open rest of a piece.
//
// It keeps one token for each prefix, the last one: the tokens before it are
// the encoding of the bytes before it. That is so because what byte pair
// encoding never joins across a boundary it joins on either side as if the
// other were not there.
type prefixes struct {
	vocabulary *vocabulary
	last       []token // last[i] ends the first i+1 bytes
	live       []start // where tokens start that the next bytes may complete, in order
}

// A start is a place from which on the text is the start of some token.
type start struct {
	at   int32
	node node
}

func (p *prefixes) len() int { return len(p.last) }

// reset forgets the text, and the memory that only long ones need.
func (p *prefixes) reset() {
	p.last, p.live = p.last[:0], p.live[:0]
	if cap(p.last) > 2*maxMerge || cap(p.live) > maxMerge {
		p.last, p.live = nil, nil
	}
}

// grow takes what text has more than the text known.
func (p *prefixes) grow(text []byte) {
	v := p.vocabulary
	for end := len(p.last); end < len(text); end++ {
		last := -1 // where the last token starts
		if end > 0 {
			last = p.before(end)
		}
		grown := -1 // index in live of the one that starts there
		live := p.live[:0]
		for _, s := range p.live {
			n := v.child(s.node, text[end])
			if n == 0 {
				continue
			}
			if int(s.at) == last {
				grown = len(live)
			}
			live = append(live, start{s.at, n})
		}
		p.live = append(live, start{int32(end), v.child(0, text[end])})
		p.last = append(p.last, p.find(grown))
	}
}

// find returns the token that ends the text: of those that could, exactly one
// stays apart from the encoding of what stands before it. Most often the last
// token has grown; in a run of one character only asking for that first keeps
// the search short.
func (p *prefixes) find(grown int) token {
	v := p.vocabulary
	if grown >= 0 && p.fits(p.live[grown]) {
		return v.nodes[p.live[grown].node].token
	}
	i := 0
	for ; i < len(p.live)-1; i++ {
		if i != grown && p.fits(p.live[i]) {
			break
		}
	}
	return v.nodes[p.live[i].node].token // the last byte alone need not be asked
}

// fits reports whether the text from s on is a token that ends the encoding.
func (p *prefixes) fits(s start) bool {
	t := p.vocabulary.nodes[s.node].token
	return t != none && (s.at == 0 || p.vocabulary.apart(p.last[s.at-1], t))
}

// before returns where the last token of the first end bytes starts.
func (p *prefixes) before(end int) int {
	return end - int(p.vocabulary.lengths[p.last[end-1]])
}

// meet returns the last boundary that the encodings of the first a and the
// first b bytes have in common.
func (p *prefixes) meet(a, b int) int {
	for a != b {
		if a > b {
			a = p.before(a)
		} else {
			b = p.before(b)
		}
	}
	return a
}

// settled returns the last boundary that the encoding of the text has however
// the text goes on, and 0 if there is none. The tokens before it are certain
// too. For a token that is to come starts at a live start or at the end, so the
// encoding of any longer text goes through one of these places.
func (p *prefixes) settled() int {
	at := len(p.last)
	for i := len(p.live) - 1; i >= 0 && at > 0; i-- {
		at = p.meet(at, int(p.live[i].at))
	}
	return at
}

// tokens appends the tokens of the first end bytes, the last one first.
func (p *prefixes) tokens(dst []token, end int) []token {
	for ; end > 0; end = p.before(end) {
		dst = append(dst, p.last[end-1])
	}
	return dst
}

// drop forgets the first n bytes, which end at a settled boundary.
func (p *prefixes) drop(n int) {
	p.last = p.last[:copy(p.last, p.last[n:])]
	for i := range p.live {
		p.live[i].at -= int32(n)
	}
}
