package server

import (
	"encoding/json"
	"strconv"

	"tokenrelay/session"
)

// responsePrefix begins the id of a session as Responses have it.
const responsePrefix = "resp_"

// responses shows a log as the events of OpenAI's Responses
// (https://platform.openai.com/docs/api-reference/responses-streaming), and as
// the object that they are about.
type responses struct {
	answer
	id         string // of the session
	model      []byte // in JSON
	echo       []byte // the fields of the request that a response repeats, each behind a comma
	background bool
}

// newResponses returns the projection of a session.
func newResponses(info session.Info) *responses {
	r := &responses{id: info.ID.String(), model: appendJSON(nil, modelOf(info))}
	r.created, r.calls.of = info.Created, info.ID
	r.echo, r.background = echoOf(info.Spec.Projection.Recorded)
	return r
}

func (r *responses) size() int { return r.answer.size() + len(r.echo) }

// A fill appends fields of an event, each behind a comma.
type fill func(dst []byte) []byte

// event adds an event of a type, which is its name too.
func (r *responses) event(to *events, name string, fields fill) {
	to.add(name, func(dst []byte) []byte {
		dst = append(append(append(dst, `{"type":"`...), name...), `","sequence_number":`...)
		dst = strconv.AppendInt(dst, to.next-1, 10)
		return append(fields(dst), '}')
	})
}

func (r *responses) frame(f session.Frame, to *events) {
	s := r.take(f)
	if f.Kind == session.KindSession {
		r.begin(to)
		return
	}
	for _, p := range s.ended {
		r.close(p, to)
	}
	if s.begins {
		r.open(s.part, to)
	}
	if s.part != nil && len(s.delta) > 0 {
		r.delta(s.part, s.delta, to)
	}
	if s.over {
		status := r.status()
		r.about(to, terminalEvents[status], status)
	}
}

// begin tells of the response before there is anything of it.
func (r *responses) begin(to *events) {
	if r.background {
		r.about(to, "response.created", statusQueued)
		r.about(to, "response.queued", statusQueued)
	} else {
		r.about(to, "response.created", statusInProgress)
	}
	r.about(to, "response.in_progress", statusInProgress)
}

// about adds an event with the whole response.
func (r *responses) about(to *events, name, status string) {
	r.event(to, name, func(dst []byte) []byte {
		return r.appendObject(append(dst, `,"response":`...), status)
	})
}

// Where in a response a part stands, by the number of the part.
func (r *responses) at(dst []byte, p *part) []byte {
	dst = r.appendItemID(append(dst, `,"item_id":"`...), p)
	dst = append(dst, `","output_index":`...)
	return strconv.AppendInt(dst, int64(p.index), 10)
}

// Events of the three kinds of parts, and where in its item each stands.
var (
	textEvents = partEvents{
		part: "response.content_part", delta: "response.output_text.delta", done: "response.output_text.done",
		index: `,"content_index":0`, whole: `,"text":"`, behind: `,"logprobs":[]`,
	}
	reasoningEvents = partEvents{
		part: "response.reasoning_summary_part", delta: "response.reasoning_summary_text.delta", done: "response.reasoning_summary_text.done",
		index: `,"summary_index":0`, whole: `,"text":"`,
	}
	callEvents = partEvents{
		delta: "response.function_call_arguments.delta", done: "response.function_call_arguments.done", whole: `,"arguments":"`,
	}
)

type partEvents struct {
	part, delta, done    string // names; part without .added and .done, empty if there are none
	index, whole, behind string // fields
}

func eventsOf(p *part) *partEvents {
	switch p.kind {
	case session.KindText:
		return &textEvents
	case session.KindReasoning:
		return &reasoningEvents
	}
	return &callEvents
}

// open tells that a part begins.
func (r *responses) open(p *part, to *events) {
	r.item(to, "response.output_item.added", p, statusInProgress, nil)
	if e := eventsOf(p); e.part != "" {
		r.event(to, e.part+".added", func(dst []byte) []byte {
			dst = append(append(r.at(dst, p), e.index...), `,"part":`...)
			return appendContent(dst, p, nil)
		})
	}
}

