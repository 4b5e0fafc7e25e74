package upstreamtest

import (
	"fmt"
	"time"
)

// An ollamaEncoder writes lines of Ollama's chat.
type ollamaEncoder struct{ answer }

// line has further fields after those that all lines have.
func (e *ollamaEncoder) line(fields string) event {
	return event{wire: fmt.Sprintf("{\"model\":%s,\"created_at\":%q,%s}\n", e.model, time.Now().UTC().Format(time.RFC3339Nano), fields)}
}

func (e *ollamaEncoder) message(fields string) event {
	return e.line(`"message":{"role":"assistant",` + fields + `},"done":false`)
}

func (e *ollamaEncoder) start() []event { return nil }

// piece keeps back a tool call: the whole of it stands in one line.
func (e *ollamaEncoder) piece(p part, quoted string) []event {
	var token event
	switch p {
	case reasoning:
		token = e.message(`"content":"","thinking":` + quoted)
	case text:
		token = e.message(`"content":` + quoted)
	case arguments:
		return nil
	}
	token.token = true
	return []event{token}
}

func (e *ollamaEncoder) keepAlive() event { return e.message(`"content":""`) }

func (e *ollamaEncoder) fail() []event {
	return []event{{wire: fmt.Sprintf("{\"error\":%s}\n", quote(e.trouble()))}}
}

func (e *ollamaEncoder) finish(tokens int) []event {
	var events []event
	if call := e.ToolCall; call != nil {
		events = append(events, e.message(fmt.Sprintf(`"content":"","tool_calls":[{"function":{"name":%s,"arguments":%s}}]`, quote(call.Name), call.Arguments)))
	}
	usage := ""
	if !e.NoUsage {
		u := e.usage(tokens)
		usage = fmt.Sprintf(`,"prompt_eval_count":%d,"eval_count":%d`, u.Input, u.Output)
	}
	return append(events, e.line(fmt.Sprintf(`"message":{"role":"assistant","content":""},"done":true,"done_reason":%s,"total_duration":1,"load_duration":1%s`, quote(e.reason("stop", "stop")), usage)))
}
