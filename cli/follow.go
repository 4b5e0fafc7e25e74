package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"tokenrelay/session"
)

// serverFlag is where the relay is.
type serverFlag struct {
	Server string `default:"http://127.0.0.1:8080" help:"Address of the relay."`
}

type followCommand struct {
	serverFlag
	ID    string `arg:"" help:"The session's id."`
	After uint64 `help:"Id of the last event that is not wanted again; 0 for all."`
}

func (c *followCommand) Run(ctx context.Context, s streams) error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	return typeOut(ctx, s, newClient(c.Server), c.ID, session.FrameID(c.After))
}

type continueCommand struct {
	serverFlag
	ID string `arg:"" help:"The id of the session that was stopped, failed or was interrupted."`
}

func (c *continueCommand) Run(ctx context.Context, s streams) error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	relay := newClient(c.Server)
	id, err := relay.continueFrom(ctx, c.ID)
	if err != nil {
		return err
	}
	return typeOut(ctx, s, relay, id, 0)
}

func checkID(id string) error {
	if _, ok := session.ParseID(id); !ok {
		return fmt.Errorf("%q is not a session's id, which has 26 characters", id)
	}
	return nil
}

// typeOut types a session's text out until its end. Space pauses and continues
// where the keyboard can be read; leaving says how to go on.
func typeOut(ctx context.Context, s streams, c *client, id string, after session.FrameID) error {
	keyboard := openKeyboard(s.in, s.out)
	defer keyboard.Close()
	return newTypist(s, keyboard, after).run(ctx, c, id)
}

// maxAsking is how long the relay may take to tell what an ended session was.
const maxAsking = 5 * time.Second

var errEnded = errors.New("the stream ended")

// A typist writes events for people: text as it comes, the rest in brackets.
type typist struct {
	keyboard *keyboard
	out, err io.Writer
	after    session.FrameID // last event taken
	end      *session.End
	kind     session.Kind // of end
	midLine  bool         // of what is on the terminal
	thinking bool         // as was told
	calls    map[int]bool // of tools, by their index, as was told
}

func newTypist(s streams, k *keyboard, after session.FrameID) *typist {
	return &typist{keyboard: k, out: k.output(s.out), err: k.notices(s.err), after: after, calls: make(map[int]bool)}
}

// run types until the session has ended or is left.
func (t *typist) run(ctx context.Context, c *client, id string) error {
	for {
		// One round from here to the next pause, or to the end.
		round, leave := context.WithCancelCause(ctx)
		var following sync.WaitGroup
		var err error
		following.Go(func() {
			err = c.follow(round, id, t.after, t.take, t.notice)
			leave(errEnded)
		})
		wait := t.keyboard.wait(round)
		leave(wait)
		following.Wait()
		switch {
		case t.end != nil:
			return t.outcome(ctx, c, id)
		case err == nil: // nothing was left to follow
			return nil
		case errors.Is(wait, errPause) && ctx.Err() == nil:
			t.notice(fmt.Sprintf("paused at %d: space continues", t.after))
			if wait = t.keyboard.wait(ctx); errors.Is(wait, errPause) {
				continue
			}
		}
		if errors.Is(wait, errQuit) || ctx.Err() != nil {
			t.farewell(c, id)
			return exitError(130)
		}
		t.endLine()
		return err
	}
}

func (t *typist) take(m message) {
	switch {
	case m.kind.Terminal():
		t.kind, t.end = m.kind, new(session.End)
		json.Unmarshal([]byte(m.data), t.end)
	case m.kind == session.KindText:
		text := session.Frame{Data: []byte(m.data)}.Text()
		io.WriteString(t.out, text)
		if text != "" {
			t.midLine = t.keyboard.terminal && !strings.HasSuffix(text, "\n")
			t.thinking = false
		}
	case m.kind == session.KindReasoning:
		if t.keyboard.terminal && !t.thinking {
			t.line("thinking…")
			t.thinking = true
		}
	case m.kind == session.KindToolCall:
		var call struct {
			Index int
			Name  string
		}
		json.Unmarshal([]byte(m.data), &call) // without it there is no name
		if call.Name != "" && !t.calls[call.Index] {
			t.calls[call.Index] = true
			t.line("calls " + call.Name)
		}
	case m.kind == session.KindPaused, m.kind == session.KindResumed, m.kind == session.KindSeam:
		t.notice(remark(m))
	}
	t.after = m.id
}

