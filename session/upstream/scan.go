package upstream

import (
	"encoding/json"
	"iter"
)

// What is scanned here has been decoded as JSON before. These go over it again
// without making anything of it: nearly all that comes is nothing new.

// members yields the members of an object: their names as they stand in JSON,
// without quotes, and their values. There are none in anything else.
func members(object []byte) iter.Seq2[[]byte, json.RawMessage] {
	return func(yield func([]byte, json.RawMessage) bool) {
		rest := opened(object, '{')
		for len(rest) > 0 && rest[0] == '"' {
			n := lengthOf(rest)
			name := rest[1 : n-1]
			rest = skipSpace(skipSpace(rest[n:])[1:]) // a colon
			n = lengthOf(rest)
			if !yield(name, json.RawMessage(rest[:n:n])) {
				return
			}
			rest = next(rest[n:])
		}
	}
}

// elements yields those of an array. There are none in anything else.
func elements(array []byte) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		rest := opened(array, '[')
		for len(rest) > 0 && rest[0] != ']' {
			n := lengthOf(rest)
			if !yield(json.RawMessage(rest[:n:n])) {
				return
			}
			rest = next(rest[n:])
		}
	}
}

// opened returns what follows the bracket that value begins with; nothing if it
// begins with another.
func opened(value []byte, bracket byte) []byte {
	value = skipSpace(value)
	if len(value) == 0 || value[0] != bracket {
		return nil
	}
	return skipSpace(value[1:])
}

// next returns what follows a comma, or what there is instead.
func next(rest []byte) []byte {
	rest = skipSpace(rest)
	if rest[0] == ',' {
		return skipSpace(rest[1:])
	}
	return rest
}

func skipSpace(rest []byte) []byte {
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r') {
		rest = rest[1:]
	}
	return rest
}

// lengthOf is that of the value at the beginning of JSON.
func lengthOf(value []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
			continue
		case c == '"':
			quoted = !quoted
			if quoted {
				continue
			}
		case quoted:
			continue
		case c == '{' || c == '[':
			depth++
			continue
		case c == '}' || c == ']':
			if depth == 0 { // of what a number or a word stands in
				return i
			}
			depth--
		case c == ',' || c <= ' ':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(value)
}
