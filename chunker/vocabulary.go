package chunker

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"

	loader "github.com/pkoukk/tiktoken-go-loader"
)

// A token is the rank of one in its vocabulary, which is also its id. Byte pair
// encoding makes tokens of low rank first; the 256 single bytes are the lowest.
type token uint32

const (
	singles token = 256       // tokens below are single bytes
	none    token = 1<<32 - 1 // the rank of what is no token
)

// rankBits is how many bits hold any token; see pairs.
const rankBits = 18

// A node is the start of one or more tokens: a node of a trie. Node 0 is the
// empty start, node 1+b that of the byte b.
type node uint32

// A vocabulary holds the tokens of one encoding, and how byte pair encoding
// makes them. It is immutable.
type vocabulary struct {
	pattern pattern

	// The trie, by node. The nodes below one stand together somewhere behind
	// it; one more at the end closes the last run.
	nodes    []trieNode
	labels   []byte  // the last byte of the start
	depths   []uint8 // its bytes
	suffixes []node  // the longest end of it, but for itself, that is a start too

	// By token.
	halves  []halves
	lengths []uint8 // in bytes

	pairs pairTable // the token that two are halves of

	ofByte [256]token
	second [1 << 16]node // of the start with the index's two bytes, 0 if there is none
}

type trieNode struct {
	below node  // the first one with one more byte
	token token // the one with just these bytes, or none
}

// halves are the two tokens that byte pair encoding joins to make a token. Those
// of a single byte mean nothing.
type halves struct{ left, right token }

// child returns the node for one more byte, 0 if no token starts so.
func (v *vocabulary) child(n node, b byte) node {
	switch {
	case n == 0:
		return 1 + node(b)
	case n <= 256:
		return v.second[(n-1)<<8|node(b)]
	}
	below := v.nodes[n].below
	labels := v.labels[below:v.nodes[n+1].below]
	if len(labels) > 8 {
		if i := bytes.IndexByte(labels, b); i >= 0 {
			return below + node(i)
		}
		return 0
	}
	for i, l := range labels {
		if l == b {
			return below + node(i)
		}
	}
	return 0
}

// extend returns the longest end of a start and one more byte that is a start.
func (v *vocabulary) extend(n node, b byte) node {
	for {
		if c := v.child(n, b); c != 0 {
			return c
		}
		n = v.suffixes[n]
	}
}

// token returns the token with these bytes, or none.
func (v *vocabulary) token(text []byte) token {
	var n node
	for _, b := range text {
		if n = v.child(n, b); n == 0 {
			return none
		}
	}
	return v.nodes[n].token
}

// joined returns the token that byte pair encoding makes of two neighbours, or
// none. It knows the halves only: two other tokens whose bytes make the same
// token never come to stand next to each other, because what happens within
// those bytes is what happens to them alone, and there the halves come about.
func (v *vocabulary) joined(left, right token) token { return v.pairs.get(left, right) }

// load returns the vocabulary of the encoding, where empty means
// DefaultEncoding. All callers share one.
func load(encoding string) (*vocabulary, error) {
	encoding, err := ParseEncoding(encoding)
	if err != nil {
		return nil, err
	}
	return vocabularies[encoding]()
}

// vocabularies holds those that were loaded.
var vocabularies = map[string]func() (*vocabulary, error){
	"cl100k_base":   cl100kBase,
	"o200k_base":    o200kBase,
	"o200k_harmony": o200kBase, // differs in its special tokens only
}

var (
	cl100kBase = sync.OnceValues(func() (*vocabulary, error) { return readVocabulary("cl100k_base", cl100k) })
	o200kBase  = sync.OnceValues(func() (*vocabulary, error) { return readVocabulary("o200k_base", o200k) })
)

// readVocabulary decodes the file of an encoding that the loader embeds.
func readVocabulary(name string, p pattern) (*vocabulary, error) {
	ranks, err := loader.NewOfflineLoader().LoadTiktokenBpe(name + ".tiktoken")
	if err != nil {
		return nil, fmt.Errorf("vocabulary %s: %w", name, err)
	}
	return newVocabulary(p, ranks), nil
}