// remark is an event that is no text, in words.
func remark(m message) string {
	var payload struct {
		Reason string
		By     session.Continuation
	}
	json.Unmarshal([]byte(m.data), &payload) // without it the words are the general ones
	switch {
	case m.kind == session.KindPaused && payload.Reason == session.ReasonNoReader:
		return "the session was paused: nobody read it"
	case m.kind == session.KindPaused:
		return "the session was paused"
	case m.kind == session.KindResumed:
		return "the session goes on"
	case payload.By == session.ByMessage:
		return "the model goes on from here, as well as it can"
	case payload.By == session.ByAnew:
		return "the model begins anew"
	}
	return "the model goes on from here"
}

// notice says something beside the text.
func (t *typist) notice(text string) { fmt.Fprintf(t.err, " [%s] ", text) }

// line says something on a line of its own.
func (t *typist) line(text string) {
	t.endLine()
	fmt.Fprintf(t.err, "[%s]\n", text)
}

// endLine leaves the cursor at the start of a line. What is not shown on a
// terminal gets the text and nothing else.
func (t *typist) endLine() {
	if t.midLine {
		io.WriteString(t.out, "\n")
		t.midLine = false
	}
}

// outcome is the session's end as an error of the command. It says how to go on
// from an answer that is not whole.
func (t *typist) outcome(ctx context.Context, c *client, id string) error {
	t.endLine()
	if t.kind == session.KindDone {
		if how := finish(t.end.Reason); how != "" && (t.end.Reason != "tool_calls" || len(t.calls) == 0) {
			t.line(how)
		}
		return nil
	}
	err := t.failure()
	if len(t.calls) > 0 { // the relay continues no calls
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxAsking)
	defer cancel()
	if source, _ := c.sourceOf(ctx, id); source == session.SourceUpstream {
		when := ""
		if t.end.Error != nil && t.end.Error.Code == session.CodeUpstreamRemoved {
			when = ", once its upstream is back"
		}
		return fmt.Errorf("%w\nGo on from what it wrote%s:\n  %s", err, when, c.command("continue", id))
	}
	return err
}

// finish is how an answer came to its end, in words; it is empty if that is the
// end of the text.
func finish(reason string) string {
	switch reason {
	case "", session.ReasonStop, session.ReasonFinish:
		return ""
	case "length", "content_filter":
		return "cut short: " + reason
	}
	return "ended: " + reason
}

// failure is an end other than done as an error.
func (t *typist) failure() error {
	switch {
	case t.end.Error != nil:
		verb := string(t.kind)
		if t.kind == session.KindInterrupted {
			verb = "was interrupted; above is what came of it"
		}
		return fmt.Errorf("the session %s: %s (%s)", verb, t.end.Error.Message, t.end.Error.Code)
	case t.end.Reason == session.ReasonNoReader:
		return fmt.Errorf("the session was stopped: nobody read it (%s)", t.end.Reason)
	case t.end.Reason == session.ReasonUnread:
		return fmt.Errorf("the session was stopped: nobody read it, and the relay lets no more go on so, or no longer (%s)", t.end.Reason)
	case t.end.Reason == session.ReasonIdle:
		return fmt.Errorf("the session was stopped: nobody read it, and nothing came (%s)", t.end.Reason)
	}
	return fmt.Errorf("the session ended: %s (%s)", t.kind, t.end.Reason)
}

// farewell says how to go on.
func (t *typist) farewell(c *client, id string) {
	t.endLine()
	fmt.Fprintf(t.err, "\nThe session goes on without you. Continue where you left:\n  %s\n", c.command("follow", id, "--after", fmt.Sprint(t.after)))
}

// command is a command line of ours for the relay that c asks.
func (c *client) command(words ...string) string {
	words = append([]string{program}, words...)
	if c.base != defaultServer {
		words = append(words, "--server", c.base)
	}
	return strings.Join(words, " ")
}

// program is how this binary was called, so that what is printed can be run.
var program = cmp.Or(os.Args[0], "tokenrelay")

const defaultServer = "http://127.0.0.1:8080"
