package upstream_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"tokenrelay/chunker"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// What a chunk has beside the text comes before that, if it is new.
func TestExtras(t *testing.T) {
	for _, test := range []struct {
		name string
		body string
		want []string
	}{
		{"none", whole, []string{"text Hel", "text lo 👋", "usage 7 2 reported", "finish stop"}},
		{"of chunks", stream(
			`{"id":"c","system_fingerprint":"fp","service_tier":null,"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"obfuscation":"xx"}`,
			`{"id":"c","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"a"}}],"obfuscation":"xy"}`,
			`{"id":"c","system_fingerprint":"fq","provider":"Some <one>","choices":[{"index":0,"delta":{"content":"b"}}]}`,
			`{"x_groq":{"id":"1"},"choices":[]}`, stop, farewell),
			[]string{`provider {"protocol":"chat","fields":{"system_fingerprint":"fp"}}`, "text a",
				`provider {"protocol":"chat","fields":{"provider":"Some <one>","system_fingerprint":"fq"}}`, "text b",
				`provider {"protocol":"chat","fields":{"x_groq":{"id":"1"}}}`, "finish stop"}},
		{"of choices", stream(
			`{"choices":[{"index":1,"delta":{"x":1}},{"index":0,"logprobs":{"content":[{"token":"a","logprob":-0.10}]},"stop_reason":null,"delta":{"content":"a","reasoning":"r","reasoning_details":[{"text":"r"}],"annotations":null,"refusal":null}}]}`,
			`{"choices":[{"index":0,"delta":{"annotations":[]},"finish_reason":"stop","native_finish_reason":"STOP"}]}`, farewell),
			[]string{`provider {"protocol":"chat","choice":{"delta":{"reasoning_details":[{"text":"r"}]},"logprobs":{"content":[{"token":"a","logprob":-0.10}]}}}`, "reasoning r", "text a",
				`provider {"protocol":"chat","choice":{"delta":{"annotations":[]},"native_finish_reason":"STOP"}}`, "finish stop"}},
		{"of both", stream(`{"x":1,"choices":[{"delta":{"y":2,"content":"a"}}]}`, stop, farewell),
			[]string{`provider {"protocol":"chat","fields":{"x":1}}`, `provider {"protocol":"chat","choice":{"delta":{"y":2}}}`, "text a", "finish stop"}},
		{"of the usage", stream(content(`"a"`),
			`{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8,"cost":0.1}}`, stop,
			`{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"cost":0.20,"prompt_tokens_details":{"cached_tokens":3}}}`, farewell),
			[]string{"text a", "usage 7 1 reported", "usage 7 2 reported",
				`provider {"protocol":"chat","usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"cost":0.20,"prompt_tokens_details":{"cached_tokens":3}}}`, "finish stop"}},
		{"without a farewell", stream(content(`"a"`), stop, `{"choices":[],"usage":{"x":1}}`),
			[]string{"text a", `provider {"protocol":"chat","usage":{"x":1}}`, "finish stop"}},
		{"halves of characters", stream(`{"x":{"b":"\ud83d\ude00 \ud83d","n":12345678901234567890,"a":"\udc69"},"y":"`+"\xff"+`","choices":[{"delta":{"content":"a"}}]}`, stop, farewell),
			[]string{`provider {"protocol":"chat","fields":{"x":{"a":"` + "\ufffd" + `","b":"😀 ` + "\ufffd" + `","n":12345678901234567890},"y":"` + "\ufffd" + `"}}`, "text a", "finish stop"}},
		{"half in the text", stream(`{"choices":[{"delta":{"content":"a\ud83d"},"logprobs":1}]}`, `{"choices":[{"delta":{"content":"\ude00"},"logprobs":2}]}`, stop, farewell),
			[]string{`provider {"protocol":"chat","choice":{"logprobs":1}}`, "text a", `provider {"protocol":"chat","choice":{"logprobs":2}}`, "text 😀", "finish stop"}},
		{"too large", stream(`{"x":"`+strings.Repeat("x", session.MaxFrame)+`","choices":[{"delta":{"content":"a"}}]}`, stop, farewell),
			[]string{"text a", "finish stop"}},
		{"error", stream(`{"x":1,"error":{"message":"m"}}`),
			[]string{"failure upstream_error: m"}},
		{"other JSON", stream(`{"choices":{},"x":1}`), []string{notJSON}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, upstream.Config{Limits: once}, upstream.Options{}, answer(test.body, false))
				for _, dialect := range []session.Dialect{session.DialectChat, session.DialectNative, session.DialectResponses} {
					source, err := set.Open(asked(dialect, `[{"role":"user","content":"Hi"}]`, ""))
					if err != nil {
						t.Fatal(err)
					}
					got, want := deltas(t, source, false), test.want
					if dialect != session.DialectChat {
						want = slices.DeleteFunc(slices.Clone(want), func(d string) bool { return strings.HasPrefix(d, "provider ") })
					}
					if !slices.Equal(got, want) {
						t.Errorf("dialect %q:\n got %q\nwant %q", dialect, got, want)
					}
				}
			})
		})
	}
}

