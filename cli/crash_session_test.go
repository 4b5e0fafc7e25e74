package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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
	pauses    int  // how often it is to be paused and resumed
	paused    int  // how often it was, and that was acknowledged
	stops     bool // it is stopped, early or late
	deletes   bool // it is deleted
	id        atomic.Pointer[string]
	known     atomic.Int64 // the last event's id, as an answer gave it
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
		s.pauses = n % 12 / 7
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
			s.h.pending--
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
			s.know(after.Last)
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
			return
		}
		before := s.command("pause")
		if before.State != session.Paused {
			return
		}
		s.paused = i + 1
		s.rest(time.Duration(20+random.IntN(500)) * time.Millisecond)
		for s.ctx.Err() == nil {
			now, ok := s.state()
			if !ok {
				s.rest(retryAfter)
				continue
			}
			if now.State == session.Interrupted && s.spec.Source.Type == session.SourceUpstream {
				return
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
			var acknowledged struct {
				Last     int `json:"last_event_id"`
				Repeated bool
			}
			if err := json.Unmarshal(answer, &acknowledged); err != nil {
				s.fail("append: %v", err)
			}
			s.know(acknowledged.Last)
			repeated := acknowledged.Repeated
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

// know takes note that an answer gave this as the last event's id.
func (s *subject) know(last int) {
	for {
		known := s.known.Load()
		if int64(last) <= known || s.known.CompareAndSwap(known, int64(last)) {
			return
		}
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
	last = max(last, int(s.known.Load()))
	acked := make(map[string]int64)
	for _, p := range s.producers {
		acked[p.name] = p.acked.Load()
	}
	now, ok := s.state()
	if !ok {
		return s.deleting.Load() || s.ctx.Err() != nil
	}
	if now.Last < last || ended && (now.Last != last || !now.State.Terminal()) {
		s.fail("is %s at %d, but was known to be at %d, the end %t", now.State, now.Last, last, ended)
	}
	s.know(now.Last)
	for name, seq := range acked {
		if now.Producers[name] < seq {
			s.fail("%s is at %d, but %d was acknowledged", name, now.Producers[name], seq)
		}
	}
	return true
}
