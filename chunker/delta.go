package chunker

// maxDelta is the longest chunk of the unit Delta, in bytes.
const maxDelta = 8 << 10

// A deltaChunker passes deltas on as they come.
type deltaChunker struct {
	in   input
	last uint64
	caps uint64
}

func (c *deltaChunker) Push(dst []Chunk, delta string) []Chunk {
	c.in.add(delta)
	return c.pass(dst)
}

func (c *deltaChunker) Flush(dst []Chunk) []Chunk {
	c.in.end()
	return c.pass(dst)
}

func (c *deltaChunker) Held() string { return string(c.in.buf) }

func (c *deltaChunker) Capped() uint64 { return c.caps }

func (c *deltaChunker) pass(dst []Chunk) []Chunk {
	whole := c.in.whole()
	for pos := 0; pos < len(whole); {
		n := cutPoint(whole[pos:], maxDelta)
		c.last++
		dst = append(dst, Chunk{Text: string(whole[pos : pos+n]), Units: 1, Last: c.last})
		pos += n
		if pos < len(whole) {
			c.caps++
		}
	}
	c.in.drop(len(whole))
	return dst
}