func (r *responses) delta(p *part, text escaped, to *events) {
	e := eventsOf(p)
	r.event(to, e.delta, func(dst []byte) []byte {
		dst = append(append(r.at(dst, p), e.index...), `,"delta":"`...)
		dst = append(append(dst, text...), '"')
		return append(dst, e.behind...)
	})
}

// close tells a part again, now that it is whole.
func (r *responses) close(p *part, to *events) {
	e := eventsOf(p)
	r.event(to, e.done, func(dst []byte) []byte {
		dst = append(append(r.at(dst, p), e.index...), e.whole...)
		dst = append(append(dst, p.text...), '"')
		if p.kind == session.KindToolCall {
			dst = appendJSON(append(dst, `,"name":`...), p.name)
		}
		return append(dst, e.behind...)
	})
	if e.part != "" {
		r.event(to, e.part+".done", func(dst []byte) []byte {
			dst = append(append(r.at(dst, p), e.index...), `,"part":`...)
			return appendContent(dst, p, p.text)
		})
	}
	r.item(to, "response.output_item.done", p, r.statusOf(p), p.text)
}

func (r *responses) item(to *events, name string, p *part, status string, text escaped) {
	r.event(to, name, func(dst []byte) []byte {
		dst = strconv.AppendInt(append(dst, `,"output_index":`...), int64(p.index), 10)
		return r.appendItem(append(dst, `,"item":`...), p, status, text)
	})
}

// Statuses of responses and of their items.
const (
	statusQueued     = "queued"
	statusInProgress = "in_progress"
	statusCompleted  = "completed"
	statusIncomplete = "incomplete"
	statusCancelled  = "cancelled"
	statusFailed     = "failed"
)

// terminalEvents are the last events by the status that they tell. There is none
// of its own for cancelled: clients refuse types that they do not know.
var terminalEvents = map[string]string{
	statusCompleted:  "response.completed",
	statusIncomplete: "response.incomplete",
	statusCancelled:  "response.incomplete",
	statusFailed:     "response.failed",
}

// incompleteReasons are why an answer that came to its end is not whole.
var incompleteReasons = map[string]string{"length": "max_output_tokens", "content_filter": "content_filter"}

// status is that of the response as far as the log has been taken.
func (r *responses) status() string {
	switch r.state {
	case "":
		return statusInProgress
	case session.Done:
		if incompleteReasons[r.end.Reason] != "" {
			return statusIncomplete
		}
		return statusCompleted
	case session.Stopped:
		return statusCancelled
	}
	return statusFailed
}

// statusOf is that of an item.
func (r *responses) statusOf(p *part) string {
	switch {
	case !p.ended:
		return statusInProgress
	case p.cut && r.status() != statusCompleted:
		return statusIncomplete
	}
	return statusCompleted
}

// appendObject appends the response as far as the log has been taken.
func (r *responses) appendObject(dst []byte, status string) []byte {
	dst = append(append(dst, `{"id":"`+responsePrefix...), r.id...)
	dst = append(dst, `","object":"response","created_at":`...)
	dst = strconv.AppendInt(dst, r.created.Unix(), 10)
	dst = append(append(dst, `,"status":"`...), status...)
	dst = append(dst, `","error":`...)
	dst = r.appendError(dst)
	dst = append(dst, `,"incomplete_details":`...)
	if status == statusIncomplete {
		dst = append(append(dst, `{"reason":"`...), incompleteReasons[r.end.Reason]...)
		dst = append(dst, `"}`...)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(append(dst, `,"model":`...), r.model...)
	dst = append(dst, `,"output":[`...)
	for i, p := range r.parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.appendItem(dst, p, r.statusOf(p), p.text)
	}
	dst = append(append(dst, ']'), r.echo...)
	return append(r.appendUsage(append(dst, `,"usage":`...)), '}')
}

