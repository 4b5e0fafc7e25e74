package upstreamtest

import (
	"cmp"
	"fmt"
	"strings"
)

// A responsesEncoder writes the events of a response.
type responsesEncoder struct {
	answer
	background bool
	number     int      // of the next event
	open       part     // of the output item that is
	item       string   // its id
	body       string   // what it has so far, as the inside of a JSON string
	output     []string // the items that are done
	tokens     int      // so far
}

func (e *responsesEncoder) event(name, format string, args ...any) event {
	ev := event{wire: named(name, `,"sequence_number":%d%s`, e.number, fmt.Sprintf(format, args...)), number: e.number}
	e.number++
	return ev
}

// state is an event with the response as it is now.
func (e *responsesEncoder) state(name, object string) event {
	ev := e.event(name, `,"response":%s`, object)
	ev.object = object
	return ev
}

// An outcome is what a response has that ended, as JSON; empty fields are null.
type outcome struct{ failure, details, usage string }

// render returns the response.
func (e *responsesEncoder) render(status string, o outcome) string {
	return fmt.Sprintf(`{"id":"%s","object":"response","created_at":%d,"status":"%s","background":%t,"error":%s,"incomplete_details":%s,"instructions":null,"metadata":{},"model":%s,"output":[%s],"parallel_tool_calls":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"usage":%s}`,
		e.id, e.created.Unix(), status, e.background, cmp.Or(o.failure, "null"), cmp.Or(o.details, "null"), e.model, strings.Join(e.output, ","), cmp.Or(o.usage, "null"))
}

func (e *responsesEncoder) start() []event {
	if !e.background {
		object := e.render("in_progress", outcome{})
		return []event{e.state("response.created", object), e.state("response.in_progress", object)}
	}
	queued := e.render("queued", outcome{})
	return []event{e.state("response.created", queued), e.state("response.queued", queued), e.state("response.in_progress", e.render("in_progress", outcome{}))}
}

// place is where in the output the open item stands.
func (e *responsesEncoder) place() string {
	return fmt.Sprintf(`,"item_id":"%s","output_index":%d`, e.item, len(e.output))
}

// renderItem returns the open item, without content while it is in progress.
func (e *responsesEncoder) renderItem(status string) string {
	switch e.open {
	case reasoning:
		summary := ""
		if status != "in_progress" {
			summary = `{"type":"summary_text","text":"` + e.body + `"}`
		}
		return fmt.Sprintf(`{"id":"%s","type":"reasoning","summary":[%s]}`, e.item, summary)
	case arguments:
		return fmt.Sprintf(`{"id":"%s","type":"function_call","status":"%s","call_id":%s,"name":%s,"arguments":"%s"}`, e.item, status, quote(e.ToolCall.ID), quote(e.ToolCall.Name), e.body)
	}
	parts := ""
	if status != "in_progress" {
		parts = `{"type":"output_text","text":"` + e.body + `","annotations":[]}`
	}
	return fmt.Sprintf(`{"id":"%s","type":"message","status":"%s","role":"assistant","content":[%s]}`, e.item, status, parts)
}

// begin opens an item of p.
func (e *responsesEncoder) begin(p part) []event {
	kind := map[part]string{reasoning: "rs", text: "msg", arguments: "fc"}[p]
	e.open, e.body, e.item = p, "", fmt.Sprintf("%s_%s_%d", kind, e.id, len(e.output))
	events := []event{e.event("response.output_item.added", `,"output_index":%d,"item":%s`, len(e.output), e.renderItem("in_progress"))}
	switch p {
	case reasoning:
		events = append(events, e.event("response.reasoning_summary_part.added", `%s,"summary_index":0,"part":{"type":"summary_text","text":""}`, e.place()))
	case text:
		events = append(events, e.event("response.content_part.added", `%s,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}`, e.place()))
	}
	return events
}

// close ends the item that is open.
func (e *responsesEncoder) close() []event {
	var events []event
	switch e.open {
	case noPart:
		return nil
	case reasoning:
		events = append(events,
			e.event("response.reasoning_summary_text.done", `%s,"summary_index":0,"text":"%s"`, e.place(), e.body),
			e.event("response.reasoning_summary_part.done", `%s,"summary_index":0,"part":{"type":"summary_text","text":"%s"}`, e.place(), e.body))
	case text:
		events = append(events,
			e.event("response.output_text.done", `%s,"content_index":0,"text":"%s","logprobs":[]`, e.place(), e.body),
			e.event("response.content_part.done", `%s,"content_index":0,"part":{"type":"output_text","text":"%s","annotations":[]}`, e.place(), e.body))
	case arguments:
		events = append(events, e.event("response.function_call_arguments.done", `%s,"arguments":"%s"`, e.place(), e.body))
	}
	item := e.renderItem("completed")
	events = append(events, e.event("response.output_item.done", `,"output_index":%d,"item":%s`, len(e.output), item))
	e.output, e.open = append(e.output, item), noPart
	return events
}

func (e *responsesEncoder) piece(p part, quoted string) []event {
	var events []event
	if p != e.open {
		events = append(e.close(), e.begin(p)...)
	}
	e.body += inner(quoted)
	e.tokens++
	var token event
	switch p {
	case reasoning:
		token = e.event("response.reasoning_summary_text.delta", `%s,"summary_index":0,"delta":%s`, e.place(), quoted)
	case text:
		token = e.event("response.output_text.delta", `%s,"content_index":0,"delta":%s,"logprobs":[]`, e.place(), quoted)
	case arguments:
		token = e.event("response.function_call_arguments.delta", `%s,"delta":%s`, e.place(), quoted)
	}
	token.token = true
	return append(events, token)
}

func (e *responsesEncoder) keepAlive() event {
	if e.KeepAliveEvents {
		return e.event("keepalive", "")
	}
	return event{wire: comment, comment: true}
}

func (e *responsesEncoder) fail() []event {
	failed := e.render("failed", outcome{failure: `{"code":"server_error","message":` + quote(e.trouble()) + `}`})
	if e.Fault == Failed {
		return []event{e.state("response.failed", failed)}
	}
	ev := e.event("error", `,"code":"server_error","message":%s,"param":null`, quote(e.trouble()))
	ev.object = failed
	return []event{ev}
}

func (e *responsesEncoder) finish(int) []event {
	if e.Finish != "" && e.Finish != "completed" {
		return []event{e.incomplete("incomplete", `{"reason":`+quote(e.Finish)+`}`)}
	}
	events := e.close()
	return append(events, e.state("response.completed", e.render("completed", outcome{usage: e.report()})))
}

// incomplete ends the response within its open item.
func (e *responsesEncoder) incomplete(status, details string) event {
	if e.open != noPart {
		e.output, e.open = append(e.output, e.renderItem("incomplete")), noPart
	}
	ev := e.state("response.incomplete", e.render(status, outcome{details: details, usage: e.report()}))
	ev.last = true
	return ev
}

// report is the usage so far; empty if it is not reported.
func (e *responsesEncoder) report() string {
	if e.NoUsage {
		return ""
	}
	u := e.usage(e.tokens)
	return fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}`, u.Input, u.Output, u.Input+u.Output)
}
