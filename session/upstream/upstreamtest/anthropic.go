package upstreamtest

import "fmt"

// A messagesEncoder writes the events of Anthropic's Messages.
type messagesEncoder struct {
	answer
	open  part // of the content block that is
	index int  // of the next content block
}

func (e *messagesEncoder) start() []event {
	usage := ""
	if !e.NoUsage {
		usage = fmt.Sprintf(`,"usage":{"input_tokens":%d,"output_tokens":%d}`, e.usage(0).Input, min(1, e.usage(1).Output))
	}
	return []event{{wire: named("message_start", `,"message":{"id":"%s","type":"message","role":"assistant","content":[],"model":%s,"stop_reason":null,"stop_sequence":null%s}`, e.id, e.model, usage)}}
}

// close ends the content block that is open.
func (e *messagesEncoder) close() []event {
	if e.open == noPart {
		return nil
	}
	var events []event
	if e.open == reasoning {
		events = append(events, e.delta(`{"type":"signature_delta","signature":"c2ln"}`))
	}
	events = append(events, event{wire: named("content_block_stop", `,"index":%d`, e.index-1)})
	e.open = noPart
	return events
}

func (e *messagesEncoder) delta(fields string) event {
	return event{wire: named("content_block_delta", `,"index":%d,"delta":%s`, e.index-1, fields)}
}

func (e *messagesEncoder) piece(p part, quoted string) []event {
	var events []event
	if p != e.open {
		events = e.close()
		block := `{"type":"text","text":""}`
		switch p {
		case reasoning:
			block = `{"type":"thinking","thinking":"","signature":""}`
		case arguments:
			block = fmt.Sprintf(`{"type":"tool_use","id":%s,"name":%s,"input":{}}`, quote(e.ToolCall.ID), quote(e.ToolCall.Name))
		}
		events = append(events, event{wire: named("content_block_start", `,"index":%d,"content_block":%s`, e.index, block)})
		if e.index == 0 {
			events = append(events, event{wire: named("ping", "")})
		}
		e.open = p
		e.index++
	}
	fields := `{"type":"text_delta","text":` + quoted + `}`
	switch p {
	case reasoning:
		fields = `{"type":"thinking_delta","thinking":` + quoted + `}`
	case arguments:
		fields = `{"type":"input_json_delta","partial_json":` + quoted + `}`
	}
	token := e.delta(fields)
	token.token = true
	return append(events, token)
}

func (e *messagesEncoder) keepAlive() event {
	if e.KeepAliveEvents {
		return event{wire: named("ping", "")}
	}
	return event{wire: comment, comment: true}
}

func (e *messagesEncoder) fail() []event {
	return []event{{wire: named("error", `,"error":{"type":"overloaded_error","message":%s}`, quote(e.trouble()))}}
}

func (e *messagesEncoder) finish(tokens int) []event {
	usage := ""
	if !e.NoUsage {
		usage = fmt.Sprintf(`,"usage":{"output_tokens":%d}`, e.usage(tokens).Output)
	}
	events := append(e.close(), event{wire: named("message_delta", `,"delta":{"stop_reason":%s,"stop_sequence":null}%s`, quote(e.reason("end_turn", "tool_use")), usage)})
	if e.Fault != NoDone {
		events = append(events, event{wire: named("message_stop", "")})
	}
	return events
}