// However many fields a provider makes up, so many are kept.
func TestExtrasAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var chunks []string
		for i := range 1000 {
			chunks = append(chunks, fmt.Sprintf(`{"choices":[],"x%d":1}`, i))
		}
		set := newSet(t, upstream.Config{}, upstream.Options{}, answer(stream(append(chunks, stop, farewell)...), false))
		source, err := set.Open(asked(session.DialectChat, `[{"role":"user","content":"Hi"}]`, ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(deltas(t, source, false)); got != 64+1 {
			t.Errorf("%d deltas, want 64 fields and the end", got)
		}
	})
}

// A session of a provider with fields of its own has them in its log, and its
// text is cut as that of one without.
func TestExtrasReachSession(t *testing.T) {
	for _, policy := range []session.OnPause{"", session.Hold, session.Release} {
		for _, unit := range []chunker.Unit{chunker.Token, chunker.Delta} {
			t.Run(string(policy)+" "+string(unit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					slow := upstreamtest.Behavior{Size: 50, Between: time.Second}
					mock := upstreamtest.New(upstreamtest.Options{Default: slow})
					manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: mockSet(t, upstream.Config{}, mock)})
					if err != nil {
						t.Fatal(err)
					}
					go manager.Run(t.Context())
					whole := upstreamtest.Text(prompt)
					pieces := (len([]rune(whole)) + 49) / 50
					frames := func(policy session.OnPause) (texts []string, own map[string]int) {
						s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
							Unit: unit, OnPause: policy, Source: asked(session.DialectChat, `[{"role":"user","content":"Hi"}]`, ""),
						})
						if err != nil {
							t.Fatal(err)
						}
						if policy != "" {
							time.Sleep(5500 * time.Millisecond)
							if err := s.Pause(t.Context()); err != nil {
								t.Fatal(err)
							}
							time.Sleep(5 * time.Second)
							if err := s.Resume(t.Context()); err != nil {
								t.Fatal(err)
							}
						}
						time.Sleep(time.Duration(pieces+10) * time.Second)
						return framesOf(t, s)
					}
					plain, _ := frames("")
					slow.Extra = upstreamtest.Extra{Chunk: `"system_fingerprint":"fp"`, Choice: `"logprobs":{"content":["\ud83d"]}`, Delta: `"annotations":null`, Usage: `"cost":0.5`}
					mock.Script(prompt, slow)
					got, own := frames(policy)
					if text := strings.Join(got, ""); text != whole {
						t.Errorf("text has %d bytes, want %d", len(text), len(whole))
					}
					if unit != chunker.Delta && !slices.Equal(got, plain) {
						t.Errorf("the text is cut as %q, want %q", got, plain)
					}
					generations := 1
					if policy == session.Release {
						generations = 2
					}
					logprobs := own[`{"protocol":"chat","choice":{"logprobs":{"content":["�"]}}}`]
					if logprobs < pieces || logprobs > pieces+generations-1 {
						t.Errorf("%d frames with logprobs, want %d", logprobs, pieces)
					}
					if n := own[`{"protocol":"chat","fields":{"system_fingerprint":"fp"}}`]; n != generations {
						t.Errorf("%d frames with the fingerprint, want %d", n, generations)
					}
					if len(own) != 3 {
						t.Errorf("provider frames: %v", own)
					}
				})
			})
		}
	}
}

// framesOf returns the texts of an ended session, and how often each payload of
// a provider's own is there.
func framesOf(t *testing.T, s *session.Session) (texts []string, own map[string]int) {
	t.Helper()
	if status := s.Status(); status.State != session.Done {
		t.Fatalf("state %s, want done", status.State)
	}
	r, err := s.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	own = make(map[string]int)
	for {
		w, more, err := r.Next(t.Context(), 0)
		if err != nil || more != nil {
			return texts, own
		}
		for f := range w.Frames() {
			switch f.Kind {
			case session.KindText:
				texts = append(texts, f.Text())
			case session.KindProvider:
				own[string(f.Data)]++
			}
		}
	}
}

// Whatever a provider sends beside the text, what is made of it is one line of
// JSON.
func FuzzExtras(f *testing.F) {
	f.Add(`"x":1`, `"logprobs":{"content":[{"token":"\ud83d","bytes":[1]}]}`, `"annotations":["\u2028\n"]`, `"cost":1e400`)
	f.Add(`"\ud83d":null,"choices":1`, `"delta":{"x":"\\ud83d"}`, `"tool_calls":[]`, ``)
	f.Fuzz(func(t *testing.T, chunk, choice, delta, usage string) {
		set := newSet(t, upstream.Config{Limits: once}, upstream.Options{}, answer(stream(
			strings.ReplaceAll(`{"choices":[{"delta":{`+delta+`},`+choice+`}],`+chunk+`}`, "\n", " "),
			strings.ReplaceAll(`{"choices":[],"usage":{`+usage+`}}`, "\n", " "), stop, farewell), false))
		source, err := set.Open(asked(session.DialectChat, `[{"role":"user","content":"Hi"}]`, ""))
		if err != nil {
			t.Fatal(err)
		}
		for d := range source.Deltas(t.Context(), session.Position{}) {
			if d.Kind == session.DeltaProvider && (!json.Valid([]byte(d.Text)) || !utf8.ValidString(d.Text) || strings.Contains(d.Text, "\n") || !strings.HasPrefix(d.Text, `{"protocol":"chat","`)) {
				t.Errorf("payload %q", d.Text)
			}
		}
	})
}
