package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// halves joins the surrogates of one text that comes in pieces, JSON strings. A
// provider that cuts by UTF-16 code unit may put the two halves of a character
// into two pieces ("\ud83d", then "\ude00"); json.Unmarshal would make U+FFFD of
// each. So the first half waits for the piece that follows.
type halves struct {
	high string // the escape that waits, such as \ud83d
	// before is text that came with it, if that waits too.
	before string
}

var errNotString = errors.New("not a JSON string")

// decode returns the text of the next piece. A missing piece, or null, is "".
func (h *halves) decode(piece json.RawMessage) (string, error) {
	if !given(piece) {
		return "", nil
	}
	if len(piece) < 2 || piece[0] != '"' {
		return "", errNotString
	}
	if plain := piece[1 : len(piece)-1]; h.high == "" && bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), nil // as nearly all are
	}
	quoted := `"` + h.high + string(piece[1:])
	h.high = ""
	if at := len(quoted) - len(`\ud83d"`); at > 0 && isHighHalf(quoted[at:]) && !escaped(quoted[:at]) {
		h.high = strings.Clone(quoted[at : len(quoted)-1]) // without all that came before it
		quoted = quoted[:at] + `"`
	}
	var text string
	err := json.Unmarshal([]byte(quoted), &text)
	return text, err
}

// end returns what waits, in vain: a half becomes U+FFFD.
func (h *halves) end() string {
	if h.high == "" {
		return ""
	}
	text := h.before + "\ufffd"
	*h = halves{}
	return text
}

// isHighHalf reports whether s starts with the escape of a first half.
func isHighHalf(s string) bool {
	if s[0] != '\\' || s[1] != 'u' || s[2]|0x20 != 'd' {
		return false
	}
	third := s[3] | 0x20 // of letters, the lower-case form
	return s[3] == '8' || s[3] == '9' || third == 'a' || third == 'b'
}

// escaped reports whether a backslash that follows s is itself escaped.
func escaped(s string) bool {
	n := 0
	for n < len(s) && s[len(s)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}
