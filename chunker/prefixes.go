package chunker

// A prefixes knows how byte pair encoding divides each prefix of a text that
// grows: the open rest of a piece.
//
// It keeps one token for each prefix, the last one: the tokens before it are
// the encoding of the bytes before it. That is so because what byte pair
// encoding never joins across a boundary it joins on either side as if the
// other were not there.
type prefixes struct {
	last []token // last[i] ends the first i+1 bytes
	live []start // where tokens start that the next bytes may complete, in order
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
func (p *prefixes) grow(v *vocabulary, text []byte) {
	for end := len(p.last); end < len(text); end++ {
		b := text[end]
		grown := -1 // index in live of the last token, grown by b
		live := p.live[:0]
		for _, s := range p.live {
			n := v.child(s.node, b)
			if n == 0 {
				continue
			}
			if int(s.at) == p.before(v, end) {
				grown = len(live)
			}
			live = append(live, start{s.at, n})
		}
		live = append(live, start{int32(end), v.child(0, b)})
		p.live = live
		p.last = append(p.last, p.find(v, grown))
	}
}

// find returns the token that ends the text: of those that could, exactly one
// stays apart from the encoding of what stands before it. Most often the last
// token has grown; in a run of one character only asking for that first keeps
// the search short.
func (p *prefixes) find(v *vocabulary, grown int) token {
	if grown >= 0 && p.fits(v, p.live[grown]) {
		return v.nodes[p.live[grown].node].token
	}
	i := 0
	for ; i < len(p.live)-1; i++ {
		if i != grown && p.fits(v, p.live[i]) {
			break
		}
	}
	return v.nodes[p.live[i].node].token // the last byte alone need not be asked
}

// fits reports whether the text from s on is a token that ends the encoding.
func (p *prefixes) fits(v *vocabulary, s start) bool {
	t := v.nodes[s.node].token
	return t != none && (s.at == 0 || v.apart(p.last[s.at-1], t))
}

// before returns where the last token of the first end bytes starts.
func (p *prefixes) before(v *vocabulary, end int) int {
	if end == 0 {
		return -1
	}
	return end - int(v.lengths[p.last[end-1]])
}

// meet returns the last boundary that the encodings of the first a and the
// first b bytes have in common.
func (p *prefixes) meet(v *vocabulary, a, b int) int {
	for a != b {
		if a > b {
			a = p.before(v, a)
		} else {
			b = p.before(v, b)
		}
	}
	return a
}

// settled returns the last boundary that the encoding of the text has however
// the text goes on, and 0 if there is none. The tokens before it are certain
// too: a token that is to come starts at a live start or at the end, so the
// encoding of any longer text goes through one of these places.
func (p *prefixes) settled(v *vocabulary) int {
	at := len(p.last)
	for i := len(p.live) - 1; i >= 0 && at > 0; i-- {
		at = p.meet(v, at, int(p.live[i].at))
	}
	return at
}

// tokens appends the tokens of the first end bytes, the last one first.
func (p *prefixes) tokens(v *vocabulary, dst []token, end int) []token {
	for ; end > 0; end = p.before(v, end) {
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
