package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// A subject is a session of a harness, with those who write and read it.
type subject struct {
	h         *harness
	ctx       context.Context // ends at the first thing that is wrong
	cancel    context.CancelFunc
	n         int
	name      string // in its metadata, once it is created
	spec      session.Spec
	producers []*producer
	pauses    int  // how often it is paused and resumed
	stops     bool // it is stopped, early or late
	deletes   bool // it is deleted
	id        atomic.Pointer[string]
	deleting  atomic.Bool
	deleted   atomic.Bool // and that was acknowledged
	deletedAt time.Time   // set before deleted

	mu      sync.Mutex    // guards the fields below
	events  []string      // that anybody saw, from the first on
	parts   []part        // that were seen of events when a connection broke
	ended   bool          // the last event is terminal
	failed  bool          // there is no use in following it
	changed chan struct{} // closed and replaced by every event
}

// retryAfter is the pause before a request is made again.
const retryAfter = 10 * time.Millisecond

// A part is the beginning of an event.
type part struct {
	id   int
	text string
}

// prose is a text of about so many bytes.
func prose(random *rand.Rand, size int) string {
	pieces := [...]string{
		"The naïve café — ", "日本語のテキスト。", "1234567 tokens, ", "👩‍👩‍👧‍👦 ", "e\u0301\u0302 ", "𝒳𝒴 ", "Привет, мир! ", "\r\n", "\n\n", "\t",
		"\n", "שלום ", "🇩🇪🇯🇵 ", "unbelievable", " don't ", "क्षि ", "ไทย ", "한국어 ", "\u2028", "\"quoted\\\" ", "👍🏽", "if (a<b) {}\n", "…\u0000\u0085",
	}
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(pieces[random.IntN(len(pieces))])
	}
	return b.String()
}

// cut cuts a text into pieces of 1 to n characters, anywhere between them.
func cut(random *rand.Rand, text string, n int) (all []string) {
	for runes := []rune(text); len(runes) > 0; {
		size := min(1+random.IntN(n), len(runes))
		all = append(all, string(runes[:size]))
		runes = runes[size:]
	}
	return all
}

// unitSizes are how many bytes of prose make a unit, about, and of a generated text.
var unitSizes = map[chunker.Unit][2]int{
	chunker.Rune: {2, 1}, chunker.Grapheme: {4, 1}, chunker.Token: {4, 4}, chunker.Word: {4, 3}, chunker.Line: {40, 50}, chunker.Delta: {4096, 50},
}

// newSubject returns the nth session of a harness. Which one it is depends on
// the seed alone.
func newSubject(h *harness, n int) *subject {
	random := rand.New(rand.NewPCG(h.seed, uint64(n)<<8+1))
	s := &subject{h: h, n: n, changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	units := chunker.Units()
	s.spec.Unit = units[random.IntN(len(units))]
	paced := func(kind int) (size int) {
		s.spec.Rate = float64(200 + random.IntN(1800))
		events := int(min(1200, s.spec.Rate*(0.3+2*random.Float64())))
		if s.spec.Unit == chunker.Delta {
			s.spec.Rate, events = 200, 20+random.IntN(60)
		}
		return events * unitSizes[s.spec.Unit][kind]
	}
	text := func(size int) {
		s.spec.Source = session.SourceSpec{Type: session.SourceText, Text: prose(random, size)}
	}
	generate := func(size int) {
		s.spec.Source = session.SourceSpec{Type: session.SourceGenerate, Prompt: "the tides", Seed: random.Uint64(), Length: 1 + size/7}
	}
	push := func(producers, pieces, longest int) {
		s.spec.Source.Type = session.SourcePush
		for i := range producers {
			p := &producer{s: s, name: fmt.Sprintf("producer %d", i+1), wait: random.IntN(12)}
			for seq := range pieces/2 + random.IntN(pieces) {
				mark := fmt.Sprintf("‹%d.%d›", i+1, seq+1)
				a := session.Append{Producer: p.name, Seq: uint64(seq + 1)}
				switch {
				case random.IntN(12) == 0:
					a.Event, a.Data = "note", json.RawMessage(`{"mark":"`+mark+`"}`)
				default:
					around := cut(random, prose(random, 4*longest), longest)
					a.Text = around[0] + mark + around[1]
					if random.IntN(2) == 0 {
						a.Text = mark + around[0]
					}
				}
				p.appends = append(p.appends, a)
			}
			s.producers = append(s.producers, p)
		}
	}
	switch n % 12 {
	case 0, 9, 11:
		text(paced(0))
		s.stops, s.deletes = n%12 == 9, n%12 == 11
	case 1, 5:
		generate(paced(1))
		s.pauses = n % 12 / 5 * 2
	case 2:
		push(3, 60, 30)
	case 3, 7:
		s.spec.Source.Type = session.SourceUpstream
	case 4:
		text(5_000 + random.IntN(10_000))
	case 6:
		push(2, 60, 60)
		s.pauses = 2
	case 8:
		generate(10_000)
	case 10:
		push(1, 200, 3)
	}
	return s
}

func (s *subject) fail(format string, args ...any) {
	s.h.t.Errorf("%s (%s %s): %s", s.name, s.spec.Source.Type, s.spec.Unit, fmt.Sprintf(format, args...))
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	s.cancel()
}

// over reports whether nothing more is expected of the session.
func (s *subject) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended || s.failed || s.deleted.Load()
}

