package upstream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"tokenrelay/session"
)

// responses is OpenAI's Responses
// (https://platform.openai.com/docs/api-reference/responses-streaming).
type responses struct {
	bearer
	sse
	background bool // a generation lives on without its connection
}

func (responses) path() string { return "/responses" }

func (responses) continuation(string) session.Continuation { return session.ByMessage }

func (r responses) fields(q question) (map[string]any, error) {
	input := inputItems(q.withText())
	if q.items {
		input = []any{}
		for _, item := range q.messages {
			input = append(input, item)
		}
		input = append(input, inputItems(q.goOn())...)
	}
	fields := map[string]any{"model": q.model, "input": input, "stream": true}
	if r.background {
		fields["background"], fields["store"] = true, true
	} else if string(q.parameters["background"]) == "true" {
		// Without cursors nobody could stop it.
		return nil, &session.InvalidError{Field: "source.parameters.background", Reason: "is set by the relay"}
	}
	return fields, nil
}

// maxResponseID bounds the id of a response that has cursors, in bytes.
const maxResponseID = 1 << 10

// maxParts bounds what is kept of a response to tell what of it has come.
const maxParts = 4 << 10

// responsesCursor stands behind the event of a number. It is "" if the response
// has an id that no path can carry.
func responsesCursor(id string, number int64) string {
	if id == "" || id == "." || id == ".." || len(id) > maxResponseID || number < 0 ||
		strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return id + " " + strconv.FormatInt(number, 10)
}

func parseResponsesCursor(cursor string) (id string, number int64, err error) {
	id, digits, _ := strings.Cut(cursor, " ")
	number, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || cursor != responsesCursor(id, number) {
		return "", 0, session.ErrNotContinuable
	}
	return id, number, nil
}

func (responses) attach(cursor string) (string, error) {
	id, number, err := parseResponsesCursor(cursor)
	return "/responses/" + url.PathEscape(id) + "?stream=true&starting_after=" + strconv.FormatInt(number, 10), err
}

func (responses) cancel(cursor string) (string, error) {
	id, _, err := parseResponsesCursor(cursor)
	return "/responses/" + url.PathEscape(id) + "/cancel", err
}

// A responsesEvent is what is read of the events that are known.
type responsesEvent struct {
	Type         string          `json:"type"`
	Number       *int64          `json:"sequence_number"`
	OutputIndex  int             `json:"output_index"`
	ContentIndex int             `json:"content_index"`
	SummaryIndex int             `json:"summary_index"`
	Delta        json.RawMessage `json:"delta"`
	Text         json.RawMessage `json:"text"`
	Refusal      json.RawMessage `json:"refusal"`
	Arguments    json.RawMessage `json:"arguments"`
	Item         responsesItem   `json:"item"`
	Error        json.RawMessage `json:"error"`
	Response     struct {
		ID         string          `json:"id"`
		Status     string          `json:"status"`
		Error      json.RawMessage `json:"error"`
		Incomplete struct {
			Reason string `json:"reason"`
		} `json:"incomplete_details"`
		Output bounded[responsesItem] `json:"output"`
		Usage  struct {
			Input  *int64 `json:"input_tokens"`
			Output *int64 `json:"output_tokens"`
		} `json:"usage"`
	} `json:"response"`
}

