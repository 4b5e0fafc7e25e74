package chunker

import "unicode/utf8"

// maxIdle is the capacity in bytes that an input keeps between pushes.
const maxIdle = 512

// An input is the accepted text that is in no chunk yet.
type input struct {
	buf  []byte // valid UTF-8, but for the tail
	tail int    // trailing bytes of buf that may yet become a character, at most 3
}

// add appends s, in which invalid bytes become U+FFFD. Which are invalid does
// not depend on how the text was divided: an incomplete character at the end
// is set apart as the tail and judged together with what follows it.
func (in *input) add(s string) {
	if s == "" {
		return
	}
	if in.tail > 0 {
		whole := len(in.buf) - in.tail
		s = string(in.buf[whole:]) + s
		in.buf = in.buf[:whole]
	}
	body := s[:len(s)-incomplete(s)]
	if utf8.ValidString(body) {
		in.buf = append(in.buf, body...)
	} else {
		in.buf = appendValid(in.buf, body)
	}
	in.buf = append(in.buf, s[len(body):]...)
	in.tail = len(s) - len(body)
}

// end replaces the tail, which nothing can complete any more.
func (in *input) end() {
	in.buf = in.buf[:len(in.buf)-in.tail]
	for ; in.tail > 0; in.tail-- {
		in.buf = utf8.AppendRune(in.buf, utf8.RuneError)
	}
}

// whole returns the text without the tail.
func (in *input) whole() []byte { return in.buf[:len(in.buf)-in.tail] }

// drop removes the first n bytes, which went into chunks.
func (in *input) drop(n int) {
	if n == 0 {
		return
	}
	rest := in.buf[n:]
	if cap(in.buf) > maxIdle && len(rest) < maxIdle/2 {
		in.buf = append([]byte(nil), rest...)
		return
	}
	in.buf = in.buf[:copy(in.buf, rest)]
}

// incomplete returns the number of bytes at the end of s that begin a
// character and could be completed to one. Every byte that is no continuation
// byte is the start of a character or invalid, so looking back to the last one
// suffices.
func incomplete(s string) int {
	for i := len(s) - 1; i >= 0 && i > len(s)-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			if utf8.FullRuneInString(s[i:]) {
				return 0
			}
			return len(s) - i
		}
	}
	return 0
}

// appendValid appends s with each invalid byte as U+FFFD.
func appendValid(dst []byte, s string) []byte {
	for _, r := range s {
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// cutPoint returns the last start of a character in text at or before n, or
// len(text) if that is not past n. It is positive for n >= utf8.UTFMax.
func cutPoint(text []byte, n int) int {
	if len(text) <= n {
		return len(text)
	}
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}