// last is how many events were seen.
func (s *subject) last() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// reach waits until n events were seen. It reports whether they were before
// the end.
func (s *subject) reach(n int) bool {
	for {
		s.mu.Lock()
		reached, changed := len(s.events) >= n, s.changed
		s.mu.Unlock()
		if s.over() || s.ctx.Err() != nil {
			return false
		}
		if reached {
			return true
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
		}
	}
}

// rest waits a little before the next try of what did not succeed.
func (s *subject) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// run creates the session, writes and reads it, and returns when its readers
// have seen its end.
func (s *subject) run() {
	s.create()
	if s.ctx.Err() != nil {
		return
	}
	var parties sync.WaitGroup
	random := func(party uint64) *rand.Rand { return rand.New(rand.NewPCG(s.h.seed, uint64(s.n)<<8+2+party)) }
	parties.Go(func() { s.follow(random(0)) })
	parties.Go(func() { s.wander(random(1)) })
	if s.n%3 == 0 {
		parties.Go(func() { s.wander(random(2)) })
	}
	if len(s.producers) > 0 {
		parties.Go(func() {
			var sending sync.WaitGroup
			for i, p := range s.producers {
				sending.Go(func() { p.send(random(uint64(10 + i))) })
			}
			sending.Wait()
			s.command("finish")
		})
	}
	if s.pauses > 0 {
		parties.Go(func() { s.pause(random(3)) })
	}
	if s.stops || s.deletes {
		parties.Go(func() {
			s.reach(2 + random(4).IntN(200))
			if s.stops {
				s.command("stop")
			} else {
				s.delete()
			}
		})
	}
	parties.Wait()
}

// create asks for the session until it is there.
func (s *subject) create() {
	for try := 1; s.ctx.Err() == nil; try++ {
		s.name = fmt.Sprintf("%d/%d", s.n, try)
		s.h.attempts.Store(s.name, true)
		source := map[string]any{"type": s.spec.Source.Type}
		switch from := s.spec.Source; from.Type {
		case session.SourceText:
			source["text"] = from.Text
		case session.SourceGenerate:
			source["prompt"], source["seed"], source["length"] = from.Prompt, from.Seed, from.Length
		case session.SourceUpstream:
			source["model"], source["messages"] = "up/m", []any{map[string]string{"role": "user", "content": s.name}}
		}
		body, err := json.Marshal(map[string]any{"source": source, "unit": s.spec.Unit, "rate": s.spec.Rate, "metadata": map[string]string{"name": s.name}})
		if err != nil {
			panic(err)
		}
		status, answer, err := s.h.do(http.MethodPost, "/v1/sessions", string(body))
		switch {
		case err == nil && status == http.StatusCreated:
			var created told
			if err := json.Unmarshal(answer, &created); err != nil {
				s.fail("created: %v", err)
				return
			}
			s.id.Store(&created.ID)
			s.h.mu.Lock()
			s.h.unfounded--
			s.h.all = append(s.h.all, s)
			s.h.mu.Unlock()
			return
		case err == nil && status != http.StatusServiceUnavailable:
			s.fail("create: status %d: %s", status, answer)
			return
		}
		s.rest(retryAfter)
	}
}

// command gives a command until it is answered.
func (s *subject) command(name string) (after told) {
	for s.ctx.Err() == nil {
		status, answer, err := s.h.do(http.MethodPost, "/v1/sessions/"+*s.id.Load()+"/"+name, "")
		switch {
		case err == nil && status == http.StatusOK:
			if err := json.Unmarshal(answer, &after); err != nil {
				s.fail("%s: %v", name, err)
			}
			return after
		case err == nil && status == http.StatusConflict && (s.over() || name == "pause" || name == "resume") && strings.Contains(string(answer), "session_ended"):
			return told{State: session.Done}
		case err == nil && status != http.StatusServiceUnavailable && !strings.Contains(string(answer), "session_paused"):
			s.fail("%s: status %d: %s", name, status, answer)
			return after
		}
		s.rest(retryAfter)
	}
	return after
}

