package sessiontest

import (
	"strings"
	"testing"

	"tokenrelay/session"
)

// Text returns the text of a session so far.
func Text(t *testing.T, s *session.Session) string {
	t.Helper()
	r, err := s.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var text strings.Builder
	for {
		frames, _, _ := r.Next(t.Context(), session.MaxFrame)
		if len(frames) == 0 {
			return text.String()
		}
		for f := range frames.Frames() {
			if f.Kind == session.KindText {
				text.WriteString(f.Text())
			}
		}
	}
}
