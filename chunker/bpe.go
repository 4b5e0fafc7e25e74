package chunker

import (
	"math"
	"unicode/utf8"
)

// maxShort is the longest piece in bytes that mergeShort encodes; it takes
// quadratic time.
const maxShort = 64

// none is the rank of what is no token.
const none = math.MaxInt32

// A vocabulary holds the tokens of one encoding. It is immutable.
type vocabulary struct {
	pattern pattern
	ranks   map[string]int  // by the token's bytes; every single byte is a token
	pairs   [1 << 16]uint32 // ranks of tokens of two bytes, else none
}

func (v *vocabulary) fillPairs() {
	for i := range v.pairs {
		v.pairs[i] = none
		if rank, ok := v.ranks[string([]byte{byte(i >> 8), byte(i)})]; ok {
			v.pairs[i] = uint32(rank)
		}
	}
}

// has reports whether piece is one token.
func (v *vocabulary) has(piece []byte) bool {
	_, ok := v.ranks[string(piece)]
	return ok
}

func (v *vocabulary) rank(token []byte) uint32 {
	if len(token) == 2 {
		return v.pairs[int(token[0])<<8|int(token[1])]
	}
	if rank, ok := v.ranks[string(token)]; ok {
		return uint32(rank)
	}
	return none
}

// A group is a run of tokens that together are whole characters.
type group struct{ bytes, tokens int32 }

// encode appends the groups of the tokens of piece, whole characters, as byte
// pair encoding gives them: from single bytes on, the two neighbours that make
// the token of the lowest rank are joined, the leftmost first, until no two
// make one.
func (v *vocabulary) encode(dst []group, piece []byte) []group {
	var next []int32 // where the token that starts at the index ends
	if len(piece) <= maxShort {
		var buf [maxShort]int32
		next = buf[:len(piece)]
		v.mergeShort(next, piece)
	} else {
		next = make([]int32, len(piece))
		v.mergeLong(next, piece)
	}
	var g group
	for start := int32(0); int(start) < len(piece); {
		end := next[start]
		g.bytes += end - start
		g.tokens++
		if int(end) == len(piece) || utf8.RuneStart(piece[end]) {
			dst = append(dst, g)
			g = group{}
		}
		start = end
	}
	return dst
}

// mergeShort finds the tokens of piece by looking at all pairs for each join.
func (v *vocabulary) mergeShort(next []int32, piece []byte) {
	type part struct {
		start int32
		rank  uint32 // of the pair of this part and the one after it
	}
	var buf [maxShort + 1]part
	parts := buf[:len(piece)+1] // the last one stands at the end
	for i := range parts {
		parts[i] = part{int32(i), none}
		if i+1 < len(piece) {
			parts[i].rank = v.rank(piece[i : i+2])
		}
	}
	rank := func(i int) uint32 {
		if i+2 >= len(parts) {
			return none
		}
		return v.rank(piece[parts[i].start:parts[i+2].start])
	}
	for {
		least := 0
		for i := range parts {
			if parts[i].rank < parts[least].rank {
				least = i
			}
		}
		if parts[least].rank == none {
			break
		}
		parts = append(parts[:least+1], parts[least+2:]...)
		parts[least].rank = rank(least)
		if least > 0 {
			parts[least-1].rank = rank(least - 1)
		}
	}
	for i := range parts[:len(parts)-1] {
		next[parts[i].start] = parts[i+1].start
	}
}

// mergeLong finds the tokens of piece, of less than 64 KiB, with a heap of
// pairs, in O(n log n).
func (v *vocabulary) mergeLong(next []int32, piece []byte) {
	n := int32(len(piece))
	prev := make([]int32, n) // where the token before the one at the index starts
	pairs := make(pairHeap, 0, n)
	push := func(start int32) {
		if next[start] < n {
			end := next[next[start]]
			if r := v.rank(piece[start:end]); r != none {
				pairs.push(pair(r)<<32 | pair(start)<<16 | pair(end))
			}
		}
	}
	for i := range n {
		next[i], prev[i] = i+1, i-1
	}
	for i := range n {
		push(i)
	}
	for len(pairs) > 0 {
		p := pairs.pop()
		start, end := int32(p>>16&0xffff), int32(p&0xffff)
		middle := next[start]
		if middle == gone || middle == n || next[middle] != end {
			continue // one of the two has been joined since
		}
		next[start], next[middle] = end, gone
		if end < n {
			prev[end] = start
		}
		push(start)
		if start > 0 {
			push(prev[start])
		}
	}
}

// gone marks an index at which no token starts any more.
const gone = -1

// A pair is two neighbouring tokens: from high to low the rank of their join,
// where it starts (16 bits) and where it ends (16 bits). So the least is the
// next to be joined.
type pair uint64

// A pairHeap is a binary heap with the least pair at the root.
type pairHeap []pair

func (h *pairHeap) push(p pair) {
	s := append(*h, p)
	i := len(s) - 1
	for i > 0 && p < s[(i-1)/2] {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = p
	*h = s
}

func (h *pairHeap) pop() pair {
	s := *h
	least, p := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i := 0
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1] < s[child] {
			child++
		}
		if p <= s[child] {
			break
		}
		s[i] = s[child]
		i = child
	}
	if len(s) > 0 {
		s[i] = p
	}
	return least
}