// pause stops the session for a while, now and then.
func (s *subject) pause(random *rand.Rand) {
	for i := range s.pauses {
		if !s.reach(s.last() + 5 + random.IntN(100)) {
			s.pauses = i
			return
		}
		before := s.command("pause")
		if before.State.Terminal() {
			s.pauses = i
			return
		}
		s.rest(time.Duration(20+random.IntN(500)) * time.Millisecond)
		for s.ctx.Err() == nil {
			now, ok := s.state()
			if !ok {
				s.rest(retryAfter)
				continue
			}
			if now.State != session.Paused || now.Last != before.Last {
				s.fail("is %s at %d, but was paused at %d", now.State, now.Last, before.Last)
			}
			break
		}
		s.command("resume")
	}
}

// delete deletes the session.
func (s *subject) delete() {
	s.deleting.Store(true)
	for try := 0; s.ctx.Err() == nil; try++ {
		status, answer, err := s.h.do(http.MethodDelete, "/v1/sessions/"+*s.id.Load(), "")
		switch {
		case err == nil && (status == http.StatusNoContent || status == http.StatusGone && try > 0):
			s.deletedAt = time.Now()
			s.deleted.Store(true)
			s.mu.Lock()
			close(s.changed)
			s.changed = make(chan struct{})
			s.mu.Unlock()
			return
		case err == nil && status != http.StatusServiceUnavailable:
			s.fail("delete: status %d: %s", status, answer)
			return
		}
		s.rest(retryAfter)
	}
}

// A producer appends to a push session.
type producer struct {
	s       *subject
	name    string
	appends []session.Append
	wait    int // between two of them, in milliseconds at most
	acked   atomic.Int64
}

// send sends each append until it is acknowledged.
func (p *producer) send(random *rand.Rand) {
	for i, a := range p.appends {
		p.sendOne(a, false)
		p.acked.Store(int64(i + 1))
		p.s.h.acknowledged.Add(1)
		if random.IntN(20) == 0 {
			p.sendOne(p.appends[random.IntN(i+1)], true)
			p.s.h.again.Add(1)
		}
		p.s.rest(time.Duration(random.IntN(1+p.wait*1000)) * time.Microsecond)
	}
}

func (p *producer) sendOne(a session.Append, again bool) {
	s := p.s
	request := map[string]any{"producer": a.Producer, "seq": a.Seq}
	if a.Event != "" {
		request["event"], request["data"] = a.Event, a.Data
	} else {
		request["text"] = a.Text
	}
	body, err := json.Marshal(request)
	if err != nil {
		panic(err)
	}
	for try := 0; s.ctx.Err() == nil; try++ {
		status, answer, err := s.h.do(http.MethodPost, "/v1/sessions/"+*s.id.Load()+"/append", string(body))
		switch {
		case err != nil || status == http.StatusServiceUnavailable:
		case status == http.StatusConflict && strings.Contains(string(answer), "session_paused") && !again:
			s.rest(retryAfter)
			try = max(try-1, -1) // it was not applied
			continue
		case status != http.StatusOK:
			s.fail("append %d of %s: status %d: %s", a.Seq, p.name, status, answer)
			return
		default:
			repeated := strings.Contains(string(answer), `"repeated":true`)
			if repeated && try == 0 && !again || !repeated && again {
				s.fail("append %d of %s, sent again %t, try %d: %s", a.Seq, p.name, again, try, answer)
			}
			if repeated && !again {
				s.h.repeated.Add(1)
			}
			return
		}
		s.rest(retryAfter)
	}
}

// state asks for the session's state. It is not ok if there is no answer.
func (s *subject) state() (now told, ok bool) {
	id := *s.id.Load()
	status, answer, err := s.h.do(http.MethodGet, "/v1/sessions/"+id, "")
	if err != nil {
		return now, false
	}
	if err := json.Unmarshal(answer, &now); err != nil || status != http.StatusOK || now.ID != id || now.Metadata["name"] != s.name {
		s.fail("state: status %d, %v: %s", status, err, answer)
		return now, false
	}
	s.h.states.Add(1)
	return now, true
}

