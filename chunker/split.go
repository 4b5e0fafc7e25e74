package chunker

// maxPart is how many bytes of a delta are taken at a time. It bounds the
// memory that a chunk shares with its neighbours and an input's growth.
const maxPart = 4 << 10

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
	last     uint64 // index of the last unit cut
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
	var text string // copy of whole that the chunks share, made when there is one
	pos := 0
	for pos < len(whole) {
		n, units := c.splitter.split(whole[pos:], end)
		if n == 0 {
			break
		}
		if text == "" {
			text = string(whole)
		}
		c.last += uint64(units)
		dst = append(dst, Chunk{Text: text[pos : pos+n], Units: units, Last: c.last})
		pos += n
	}
	c.in.drop(pos)
	return dst
}
