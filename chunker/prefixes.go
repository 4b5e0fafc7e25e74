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
	end        node    // of the last of them
	open       node    // of the longest end of the text that is the start of a token
}

// maxLast is the capacity that is kept when less is needed.
const maxLast = 128

func (p *prefixes) len() int { return len(p.last) }

// reset forgets the text, and the memory that only long ones need.
func (p *prefixes) reset() {
	p.last, p.end, p.open = p.last[:0], 0, 0
	if cap(p.last) > maxLast {
		p.last = nil
	}
}

// grow takes what text has more than the text known.
func (p *prefixes) grow(text []byte) {
	v := p.vocabulary
	for _, b := range text[min(len(p.last), len(text)):] {
		p.open = v.extend(p.open, b)
		p.end = p.find(v.child(p.end, b))
		p.last = append(p.last, v.nodes[p.end].token)
	}
}

// find returns the token that ends the text with one more byte. Of all that
// could, exactly one stays apart from the encoding of what stands before it.
// Most often it is the last token, grown by the byte; in a run of one character
// only asking for that first keeps the search short.
func (p *prefixes) find(grown node) node {
	v := p.vocabulary
	if grown != 0 && p.fits(grown) {
		return grown
	}
	n := p.open
	for v.depths[n] > 1 && (n == grown || !p.fits(n)) {
		n = v.suffixes[n]
	}
	return n // the last byte alone need not be asked
}

// fits reports whether n, an end of the text with one more byte, is a token
// that ends its encoding.
func (p *prefixes) fits(n node) bool {
	v := p.vocabulary
	t := v.nodes[n].token
	start := len(p.last) + 1 - int(v.depths[n])
	return t != none && (start == 0 || v.apart(p.last[start-1], t))
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
// too. For a token that is to come starts at the end of the text, or where some
// end of it begins that is the start of a token; so the encoding of any longer
// text goes through one of these places.
func (p *prefixes) settled() int {
	v := p.vocabulary
	at := len(p.last)
	for n := p.open; n != 0 && at > 0; n = v.suffixes[n] {
		at = p.meet(at, len(p.last)-int(v.depths[n]))
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

// drop forgets the first n bytes, which end at a settled boundary or at one
// before it. So all that is open starts behind them.
func (p *prefixes) drop(n int) {
	rest := p.last[n:]
	if cap(p.last) > maxLast && len(rest) <= maxLast/2 {
		p.last = append([]token(nil), rest...)
		return
	}
	p.last = p.last[:copy(p.last, rest)]
}