// examine compares the session's state with what was known before. It is not
// ok if there is no answer.
func (s *subject) examine() (ok bool) {
	if s.ctx.Err() != nil {
		return true
	}
	if s.deleting.Load() {
		deleted := s.deleted.Load()
		status, answer, err := s.h.do(http.MethodGet, "/v1/sessions/"+*s.id.Load(), "")
		if err == nil && status != http.StatusGone && (deleted || status != http.StatusOK) {
			s.fail("deleted %t: status %d: %s", deleted, status, answer)
		}
		return err == nil
	}
	s.mu.Lock()
	last, ended := len(s.events), s.ended
	s.mu.Unlock()
	acked := make(map[string]int64)
	for _, p := range s.producers {
		acked[p.name] = p.acked.Load()
	}
	now, ok := s.state()
	if !ok {
		return s.deleting.Load() || s.ctx.Err() != nil
	}
	if now.Last < last || ended && (now.Last != last || !now.State.Terminal()) {
		s.fail("is %s at %d, but %d events were seen, to the end %t", now.State, now.Last, last, ended)
	}
	for name, seq := range acked {
		if now.Producers[name] < seq {
			s.fail("%s is at %d, but %d was acknowledged", name, now.Producers[name], seq)
		}
	}
	return true
}

// see takes an event that somebody read, and compares it with what others did.
func (s *subject) see(id int, wire string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case id <= len(s.events):
		s.h.reread.Add(1)
		if old := s.events[id-1]; old != wire {
			s.h.t.Errorf("%s: event %d was %q and is %q", s.name, id, old, wire)
		}
		return
	case s.ended:
		s.h.t.Errorf("%s: after the end comes %q", s.name, wire)
	case id > len(s.events)+1:
		panic("nobody reads ahead of the first")
	}
	s.h.figures.events.Add(1)
	s.events = append(s.events, wire)
	s.ended = kindOf(wire).Terminal()
	close(s.changed)
	s.changed = make(chan struct{})
}

func kindOf(wire string) session.Kind {
	for f := range session.Wire(wire).Frames() {
		return f.Kind
	}
	return "none"
}

// errLeft reports a stream that its reader left.
var errLeft = errors.New("left")

// stream reads events past after over one connection, and hands each to take
// until that has enough. It returns nil after the terminal event and when
// there is none past after, errLeft, or how the connection was lost. Any other
// answer is a failure of the session.
func (s *subject) stream(random *rand.Rand, after int, take func(id int, wire string) bool) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	query, header := "", ""
	switch random.IntN(4) {
	case 0:
		query = fmt.Sprintf("?after=%d", after)
	case 1:
		query = fmt.Sprintf("?startIndex=%d", after+1)
	default:
		header = strconv.Itoa(after)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.h.addr+"/v1/sessions/"+*s.id.Load()+"/events"+query, nil)
	if err != nil {
		return err
	}
	if header != "" {
		request.Header.Set("Last-Event-ID", header)
	}
	response, err := s.h.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusGone && s.deleting.Load():
		return nil
	case response.StatusCode == http.StatusNoContent:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended || after != len(s.events) {
			s.h.t.Errorf("%s: nothing follows %d, the %d events seen ended: %t", s.name, after, len(s.events), s.ended)
		}
		return nil
	case response.StatusCode != http.StatusOK:
		answer, _ := io.ReadAll(response.Body)
		s.fail("events after %d: %s: %s", after, response.Status, answer)
		return nil
	}
	body, event := bufio.NewReader(response.Body), ""
	for {
		line, err := body.ReadString('\n')
		if event == "" && !strings.HasPrefix(line, "i") { // an event begins with its id
			line = ""
		}
		event += line
		if err != nil {
			if event != "" {
				s.mu.Lock()
				s.parts = append(s.parts, part{after + 1, event})
				s.mu.Unlock()
				s.h.figures.parts.Add(1)
			}
			if err == io.EOF {
				s.fail("the stream after %d ends as if it were whole", after)
			}
			return err
		}
		if line != "\n" {
			continue
		}
		if last, _, err := session.Wire(event).Check(session.FrameID(after)); err != nil || int(last) != after+1 {
			s.fail("after event %d came %q: %v", after, event, err)
			return nil
		}
		after++
		enough := !take(after, event)
		if kindOf(event).Terminal() {
			if rest, err := io.ReadAll(body); err == nil && len(rest) > 0 {
				s.fail("behind the end came %q", rest)
			}
			return nil
		}
		if enough {
			return errLeft
		}
		event = ""
	}
}

