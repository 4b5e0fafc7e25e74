package upstreamtest

import "fmt"

// A chatEncoder writes chunks of a chat completion.
type chatEncoder struct {
	answer
	includeUsage bool
	called       bool // the tool call's name was written
}

// chunk has choices and further fields as its own.
func (e *chatEncoder) chunk(fields string) event {
	return event{wire: data(`{"id":"%s","object":"chat.completion.chunk","created":%d,"model":%s,%s%s}`, e.id, e.created.Unix(), e.model, fields, more(e.Extra.Chunk))}
}

// more is further fields of an object that has one.
func more(fields string) string {
	if fields == "" {
		return ""
	}
	return "," + fields
}

func (e *chatEncoder) delta(fields, reason string) event { return e.choice(fields, reason, "") }

// choice has further fields of the choice.
func (e *chatEncoder) choice(delta, reason, fields string) event {
	null := ""
	if e.includeUsage {
		null = `,"usage":null`
	}
	return e.chunk(fmt.Sprintf(`"choices":[{"index":0,"delta":{%s},"finish_reason":%s%s}]%s`, delta, reason, more(fields), null))
}

func (e *chatEncoder) start() []event {
	return []event{e.delta(`"role":"assistant","content":""`, "null")}
}

func (e *chatEncoder) piece(p part, quoted string) []event {
	var events []event
	fields := `"content":` + quoted
	switch p {
	case reasoning:
		fields = `"reasoning_content":` + quoted
	case arguments:
		if !e.called {
			e.called = true
			events = append(events, e.delta(fmt.Sprintf(`"tool_calls":[{"index":0,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]`, quote(e.ToolCall.ID), quote(e.ToolCall.Name)), "null"))
		}
		fields = `"tool_calls":[{"index":0,"function":{"arguments":` + quoted + `}}]`
	}
	token := e.choice(fields+more(e.Extra.Delta), "null", e.Extra.Choice)
	token.token = true
	return append(events, token)
}

func (e *chatEncoder) keepAlive() event {
	if e.KeepAliveEvents {
		return e.delta("", "null")
	}
	return event{wire: comment, comment: true}
}

func (e *chatEncoder) fail() []event {
	return []event{{wire: data(`{"error":{"message":%s,"type":"server_error","param":null,"code":"server_error"}}`, quote(e.trouble()))}}
}

func (e *chatEncoder) finish(tokens int) []event {
	events := []event{e.delta("", quote(e.reason("stop", "tool_calls")))}
	if e.includeUsage && !e.NoUsage {
		u := e.usage(tokens)
		events = append(events, e.chunk(fmt.Sprintf(`"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d%s}`, u.Input, u.Output, u.Input+u.Output, more(e.Extra.Usage))))
	}
	if e.Fault != NoDone {
		events = append(events, event{wire: data("[DONE]")})
	}
	return events
}
