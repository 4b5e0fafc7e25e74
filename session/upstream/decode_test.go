package upstream_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// decoding returns a source of p whose answer body returns, without a
// connection.
func decoding(tb testing.TB, p upstream.Protocol, body func() io.Reader) session.Source {
	set, err := upstream.New([]upstream.Config{{Name: "p", Protocol: p, BaseURL: "http://provider.test", Limits: once}}, upstream.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	set.Answer(body)
	source, err := set.Open(session.SourceSpec{Model: "m", Messages: []byte(`[{}]`)})
	if err != nil {
		tb.Fatal(err)
	}
	return source
}

// Whatever a provider sends, its source keeps to the contract.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{whole, wholeMessage, wholeOllama,
		stream(delta(`"reasoning":"r\ud83d","content":"a\ud83d","tool_calls":[{"index":-1,"id":"x","function":{"name":"f","arguments":"\ude00\ud83d"}}]`), stop),
		stream(content(`"a"`), `{"error":{"message":"m","code":429}}`),
		named(`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"x","name":"f"}}`, blockDelta(1, `"partial_json":"\ud83d"`), `{"type":"content_block_stop","index":1}`, messageStop),
		named(`{"type":"error","error":{"type":"overloaded_error"}}`),
		linesOf(ollamaMessage(`"thinking":"\ud83d","tool_calls":[{"function":{"arguments":{"a":"\ud83d"}}},{}]`), `{"error":"x"}`),
	} {
		for i := range upstream.Protocols() {
			f.Add(uint8(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		p := upstream.Protocols()[int(which)%len(upstream.Protocols())]
		ended, usage := false, false
		for d, err := range decoding(t, p, func() io.Reader { return strings.NewReader(body) }).Deltas(t.Context(), session.Position{}) {
			if ended {
				t.Fatalf("%s follows the end", show(d, err))
			}
			if err != nil {
				failure, ok := err.(*session.Failure)
				if !ok || failure.Message == "" || !utf8.ValidString(failure.Message) {
					t.Fatalf("error %v", err)
				}
				ended = true
				continue
			}
			for _, s := range []string{d.Text, d.Call.ID, d.Call.Name, d.Call.Arguments, d.Reason, d.ProviderReason} {
				if !utf8.ValidString(s) {
					t.Fatalf("%+v is not UTF-8", d)
				}
			}
			switch d.Kind {
			case session.DeltaText, session.DeltaReasoning:
				if d.Text == "" {
					t.Fatalf("%+v has no text", d)
				}
			case session.DeltaToolCall:
				if d.Call == (session.ToolCall{Index: d.Call.Index}) {
					t.Fatalf("%+v is of nothing", d)
				}
			case session.DeltaUsage:
				usage = d.Usage.Input != nil || d.Usage.Output != nil
				if !usage || d.Usage.Source != session.UsageReported {
					t.Fatalf("%s is none", show(d, nil))
				}
			case session.DeltaFinish:
				if ended = true; d.Reason == "" {
					t.Fatalf("finish without a reason")
				}
			case session.DeltaCursor:
			default:
				t.Fatalf("%+v", d)
			}
		}
		if !ended {
			t.Fatal("it has no end")
		}
	})
}

// BenchmarkDecode reads long answers. The time and the allocations are those
// of one token.
func BenchmarkDecode(b *testing.B) {
	const tokens = 10_000
	token := func(p upstream.Protocol, i int) string {
		quoted := fmt.Sprintf(`" token%d"`, i%100)
		switch p {
		case upstream.Chat:
			return stream(`{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_fc9f1d7035","choices":[{"index":0,"delta":{"content":` + quoted + `},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"xxxxxxxx"}`)
		case upstream.Responses:
			return "event: response.output_text.delta\n" + stream(fmt.Sprintf(`{"type":"response.output_text.delta","sequence_number":%d,"item_id":"msg_67c9fdcf37fc8190ba82116e33fb28c507b8b0ad4e5eb654","output_index":0,"content_index":0,"delta":%s,"logprobs":[],"obfuscation":"xxxxxxxx"}`, i+1, quoted))
		case upstream.Anthropic:
			return named(textDelta(quoted))
		}
		return linesOf(ollamaText(quoted))
	}
	ends := map[upstream.Protocol]string{
		upstream.Chat:      stream(stop, farewell),
		upstream.Responses: stream(`{"type":"response.completed","sequence_number":10001,"response":{"id":"resp_1","status":"completed"}}`),
		upstream.Anthropic: named(endTurn, messageStop),
		upstream.Ollama:    linesOf(ollamaDone),
	}
	for _, p := range upstream.Protocols() {
		b.Run(string(p), func(b *testing.B) {
			var body strings.Builder
			for i := range tokens {
				body.WriteString(token(p, i))
			}
			body.WriteString(ends[p])
			source := decoding(b, p, func() io.Reader { return strings.NewReader(body.String()) })
			deltas := source.Deltas(b.Context(), session.Position{})
			b.ReportAllocs()
			b.SetBytes(int64(body.Len()) / tokens)
			for left := 0; b.Loop(); left-- {
				if left > 0 {
					continue // it is one of the tokens that were read
				}
				left = tokens
				n := 0
				for d, err := range deltas {
					if err != nil {
						b.Fatal(err)
					}
					if d.Kind == session.DeltaText {
						n++
					}
				}
				if n != tokens {
					b.Fatalf("%d tokens, want %d", n, tokens)
				}
			}
		})
	}
}
