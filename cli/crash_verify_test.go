package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// end returns the last event that was seen and the text of all.
func (s *subject) end() (kind session.Kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, wire := range s.events {
		for f := range session.Wire(wire).Frames() {
			kind = f.Kind
			if kind == session.KindText {
				b.WriteString(f.Text())
			}
		}
	}
	return kind, b.String()
}

// verify reads the session as a whole, once it has ended, and compares it with
// what was seen and what it was given. It returns how it ended.
func (s *subject) verify() session.Kind {
	if s.ctx.Err() != nil {
		return "not followed"
	}
	if s.deleting.Load() {
		s.examine()
		return "deleted"
	}
	var all []string
	err := s.stream(rand.New(rand.NewPCG(1, 1)), 0, func(id int, wire string) bool {
		all = append(all, wire)
		return true
	})
	if err != nil {
		s.fail("whole: %v", err)
	}
	if i, differ := difference(all, s.events); differ {
		s.fail("of %d events, %d seen, number %d is %q, seen was %q", len(all), len(s.events), i+1, at(all, i), at(s.events, i))
	}
	s.h.whole.Add(int64(len(all)))
	for _, p := range s.parts {
		if p.id > len(all) || !strings.HasPrefix(all[p.id-1], p.text) {
			s.fail("event %d began as %q", p.id, p.text)
		}
	}
	kind, text := s.end()
	now, ok := s.state()
	if !ok || now.State != session.State(kind) || now.Last != len(all) {
		s.fail("the state is %+v, but %d events end as %s", now, len(all), kind)
	}
	if status, answer, err := s.h.do(http.MethodGet, "/v1/sessions/"+now.ID+"/text", ""); err != nil || status != http.StatusOK || string(answer) != text {
		s.fail("text: status %d, %v, %d bytes; the %d of the events are others", status, err, len(answer), len(text))
	}
	s.verifyEnd(kind, text, now)
	s.verifyFrames(kind, text, all)
	return kind
}

// verifyEnd holds a session's end against what it was given.
func (s *subject) verifyEnd(kind session.Kind, text string, now told) {
	given := strings.Join(s.given(), "")
	whole := kind == session.KindDone
	switch s.spec.Source.Type {
	case session.SourcePush:
		given = text // see verifyFrames
	case session.SourceUpstream:
		born, died := s.h.lifeOf(now.Timings.Created), s.h.lifeOf(now.Timings.Ended)
		if kind == session.KindInterrupted {
			if died <= born {
				s.fail("interrupted in life %d, in which it was created", died)
			}
		} else if died != born {
			s.fail("%s in life %d, but created in %d", kind, died, born)
		}
	}
	expected := whole || s.stops && kind == session.KindStopped || s.spec.Source.Type == session.SourceUpstream && kind == session.KindInterrupted
	if !expected || whole && text != given || !strings.HasPrefix(given, text) {
		s.fail("ended as %s (%s) with %d bytes of text, of %d given; that it begins them: %t", kind, now.Reason, len(text), len(given), strings.HasPrefix(given, text))
	}
}

// difference returns the first place at which two lists differ.
func difference(a, b []string) (i int, differ bool) {
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i, i < len(a) || i < len(b)
}

// at is the ith of a list, if it has one.
func at(list []string, i int) string {
	if i >= len(list) {
		return "none"
	}
	return list[i]
}

// lifeOf returns which of the relay's processes ran then.
func (h *harness) lifeOf(then time.Time) int {
	for i, l := range slices.Backward(h.lives) {
		if !then.Before(l.began.Truncate(time.Millisecond)) {
			return i
		}
	}
	return -1
}

// given returns the pieces of text that the session's source has, nil for push.
func (s *subject) given() (pieces []string) {
	switch from := s.spec.Source; from.Type {
	case session.SourceText:
		return deltasOf(session.TextSource(from.Text))
	case session.SourceGenerate:
		return deltasOf(session.GenerateSource(from.Prompt, from.Seed, from.Length))
	case session.SourceUpstream:
		return s.h.provider.pieces(s.name)
	}
	return nil
}

func deltasOf(source session.Source) (pieces []string) {
	for d := range source.Deltas(context.Background(), session.Position{}) {
		if d.Kind == session.DeltaText {
			pieces = append(pieces, d.Text)
		}
	}
	return pieces
}