// appendError appends why a response failed. OpenAI's codes are a closed list,
// so ours stands beside it.
func (r *responses) appendError(dst []byte) []byte {
	if r.end == nil || r.status() != statusFailed {
		return append(dst, "null"...)
	}
	failure := failureOf(r.state, *r.end)
	e := struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Relay   string `json:"relay_code"`
	}{"server_error", failure.Message, failure.Code}
	if failure.Code == string(codeLimited) {
		e.Code = "rate_limit_exceeded"
	}
	return appendJSON(dst, e)
}

// appendUsage appends what the response cost.
func (r *responses) appendUsage(dst []byte) []byte {
	if r.end == nil || r.end.Usage.Input == nil && r.end.Usage.Output == nil {
		return append(dst, "null"...)
	}
	input, output := tokens(r.end.Usage)
	dst = strconv.AppendInt(append(dst, `{"input_tokens":`...), input, 10)
	dst = strconv.AppendInt(append(dst, `,"input_tokens_details":{"cached_tokens":0},"output_tokens":`...), output, 10)
	dst = strconv.AppendInt(append(dst, `,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":`...), input+output, 10)
	dst = append(append(dst, `,"source":"`...), r.end.Usage.Source...)
	return append(dst, `"}`...)
}

// itemPrefixes begin the ids of items.
var itemPrefixes = map[session.Kind]string{session.KindText: "msg_", session.KindReasoning: "rs_", session.KindToolCall: "fc_"}

// appendItemID appends a part's id, by which it can be found again.
func (r *responses) appendItemID(dst []byte, p *part) []byte {
	dst = append(append(dst, itemPrefixes[p.kind]...), r.id...)
	return strconv.AppendInt(append(dst, '_'), int64(p.index), 10)
}

// appendItem appends a part as an item of the output with so much text, nil for
// one that has only begun.
func (r *responses) appendItem(dst []byte, p *part, status string, text escaped) []byte {
	dst = append(r.appendItemID(append(dst, `{"id":"`...), p), `","type":"`...)
	switch p.kind {
	case session.KindText:
		dst = append(append(dst, `message","role":"assistant","status":"`...), status...)
		dst = append(dst, `","content":[`...)
	case session.KindReasoning:
		dst = append(append(dst, `reasoning","status":"`...), status...)
		dst = append(dst, `","summary":[`...)
	default:
		dst = append(append(dst, `function_call","status":"`...), status...)
		dst = appendJSON(append(dst, `","call_id":`...), p.id)
		dst = appendJSON(append(dst, `,"name":`...), p.name)
		dst = append(append(dst, `,"arguments":"`...), text...)
		return append(dst, `"}`...)
	}
	if text != nil {
		dst = appendContent(dst, p, text)
	}
	return append(dst, "]}"...)
}

// appendContent appends a part as what an item holds.
func appendContent(dst []byte, p *part, text escaped) []byte {
	if p.kind == session.KindReasoning {
		dst = append(append(dst, `{"type":"summary_text","text":"`...), text...)
		return append(dst, `"}`...)
	}
	dst = append(append(dst, `{"type":"output_text","text":"`...), text...)
	return append(dst, `","annotations":[],"logprobs":[]}`...)
}

// echoOf returns the fields of the request that a response repeats, each behind
// a comma, with the defaults of those that are not recorded.
func echoOf(projection json.RawMessage) (echo []byte, background bool) {
	var recorded struct {
		Responses map[string]json.RawMessage `json:"responses"`
	}
	json.Unmarshal(projection, &recorded) // of another protocol, or what this relay wrote
	for _, field := range echoed {
		value := recorded.Responses[field.name]
		if value == nil {
			value = json.RawMessage(field.absent)
		}
		echo = append(append(echo, `,"`+field.name+`":`...), value...)
	}
	return echo, string(recorded.Responses["background"]) == "true"
}
