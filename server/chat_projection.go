package server

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"tokenrelay/session"
)

// completionPrefix stands before a session's id where chat completions name it.
const completionPrefix = "chatcmpl-"

// A chatRecord is what a chat completion's request asked for that its chunks
// depend on.
type chatRecord struct {
	IncludeUsage bool `json:"include_usage"`
}

// chatRecordOf returns what a session's request asked for: nothing, if it was
// one of another protocol.
func chatRecordOf(info session.Info) (r chatRecord) {
	var recorded struct{ Chat chatRecord }
	if len(info.Spec.Projection.Recorded) > 0 && json.Unmarshal(info.Spec.Projection.Recorded, &recorded) == nil {
		return recorded.Chat
	}
	return r
}

// A chatProjection shows a log as the chunks of a chat completion
// (https://platform.openai.com/docs/api-reference/chat-streaming).
type chatProjection struct {
	info     session.Info
	recorded chatRecord
	head     []byte // of every chunk: {"id":…,"object":…,"created":…,"model":…
	calls    calls
	provider chatProvider
	delta    []byte // of the chunk that is being made
}

func newChatProjection(info session.Info) projection {
	return &chatProjection{info: info, recorded: chatRecordOf(info), calls: calls{of: info.ID}}
}

func (p *chatProjection) size() int { return p.provider.size() + p.calls.held }

func (p *chatProjection) frame(f session.Frame, to *events) {
	d := p.delta[:0]
	switch {
	case f.Kind == session.KindSession:
		p.begin(f)
		d = append(d, `"role":"assistant","content":""`...)
	case f.Kind == session.KindText:
		d = append(append(append(d, `"content":"`...), escapedText(f)...), '"')
	case f.Kind == session.KindReasoning:
		d = append(append(append(d, `"reasoning_content":"`...), escapedText(f)...), '"')
	case f.Kind == session.KindToolCall:
		call, ok := fragmentOf(f)
		if !ok {
			return
		}
		d = p.appendCall(d, call)
	case f.Kind == session.KindProvider:
		p.provider.take(f)
		return
	case f.Kind.Terminal():
		p.end(f, to)
		return
	default:
		return
	}
	p.chunk(to, d, "")
	p.delta = d
}

// begin makes the head, which never changes.
func (p *chatProjection) begin(f session.Frame) {
	var first struct{ Created time.Time }
	json.Unmarshal(f.Data, &first) // what this relay wrote
	p.head = appendChatHead(nil, p.info, "chat.completion.chunk", first.Created)
}

// appendChatHead appends how a completion and its chunks begin, with an open
// brace.
func appendChatHead(dst []byte, info session.Info, object string, created time.Time) []byte {
	dst = fmt.Appendf(dst, `{"id":"%s%s","object":"%s","created":%d,"model":`, completionPrefix, info.ID, object, created.Unix())
	return appendJSON(dst, modelOf(info))
}

// appendCall appends the delta of a fragment: the first of a call says which
// function is called.
func (p *chatProjection) appendCall(dst []byte, call fragment) []byte {
	n, begins := p.calls.add(&call)
	dst = append(dst, `"tool_calls":[{"index":`...)
	dst = append(strconv.AppendInt(dst, int64(n), 10), ',')
	if begins {
		dst = append(appendJSON(append(dst, `"id":`...), call.ID), `,"type":"function",`...)
	}
	dst = append(dst, `"function":{`...)
	if begins {
		dst = append(appendJSON(append(dst, `"name":`...), call.Name), ',')
	}
	dst = append(append(dst, `"arguments":"`...), call.Arguments...)
	return append(dst, `"}}]`...)
}

// chunk adds a chunk with the members of its delta, and what the provider sent
// beside it.
func (p *chatProjection) chunk(to *events, delta []byte, reason string) {
	to.add("", func(dst []byte) []byte {
		dst = append(append(dst, p.head...), p.provider.shared...)
		dst = p.provider.once.appendMembers(dst, true)
		dst = append(dst, `,"choices":[{"index":0,"delta":{`...)
		dst = append(dst, delta...)
		dst = p.provider.delta.appendMembers(dst, len(delta) > 0)
		dst = append(dst, `},"finish_reason":`...)
		if reason == "" {
			dst = append(dst, "null"...)
		} else {
			dst = appendJSON(dst, reason)
		}
		dst = p.provider.choice.appendMembers(dst, true)
		return append(dst, "}]}"...)
	})
	p.provider.shown()
}

// end adds what a terminal frame comes to.
func (p *chatProjection) end(f session.Frame, to *events) {
	var end session.End
	json.Unmarshal(f.Data, &end) // what this relay wrote
	state := session.State(f.Kind)
	if failure := failureOf(state, end); failure != nil {
		if p.provider.pending() {
			p.chunk(to, nil, "")
		}
		to.addJSON("", struct {
			Error openAIError `json:"error"`
		}{openAIError{Message: failure.Message, Type: "server_error", Code: code(failure.Code)}})
		return
	}
	p.chunk(to, nil, finishReason(end, len(p.calls.numbers)))
	if p.recorded.IncludeUsage {
		to.add("", func(dst []byte) []byte {
			dst = append(append(dst, p.head...), p.provider.shared...)
			dst = append(dst, `,"choices":[],"usage":`...)
			return append(p.provider.appendUsage(dst, end.Usage), '}')
		})
	}
	to.farewell("[DONE]")
}

// failureOf says why an answer is not whole, nil if it is.
func failureOf(state session.State, end session.End) *session.Failure {
	switch {
	case state == session.Done:
		return nil
	case state == session.Stopped:
		return &session.Failure{Code: string(session.Stopped), Message: "the answer was stopped before its end: " + end.Reason}
	case end.Error != nil:
		return end.Error
	}
	return &session.Failure{Code: string(state), Message: "the answer broke off: " + end.Reason}
}

// finishReason is why an answer with so many tool calls ended, in a word that
// clients know if there is one.
func finishReason(end session.End, calls int) string {
	switch {
	case end.Reason == session.ReasonFinish:
		return session.ReasonStop
	case end.ProviderReason == "function_call" && calls == 0:
		return end.ProviderReason // the older form of a call, which is a field of the provider's own
	}
	return end.Reason
}
