package chunker

import "strings"

// maxPart is how many bytes of a delta are taken at a time. It bounds the
// memory that a chunk shares with its neighbours and an input's growth.
const maxPart = 4 << 10

// blockSize is how many bytes are allocated at a time for the text of chunks of
// several small pushes. A chunk that is kept keeps them all.
const blockSize = 256

// A splitter finds the units of one kind.
type splitter interface {
	// split returns the length in bytes of the chunk at the start of text and
	// the number of units in it, or zero when more text could move its end. At
	// the end of the text it never returns zero.
	//
	// text is valid UTF-8 and not empty. It starts where the previous chunk
	// ended; as long as split returns zero, it is called with the same text
	// and more at its end.
	split(text []byte, end bool) (n, units int)

	// capped returns how many units were cut at their longest length.
	capped() uint64
}

// A cutter is the Chunker made of a splitter.
type cutter struct {
	splitter splitter
	in       input
	last     uint64          // index of the last unit cut
	block    strings.Builder // text of chunks, which share it; only its end changes
}

func (c *cutter) Push(dst []Chunk, delta string) []Chunk {
	for len(delta) > maxPart {
		c.in.add(delta[:maxPart])
		dst = c.cut(dst, false)
		delta = delta[maxPart:]
	}
	c.in.add(delta)
	return c.cut(dst, false)
}

func (c *cutter) Flush(dst []Chunk) []Chunk {
	c.in.end()
	return c.cut(dst, true)
}

func (c *cutter) Held() string { return string(c.in.buf) }

func (c *cutter) Capped() uint64 { return c.splitter.capped() }

func (c *cutter) cut(dst []Chunk, end bool) []Chunk {
	whole := c.in.whole()
	var text string // copy of whole, made when there is a chunk
	pos := 0
	for pos < len(whole) {
		n, units := c.splitter.split(whole[pos:], end)
		if n == 0 {
			break
		}
		if text == "" {
			text = c.copy(whole)
		}
		c.last += uint64(units)
		dst = append(dst, Chunk{Text: text[pos : pos+n], Units: units, Last: c.last})
		pos += n
	}
	c.in.drop(pos)
	return dst
}

// copy returns text as a string, with others in one allocation if it is short.
func (c *cutter) copy(text []byte) string {
	if len(text) > blockSize/4 {
		return string(text)
	}
	if c.block.Cap()-c.block.Len() < len(text) {
		c.block.Reset()
		c.block.Grow(blockSize)
	}
	n := c.block.Len()
	c.block.Write(text)
	return c.block.String()[n:]
}