// newVocabulary makes the tables of the tokens with these ranks, which must be
// the numbers from 0 on, less than 1<<rankBits, all single bytes before all
// others. No token is longer than 255 bytes.
func newVocabulary(p pattern, ranks map[string]int) *vocabulary {
	v := &vocabulary{
		pattern: p,
		halves:  make([]halves, len(ranks)),
		lengths: make([]uint8, len(ranks)),
		pairs:   newPairTable(len(ranks)),
	}
	entries := make([]entry, 0, len(ranks))
	texts := make([]string, len(ranks))
	for text, rank := range ranks {
		entries = append(entries, entry{text, token(rank)})
		texts[rank] = text
		v.lengths[rank] = uint8(len(text))
		if len(text) == 1 {
			v.ofByte[text[0]] = token(rank)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.text, b.text) })
	v.fillTrie(entries)
	v.fillSuffixes()
	for t, text := range texts {
		v.fillHalves(token(t), text)
	}
	return v
}

type entry struct {
	text  string
	token token
}

// fillTrie makes the trie of entries, which are sorted, level by level.
func (v *vocabulary) fillTrie(entries []entry) {
	type span struct{ from, to int32 } // the entries that start with a node's bytes
	level := []span{{0, int32(len(entries))}}
	v.nodes = append(v.nodes, trieNode{1, none})
	v.labels = append(v.labels, 0)
	for depth, done := 0, 0; len(level) > 0; depth++ {
		var next []span
		for i, s := range level {
			n := &v.nodes[done+i]
			if text := entries[s.from].text; len(text) == depth {
				n.token = entries[s.from].token
				s.from++
			}
			n.below = node(len(v.labels))
			for s.from < s.to {
				b := entries[s.from].text[depth]
				from := s.from
				for s.from < s.to && entries[s.from].text[depth] == b {
					s.from++
				}
				v.labels = append(v.labels, b)
				next = append(next, span{from, s.from})
			}
		}
		done += len(level)
		for range next {
			v.nodes = append(v.nodes, trieNode{0, none})
		}
		level = next
	}
	v.nodes = append(v.nodes, trieNode{node(len(v.labels)), none})
	for b := range 256 {
		for n := v.nodes[1+b].below; n < v.nodes[2+b].below; n++ {
			v.second[b<<8|int(v.labels[n])] = n
		}
	}
}

// fillSuffixes finds the suffixes level by level: that of a node below another
// extends the one of the other. With them the trie is an automaton of Aho and
// Corasick.
func (v *vocabulary) fillSuffixes() {
	v.depths = make([]uint8, len(v.labels))
	v.suffixes = make([]node, len(v.labels))
	for n := range node(len(v.labels)) {
		for c := v.nodes[n].below; c < v.nodes[n+1].below; c++ {
			v.depths[c] = v.depths[n] + 1
			if n != 0 {
				v.suffixes[c] = v.extend(v.suffixes[n], v.labels[c])
			}
		}
	}
}

// fillHalves finds the two tokens that t is joined from. All of lower rank must
// have been done: of the ways to divide it into two of them, one leaves the two
// apart until t joins them.
func (v *vocabulary) fillHalves(t token, text string) {
	var n node
	for i := 1; i < len(text); i++ {
		n = v.child(n, text[i-1])
		left := v.nodes[n].token
		if left >= t {
			continue
		}
		right := v.token([]byte(text[i:]))
		if right >= t || !v.apart(left, right) {
			continue
		}
		v.halves[t] = halves{left, right}
		v.pairs.put(left, right, t)
		return
	}
}

// A pairTable gives the join of two tokens: a hash table with linear probing.
// An entry holds left, right and join in rankBits each; 0 is a free one, as no
// join is the token 0.
type pairTable struct {
	entries []uint64
	shift   int // of a hash to an index
}

func newPairTable(n int) pairTable {
	size := bits.Len(uint(n)) + 1 // a quarter to a half is filled
	return pairTable{make([]uint64, 1<<size), 64 - size}
}

func (p *pairTable) start(key uint64) uint64 {
	return key * 0x9e3779b97f4a7c15 >> p.shift // Fibonacci hashing
}

func (p *pairTable) get(left, right token) token {
	key := uint64(left)<<rankBits | uint64(right)
	mask := uint64(len(p.entries) - 1)
	for i := p.start(key); ; i++ {
		switch e := p.entries[i&mask]; {
		case e>>rankBits == key && e != 0:
			return token(e & (1<<rankBits - 1))
		case e == 0:
			return none
		}
	}
}

func (p *pairTable) put(left, right, join token) {
	key := uint64(left)<<rankBits | uint64(right)
	mask := uint64(len(p.entries) - 1)
	i := p.start(key)
	for p.entries[i&mask] != 0 {
		i++
	}
	p.entries[i&mask] = key<<rankBits | uint64(join)
}