// follow reads from the start to the end, over as many connections as it takes.
func (s *subject) follow(random *rand.Rand) {
	at := 0
	for s.ctx.Err() == nil {
		err := s.stream(random, at, func(id int, wire string) bool {
			s.see(id, wire)
			at = id
			return random.IntN(500) > 0
		})
		if err == nil && s.over() {
			// Who comes back to the end is told that there is no more.
			if s.deleting.Load() || s.stream(random, at, func(int, string) bool { return true }) == nil {
				return
			}
		}
		if err != errLeft {
			s.h.reconnects.Add(1)
			s.rest(retryAfter)
		}
	}
}

// wander reads a while from somewhere again and again, some of it slowly, and
// once more from somewhere to the end.
func (s *subject) wander(random *rand.Rand) {
	for s.ctx.Err() == nil && s.reach(1) {
		left, slow := 1+random.IntN(100), random.IntN(2) == 0
		err := s.stream(random, random.IntN(s.last()), func(id int, wire string) bool {
			s.see(id, wire)
			left--
			if slow {
				s.rest(time.Duration(random.IntN(1500)) * time.Microsecond)
			}
			return left > 0
		})
		if err != errLeft {
			s.h.reconnects.Add(1)
		}
		s.rest(time.Duration(1+random.IntN(30)) * time.Millisecond)
	}
	for s.ctx.Err() == nil && !s.deleting.Load() {
		from := random.IntN(s.last())
		if s.stream(random, from, func(id int, wire string) bool { s.see(id, wire); return true }) == nil {
			return
		}
		s.rest(retryAfter)
	}
}

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
	if !slices.Equal(all, s.events) {
		s.fail("the whole is %q, seen was %q", all, s.events)
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
		s.fail("text: status %d, %v: %q, want %q", status, err, answer, text)
	}
	s.verifyEnd(kind, text, now)
	s.verifyFrames(kind, text, all)
	return kind
}

// verifyEnd holds a session's end against what it was given.
func (s *subject) verifyEnd(kind session.Kind, text string, now told) {
	given := ""
	for _, piece := range s.given() {
		given += piece
	}
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
			for _, l := range s.h.lives[born+1 : died] {
				select {
				case <-l.listening:
					s.fail("interrupted in life %d, not in the first after %d", died, born)
				default:
				}
			}
		} else if died != born {
			s.fail("%s in life %d, but created in %d", kind, died, born)
		}
	}
	expected := whole || s.stops && kind == session.KindStopped || s.spec.Source.Type == session.SourceUpstream && kind == session.KindInterrupted
	if !expected || whole && text != given || !strings.HasPrefix(given, text) {
		s.fail("ended as %s (%s) with %q, given was %q", kind, now.Reason, text, given)
	}
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
	for d := range source.Deltas(context.Background(), 0) {
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
	if paused != s.pauses || resumed != s.pauses {
		s.fail("paused %d times, resumed %d times, want %d", paused, resumed, s.pauses)
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
	if !slices.Equal(got, want) {
		s.fail("cut as %q, want %q", got, want)
	}
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
	s.h.figures.producers.Add(int64(len(applied)))
	return applied
}

// A provider speaks OpenAI's chat completions, slowly.
type provider struct {
	*httptest.Server
	seed  uint64
	mu    sync.Mutex // guards asked
	asked map[string]int
}

func newProvider(t *testing.T, seed uint64) *provider {
	p := &provider{seed: seed, asked: make(map[string]int)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// pieces is the answer to a message.
func (p *provider) pieces(message string) []string {
	var n, try uint64
	fmt.Sscanf(message, "%d/%d", &n, &try)
	random := rand.New(rand.NewPCG(p.seed, n<<8+try<<32))
	return cut(random, prose(random, 200+random.IntN(3000)), 12)
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Messages) != 1 {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	message := request.Messages[0].Content
	p.mu.Lock()
	p.asked[message]++
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(v any) {
		data, _ := json.Marshal(v)
		fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
	}
	choice := func(delta map[string]string, finish any) any {
		return map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}}
	}
	for _, piece := range p.pieces(message) {
		send(choice(map[string]string{"content": piece}, nil))
		select {
		case <-time.After(3 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	send(choice(map[string]string{}, "stop"))
	io.WriteString(w, "data: [DONE]\n\n")
}

// verify finds that nothing was asked twice.
func (p *provider) verify(h *harness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for message, n := range p.asked {
		if n > 1 {
			h.t.Errorf("upstream: asked %d times for %s", n, message)
		}
	}
}