// verifyFrames cuts what was given again, and finds the same events in the
// same order.
func (s *subject) verifyFrames(kind session.Kind, text string, all []string) {
	cutter, err := chunker.New(s.spec.Unit, "")
	if err != nil {
		panic(err)
	}
	var want, got []string
	units := 0
	chunks := func(chunks []chunker.Chunk) {
		for _, c := range chunks {
			want = append(want, "text "+c.Text)
			units += c.Units
		}
	}
	for _, piece := range s.given() {
		chunks(cutter.Push(nil, piece))
	}
	paused, resumed := 0, 0
	for i, wire := range all {
		for f := range session.Wire(wire).Frames() {
			switch f.Kind {
			case session.KindText:
				got = append(got, "text "+f.Text())
			case session.KindPaused:
				paused++
			case session.KindResumed:
				resumed++
			case "note":
				got = append(got, "note "+string(f.Data))
			case session.KindSession:
				if i != 0 || !strings.Contains(wire, `"id":"`+*s.id.Load()+`"`) {
					s.fail("event %d is %q", i+1, wire)
				}
			default:
				if i != len(all)-1 || !f.Kind.Terminal() {
					s.fail("event %d of %d is %q", i+1, len(all), wire)
				}
			}
		}
	}
	// The answer to the last pause or resumption may have been lost with the rest.
	lost := 0
	if kind == session.KindInterrupted {
		lost = 1
	}
	if paused < s.paused || paused > s.paused+lost || resumed > paused || resumed < paused-lost {
		s.fail("paused %d times, resumed %d times, want %d", paused, resumed, s.paused)
	}
	if s.spec.Source.Type == session.SourcePush {
		for _, a := range s.order(got) {
			if a.Event != "" {
				chunks(cutter.Flush(nil))
				want = append(want, "note "+string(a.Data))
			} else {
				chunks(cutter.Push(nil, a.Text))
			}
		}
	}
	chunks(cutter.Flush(nil))
	if own := s.cutShort(text); kind != session.KindDone && own != nil && slices.Equal(got, own) {
		return // a text that ends early can end in other units than the whole has there
	}
	if kind != session.KindDone {
		// It ends anywhere, within a unit too.
		if n := len(got); n > 0 && n <= len(want) && strings.HasPrefix(want[n-1], got[n-1]) {
			want = append(want[:n-1:n-1], got[n-1])
		} else {
			want = want[:min(n, len(want))]
		}
	} else if end := all[len(all)-1]; s.spec.Unit == chunker.Token && s.spec.Source.Type != session.SourceUpstream &&
		!strings.Contains(end, fmt.Sprintf(`"output_tokens":%d,`, units)) {
		s.fail("%d tokens, but the end is %q", units, end)
	}
	if i, differ := difference(got, want); differ {
		s.fail("cut into %d, want %d, of which number %d is %q, want %q", len(got), len(want), i+1, at(got, i), at(want, i))
	}
}

// cutShort cuts what was given up to the end of text, nil for push.
func (s *subject) cutShort(text string) (events []string) {
	cutter, err := chunker.New(s.spec.Unit, "")
	if err != nil {
		panic(err)
	}
	var chunks []chunker.Chunk
	left := len(text)
	for _, piece := range s.given() {
		piece = piece[:min(left, len(piece))]
		left -= len(piece)
		chunks = cutter.Push(chunks, piece)
	}
	for _, c := range cutter.Flush(chunks) {
		events = append(events, "text "+c.Text)
	}
	return events
}

// order finds in what order the appends were applied: each once, and those of
// a producer in their order.
func (s *subject) order(events []string) (applied []session.Append) {
	var b strings.Builder
	for _, event := range events {
		kind, text, _ := strings.Cut(event, " ")
		if kind == "note" {
			text = "\x01" + text + "\x01"
		}
		b.WriteString(text)
	}
	left := make([][]session.Append, len(s.producers))
	for i, p := range s.producers {
		left[i] = p.appends
	}
	rest := b.String()
next:
	for rest != "" {
		for i, appends := range left {
			if len(appends) == 0 {
				continue
			}
			a := appends[0]
			// It holds a mark of its own, so that no two begin the rest.
			text := a.Text
			if a.Event != "" {
				text = "\x01" + string(a.Data) + "\x01"
			}
			if after, ok := strings.CutPrefix(rest, text); ok {
				rest, left[i] = after, appends[1:]
				applied = append(applied, a)
				continue next
			}
		}
		s.fail("no append continues with %q after %d", rest[:min(len(rest), 200)], len(applied))
		return applied
	}
	for i, appends := range left {
		if len(appends) > 0 {
			s.fail("%d appends of %s are missing", len(appends), s.producers[i].name)
		}
	}
	return applied
}
