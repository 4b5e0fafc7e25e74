package chunker_test

import (
	"strings"
	"testing"

	"tokenrelay/chunker"
)

func TestLine(t *testing.T) {
	tests := [][]string{
		{"a\n", "\n", "b"},
		{"a\r\n", "b\r", "c\n", "\r", "\r\n", "\r"},
		{"\n", "\r", "\r", "x"},
		{"a\u2028b\u0085c\v\f\n"},
	}
	for _, want := range tests {
		text := strings.Join(want, "")
		for i := range len(text) + 1 {
			wantTexts(t, chunker.Line, []string{text[:i], text[i:]}, want)
		}
	}
}