type responsesItem struct {
	Type      string          `json:"type"`
	ID        string          `json:"id"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Content   json.RawMessage `json:"content"` // of a message: responsesParts
}

const functionCall = "function_call"

type responsesPart struct {
	Text    json.RawMessage `json:"text"`
	Refusal json.RawMessage `json:"refusal"`
}

// A responsesStream decodes one stream, of a response from its start or of what
// follows a cursor. What it keeps of earlier events serves only providers that
// send a text whole instead of in pieces: a stream that follows a cursor gives
// what the uncut one would have given.
type responsesStream struct {
	*decoder
	cursors bool   // are given, if the provider numbers its events
	id      string // of the response, once known
	after   int64  // number behind which the cursor stands; -1 from the start
	typed   bool   // there was an event with a type
	over    bool   // the terminal event has come

	called bool
	added  map[int]bool         // items that have begun in this stream
	told   map[responsesAt]bool // of what some has come
}

// A responsesAt is a part of an item's content. The arguments of a call are its
// part 0, its name is callName.
type responsesAt struct{ item, part int }

const callName = -1

// responsesEvents are what is done with those that are known.
var responsesEvents = map[string]func(*responsesStream, *responsesEvent) error{
	"response.created":     (*responsesStream).open,
	"response.queued":      (*responsesStream).open,
	"response.in_progress": (*responsesStream).open,

	"response.output_item.added": (*responsesStream).add,
	"response.output_item.done":  (*responsesStream).item,

	"response.output_text.delta": (*responsesStream).piece,
	"response.refusal.delta":     (*responsesStream).piece,
	"response.output_text.done":  (*responsesStream).whole,
	"response.refusal.done":      (*responsesStream).whole,

	"response.reasoning_summary_part.added": (*responsesStream).part,
	"response.reasoning_summary_text.delta": (*responsesStream).thought,
	"response.reasoning_text.delta":         (*responsesStream).thought,

	"response.function_call_arguments.delta": (*responsesStream).fragment,
	"response.function_call_arguments.done":  (*responsesStream).arguments,

	"response.completed":  (*responsesStream).complete,
	"response.incomplete": (*responsesStream).incomplete,
	"response.cancelled":  (*responsesStream).cancelled,
	"response.failed":     (*responsesStream).failed,
}

func (r responses) read(body io.Reader, d *decoder) error {
	s := &responsesStream{decoder: d, cursors: r.background, after: -1, added: make(map[int]bool), told: make(map[responsesAt]bool)}
	if d.cursor != "" {
		var err error
		if s.id, s.after, err = parseResponsesCursor(d.cursor); err != nil {
			return err
		}
		s.cursors = true
	}
	for event, err := range Events(body) {
		if err != nil {
			return err
		}
		if event.Data == "[DONE]" {
			break // of those who send it without the terminal event
		}
		if err := s.event(event); err != nil || s.over || d.left || d.dropped {
			return err
		}
	}
	return io.ErrUnexpectedEOF
}

func (s *responsesStream) event(event Event) error {
	var e responsesEvent
	err := json.Unmarshal([]byte(event.Data), &e)
	if e.Number != nil && *e.Number <= s.after {
		return nil // the provider sends again what has been taken
	}
	kind := cmp.Or(e.Type, event.Name)
	if kind == "error" || kind == "" && filled(e.Error) {
		return s.failure(json.RawMessage(event.Data))
	}
	take := responsesEvents[kind]
	if err != nil {
		if failure, ok := errors.AsType[*session.Failure](err); ok {
			return failure
		}
		if _, other := errors.AsType[*json.UnmarshalTypeError](err); !other || take != nil || kind == "" {
			return errNotItsJSON
		}
	}
	untyped := kind == "" && !s.typed
	s.typed = !untyped
	switch {
	case untyped:
		return errUntyped
	case take == nil:
		return nil
	}
	s.at(s.place(e.Number))
	if s.cursor != "" && s.next == "" {
		// Who attaches again could not tell whether it has been taken.
		return malformed("an event without a number among those that have one")
	}
	switch {
	case e.OutputIndex < 0 || e.ContentIndex < 0:
		return errNegative
	case len(s.added)+len(s.told) > maxParts:
		return malformed(fmt.Sprintf("more than %d parts", maxParts))
	}
	return take(s, &e)
}

// place is the cursor behind an event, "" if there is none.
func (s *responsesStream) place(number *int64) string {
	if !s.cursors || s.id == "" || number == nil {
		return ""
	}
	return responsesCursor(s.id, *number)
}

// open takes the first events, which have nothing but the id. It is told at
// once: whoever has it can attach to the response and stop it.
func (s *responsesStream) open(e *responsesEvent) error {
	if s.id != "" {
		return nil
	}
	s.id = e.Response.ID
	s.next = s.place(e.Number)
	s.mark()
	return nil
}

func (s *responsesStream) add(e *responsesEvent) error {
	s.added[e.OutputIndex] = true
	if e.Item.Type != functionCall {
		return nil
	}
	s.called = true
	s.told[responsesAt{e.OutputIndex, callName}] = true
	return s.call(e.OutputIndex, e.Item.callID(), e.Item.Name, nil)
}

func (i responsesItem) callID() string { return cmp.Or(i.CallID, i.ID) }

func (s *responsesStream) piece(e *responsesEvent) error {
	s.tell(e.OutputIndex, e.ContentIndex, e.Delta)
	return s.text(e.Delta)
}

func (s *responsesStream) whole(e *responsesEvent) error {
	if !s.missing(e.OutputIndex, e.ContentIndex) {
		return nil
	}
	return s.text(firstOf(e.Text, e.Refusal))
}

// part sets a further part of a summary apart. That of another item is not:
// whether there was one before it is not to be seen behind a cursor.
func (s *responsesStream) part(e *responsesEvent) error {
	if e.SummaryIndex == 0 {
		return nil
	}
	return s.think(json.RawMessage(`"\n\n"`))
}

func (s *responsesStream) thought(e *responsesEvent) error { return s.think(e.Delta) }

func (s *responsesStream) fragment(e *responsesEvent) error {
	s.tell(e.OutputIndex, 0, e.Delta)
	return s.call(e.OutputIndex, "", "", e.Delta)
}

func (s *responsesStream) arguments(e *responsesEvent) error {
	if !s.missing(e.OutputIndex, 0) {
		return nil
	}
	return s.call(e.OutputIndex, "", "", e.Arguments)
}

// item takes a call that was not told in pieces. A message has output_text.done.
func (s *responsesStream) item(e *responsesEvent) error {
	if e.Item.Type != functionCall {
		return nil
	}
	return s.wholeCall(e.OutputIndex, e.Item)
}

func (s *responsesStream) wholeCall(index int, item responsesItem) error {
	var id, name string
	var arguments json.RawMessage
	if s.missing(index, callName) {
		id, name = item.callID(), item.Name
	}
	if s.missing(index, 0) {
		arguments = item.Arguments
	}
	s.called = true
	return s.call(index, id, name, arguments)
}

// tell notes that some of a part has come.
func (s *responsesStream) tell(item, part int, piece json.RawMessage) {
	if filled(piece) {
		s.told[responsesAt{item, part}] = true
	}
}

// missing reports whether a part that is there as a whole is to be taken,
// because nothing of it has come, and notes that it is. Of an item that began
// before the cursor some has come, for all that can be known: a cursor stands
// behind a delta. So what is lost is a second part that comes only as a whole,
// of an item that was cut after the first; no provider sends such.
func (s *responsesStream) missing(item, part int) bool {
	at := responsesAt{item, part}
	if s.told[at] || s.after >= 0 && !s.added[item] {
		return false
	}
	s.told[at] = true
	return true
}

// responsesReasons are the words of chat completions for those of Responses.
var responsesReasons = map[string]string{"max_output_tokens": "length"}

func (s *responsesStream) complete(e *responsesEvent) error {
	reason := session.ReasonStop
	if s.called && e.Response.Output == nil {
		reason = "tool_calls" // behind a cursor it may be stop: the calls came before it
	}
	for _, item := range e.Response.Output {
		if item.Type == functionCall {
			reason = "tool_calls"
		}
	}
	return s.conclude(e, reason)
}

func (s *responsesStream) incomplete(e *responsesEvent) error {
	if e.Response.Status == "cancelled" {
		return s.cancelled(e)
	}
	return s.conclude(e, cmp.Or(e.Response.Incomplete.Reason, "incomplete"))
}

// conclude takes what came with the terminal event only, and ends.
func (s *responsesStream) conclude(e *responsesEvent, reason string) error {
	// These deltas have the cursor behind the end. A relay that starts again
	// among them finds an answer cut short, rather than some of it twice.
	for index, item := range e.Response.Output {
		if err := s.output(index, item); err != nil {
			return err
		}
	}
	s.next = "" // behind usage there is the end still to come
	s.ends(reason, responsesReasons)
	s.usage(e.Response.Usage.Input, e.Response.Usage.Output)
	s.finish()
	s.over = true
	return nil
}

func (s *responsesStream) output(index int, item responsesItem) error {
	switch item.Type {
	case functionCall:
		return s.wholeCall(index, item)
	case "message":
		var parts bounded[responsesPart]
		if err := json.Unmarshal(item.Content, &parts); err != nil && filled(item.Content) {
			return malformed("a message whose content is not a list")
		}
		for i, part := range parts {
			if text := firstOf(part.Text, part.Refusal); filled(text) && s.missing(index, i) {
				if err := s.text(text); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *responsesStream) cancelled(e *responsesEvent) error {
	s.gone(e)
	return &session.Failure{Code: CodeError, Message: "the provider cancelled the response"}
}

func (s *responsesStream) failed(e *responsesEvent) error {
	s.gone(e)
	return s.failure(e.Response.Error)
}

// gone takes the usage of a response that has ended without an answer. Nothing
// is left to attach to, nor to stop.
func (s *responsesStream) gone(e *responsesEvent) {
	s.next = ""
	s.usage(e.Response.Usage.Input, e.Response.Usage.Output)
	s.cursor = ""
}
