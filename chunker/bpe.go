package chunker

// apart reports whether byte pair encoding of the bytes of two tokens, one
// after the other, gives these two tokens.
//
// It undoes the joins that made them, the last one first, as far as they touch
// the place where the two meet. So left and right become, step by step, what
// met there while byte pair encoding was under way. If such two have a join
// that is in order before the one just undone, it would have been made instead.
func (v *vocabulary) apart(left, right token) bool {
	before := none // joins of lower rank come before the one undone last
	for {
		if v.joined(left, right) < before {
			return false
		}
		switch {
		case left < singles && right < singles:
			return true
		case left > right:
			before = left
			left = v.halves[left].right
		default:
			// Joins of one rank are made from the left to the right. So of two
			// the right one is undone first, and one across comes before it.
			before = right + 1
			right = v.halves[right].left
		}
	}
}

// maxMerge is the longest text in bytes that merge encodes; it takes quadratic
// time.
const maxMerge = 64

// merge appends the tokens of text, the last one first. From single bytes on,
// the two neighbours that make the token of the lowest rank are joined, the
// leftmost first, until no two make one.
func (v *vocabulary) merge(dst []token, text []byte) []token {
	type part struct{ token, join token } // join is with the part behind it
	var room [maxMerge]part
	parts := room[:len(text)]
	for i, b := range text {
		parts[i] = part{v.ofByte[b], none}
		if i > 0 {
			parts[i-1].join = v.joined(v.ofByte[text[i-1]], v.ofByte[b])
		}
	}
	for {
		least, join := 0, none
		for i := range parts {
			if parts[i].join < join {
				least, join = i, parts[i].join
			}
		}
		if join == none {
			break
		}
		parts = append(parts[:least+1], parts[least+2:]...)
		parts[least] = part{join, none}
		if least+1 < len(parts) {
			parts[least].join = v.joined(join, parts[least+1].token)
		}
		if least > 0 {
			parts[least-1].join = v.joined(parts[least-1].token, join)
		}
	}
	for i := len(parts) - 1; i >= 0; i-- {
		dst = append(dst, parts[i].token)
	}
	return dst
}
