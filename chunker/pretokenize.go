package chunker

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// A pattern is one of the regular expressions with which tiktoken divides a
// text into pieces before it looks for tokens in each.
//
//	cl100k: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
//	         ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
//	o200k:  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|
//	        [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|
//	        \p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// Source: openai/tiktoken, tiktoken_ext/openai_public.py. For cl100k it is the
// rule before version 0.8, which differs for blanks after a newline at the very
// end of a text, and which tiktoken-go has.
type pattern uint8

const (
	cl100k pattern = iota
	o200k
)

// A class is what a pattern distinguishes in a character.
type class uint8

const (
	other   class = iota // none of those below: punctuation, symbols, controls, unassigned
	upper                // Lu, Lt
	lower                // Ll
	letter               // Lm, Lo: in o200k both upper and lower
	mark                 // M: in cl100k as other
	number               // N
	newline              // CR, LF
	space                // U+0020
	blank                // all other white space
)

// A state says what the open piece can be, by what was scanned of it.
type state uint8

const (
	atStart    state = iota
	inWord           // cl100k: letters, possibly after one other character
	inUpper          // o200k: such a word, no lower seen
	inLower          // o200k: such a word, from the first lower on
	inSuffix         // o200k: a word and an apostrophe
	inSuffix2        // o200k: a word, an apostrophe, and one of r, v, l
	apostrophe       // cl100k: an apostrophe
	inShort          // cl100k: an apostrophe and one of r, v, l
	inNumber         // one or two numbers
	oneOther         // one of other, which may begin a word
	inOther          // others, the first possibly a space
	inTail           // others and newlines
	oneBlank         // one blank, which may begin a word
	oneSpace         // the same for a space, which may begin others too
	inBlanks         // two or more blanks, or a newline and any number of them
)

// A pretokenizer finds pieces. It takes one step a character; when a piece
// turns out to end before the last one, what is between is scanned again, which
// happens to a character a small number of times only.
type pretokenizer struct {
	pattern pattern
	classes *[tableSize]class

	state state
	pos   int  // bytes of the open piece scanned
	stop  int  // end of the last newline (inBlanks), letter or mark (inUpper), or word (inSuffix); 0 means none
	back  int  // start of the last character scanned
	count int  // numbers seen (inNumber)
	first rune // lower case of the character after an apostrophe
}

// next returns the length of the piece at the start of text, or zero when more
// text could move its end. At the end of the text, which must not be empty, it
// never returns zero.
//
// As long as next returns zero it must be called with the same text and more
// at its end, afterwards with the text behind the piece.
func (p *pretokenizer) next(text []byte, end bool) int {
	for p.pos < len(text) {
		r, size := rune(text[p.pos]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text[p.pos:])
		}
		if n := p.step(r, p.pos+size); n > 0 {
			return p.close(n)
		}
		p.back = p.pos
		p.pos += size
	}
	if !end {
		return 0
	}
	if at, _ := p.fork(); at > 0 && p.stop > 0 {
		return p.close(at)
	}
	return p.close(p.pos) // also blanks without a newline, whose last one nothing follows
}

// fork returns the place, if any, where the open piece may yet end while it may
// also go on past all text scanned, else zero. It is free if, should the piece
// go on, the text would have been divided the same way from there on if the
// piece had ended.
func (p *pretokenizer) fork() (at int, free bool) {
	switch p.state {
	case inBlanks:
		if p.stop == 0 {
			return p.back, true
		}
		fallthrough
	case inUpper:
		if p.stop < p.pos {
			return p.stop, true
		}
	case inSuffix, inSuffix2:
		return p.stop, false
	}
	return 0, false
}

// drop makes the open piece start n bytes later. There must be no fork at or
// before that: a piece that may end where it starts could not say so.
func (p *pretokenizer) drop(n int) {
	p.pos -= n
	p.back -= n
	if p.stop > 0 {
		p.stop -= n
	}
}

// close prepares for the next piece and returns n.
func (p *pretokenizer) close(n int) int {
	p.state, p.pos, p.stop = atStart, 0, 0
	return n
}

