package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tokenrelay/session"
)

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

// A typistProcess is a command that types a session's text out.
type typistProcess struct {
	h       *harness
	subject *subject // nil for that of ask
	args    []string
	out     []byte
	notes   []byte
	code    int
}

// startTypist starts a command, and waits until it has typed something.
func (h *harness) startTypist(s *subject, args ...string) {
	h.t.Helper()
	p := &typistProcess{h: h, subject: s, args: args}
	command, out, complaint := process(h.t, args...)
	h.typists = append(h.typists, p)
	var reading sync.WaitGroup
	reading.Go(func() { p.notes, _ = io.ReadAll(complaint) })
	first := make(chan struct{})
	h.working.Go(func() {
		out.Peek(1)
		close(first)
		p.out, _ = io.ReadAll(out)
		reading.Wait()
		command.Wait()
		p.code = command.ProcessState.ExitCode()
	})
	select {
	case <-first:
	case <-time.After(stuck):
		h.t.Errorf("%v types nothing", args)
	}
}

// verify compares what was typed with the session's text. The process must
// have ended.
func (p *typistProcess) verify() {
	var want string
	code := 0
	if p.subject == nil {
		seed, _ := strconv.ParseUint(strings.TrimPrefix(p.args[len(p.args)-2], "--seed="), 10, 64)
		want = strings.Join(slices.Collect(session.Generate("tides", seed, 300)), "")
	} else {
		var kind session.Kind
		kind, want = p.subject.end()
		if kind != session.KindDone {
			code = 1
		}
	}
	if p.code != code || string(p.out) != want {
		p.h.t.Errorf("%v: exit status %d, want %d; typed %d bytes, want %d; right up to %d\n%s",
			p.args, p.code, code, len(p.out), len(want), common(string(p.out), want), p.notes)
	}
}

// common is how many bytes two texts begin with alike.
func common(a, b string) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