// step takes the character r, which begins at p.pos and ends at end. It returns
// the length of the piece when that is certain by r, else zero.
func (p *pretokenizer) step(r rune, end int) int {
	c := p.class(r)
	switch p.state {
	case atStart:
		return p.start(r, c, end)

	case inWord:
		if c != upper && c != lower && c != letter {
			return p.pos
		}

	case inUpper:
		switch c {
		case upper:
		case letter, mark:
			p.stop = end
		case lower:
			p.state = inLower
		default:
			// Without a lower the word ends behind its last letter or mark. If
			// it has none of them either, it is all upper and ends here.
			if p.stop > 0 && p.stop < p.pos {
				return p.stop
			}
			return p.suffix(r)
		}

	case inLower:
		if c != lower && c != letter && c != mark {
			return p.suffix(r)
		}

	case inSuffix:
		switch p.first = toLower(r); p.first {
		case 's', 't', 'm', 'd':
			return end
		case 'r', 'v', 'l':
			p.state = inSuffix2
		default:
			return p.stop
		}

	case inSuffix2:
		if isShort(p.first, toLower(r)) {
			return end
		}
		return p.stop

	case apostrophe:
		switch p.first = toLower(r); p.first {
		case 's', 't', 'm', 'd':
			return end
		case 'r', 'v', 'l':
			p.state = inShort
		default:
			return p.oneOther(c, end)
		}

	case inShort:
		if isShort(p.first, toLower(r)) {
			return end
		}
		p.state = inWord
		if c != upper && c != lower && c != letter {
			return p.pos
		}

	case inNumber:
		if c != number {
			return p.pos
		}
		if p.count++; p.count == 3 {
			return end
		}

	case oneOther:
		return p.oneOther(c, end)

	case inOther:
		switch c {
		case other, mark:
		case newline:
			p.state = inTail
		default:
			return p.pos
		}

	case inTail:
		if c != newline && !(r == '/' && p.pattern == o200k) {
			return p.pos
		}

	case oneBlank, oneSpace:
		switch {
		case p.word(c, end):
		case c == newline:
			p.state, p.stop = inBlanks, end
		case c == space || c == blank:
			p.state = inBlanks
		case p.state == oneSpace && (c == other || c == mark):
			p.state = inOther
		default:
			return p.pos
		}

	case inBlanks:
		switch {
		case c == newline:
			p.stop = end
		case c == space || c == blank:
		case p.stop > 0:
			return p.stop
		default:
			return p.back // the last blank belongs to what follows
		}
	}
	return 0
}

// start takes the first character of a piece.
func (p *pretokenizer) start(r rune, c class, end int) int {
	switch {
	case p.word(c, end):
	case r == '\'' && p.pattern == cl100k:
		p.state = apostrophe
	case c == number:
		p.state, p.count = inNumber, 1
	case c == newline:
		p.state, p.stop = inBlanks, end
	case c == space:
		p.state = oneSpace
	case c == blank:
		p.state = oneBlank
	default:
		p.state = oneOther
	}
	return 0
}

// word enters a word if one can begin, or go on behind one other character,
// with a character of class c that ends at end. It reports whether it did.
//
// In o200k a mark at the start is both, the other character before a word and
// its first letter; the second reading gives every piece that the first gives.
func (p *pretokenizer) word(c class, end int) bool {
	switch {
	case c != upper && c != lower && c != letter && c != mark:
		return false
	case p.pattern == cl100k:
		if c == mark {
			return false
		}
		p.state = inWord
	case c == lower:
		p.state = inLower
	default:
		p.state = inUpper
		if c != upper {
			p.stop = end
		}
	}
	return true
}

// oneOther takes the character after a single other.
func (p *pretokenizer) oneOther(c class, end int) int {
	switch {
	case p.word(c, end):
	case c == other || c == mark:
		p.state = inOther
	case c == newline:
		p.state = inTail
	default:
		return p.pos
	}
	return 0
}

// suffix takes the character after a word of o200k, which may be the
// apostrophe of a suffix.
func (p *pretokenizer) suffix(r rune) int {
	if r != '\'' {
		return p.pos
	}
	p.state, p.stop = inSuffix, p.pos
	return 0
}

// isShort reports whether an apostrophe, a and b are a contraction.
func isShort(a, b rune) bool {
	return a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l'
}

// toLower folds the letters of contractions. The long s folds to s in
// tiktoken; tiktoken-go, whose regular expressions fold differently, takes it
// for no contraction.
func toLower(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r + ('a' - 'A')
	case r == 'ſ':
		return 's'
	}
	return r
}

// tableSize is the first code point that is not in the table of classes. Past
// it, letters are ideographs in few long ranges.
const tableSize = 0x20000

func (p *pretokenizer) class(r rune) class {
	if r < tableSize {
		return p.classes[r]
	}
	return classOf(r)
}

// classes returns the table of classes, which is made at the first call.
var classes = sync.OnceValue(func() *[tableSize]class {
	t := new([tableSize]class)
	for r := range t {
		t[r] = classOf(rune(r))
	}
	return t
})

func classOf(r rune) class {
	switch {
	case r == '\r' || r == '\n':
		return newline
	case r == ' ':
		return space
	case unicode.IsSpace(r):
		return blank
	case unicode.In(r, unicode.Lu, unicode.Lt):
		return upper
	case unicode.Is(unicode.Ll, r):
		return lower
	case unicode.IsLetter(r):
		return letter
	case unicode.IsMark(r):
		return mark
	case unicode.IsNumber(r):
		return number
	}
	return other
}
