package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
)

// What a source was given is shown as it was given, live and ended, and while
// nothing can be committed.
func TestSource(t *testing.T) {
	for given, want := range map[string]string{
		`{"type":"text","text":"<a> & \u2028 \"b\" \u00e9\n"}`: `{"type":"text","text":"<a> & \u2028 \"b\" é\n"}`,
		`{"type":"text","text":""}`:                            ``,
		`{"type":"push"}`:                                      ``,
		`{"type":"generate"}`:                                  `{"type":"generate","prompt":"","seed":0,"length":0}`,
		`{"type":"generate","prompt":"tides","seed":18446744073709551615,"length":3}`:                                                  ``,
		`{"type":"upstream","model":"m","messages":[{"role":"system","content":"a"},  {"role":"user","content":"tides", "more":1.0}]}`: ``,
		`{"type":"upstream","model":"m","messages":[{"role":"user","content":"tides"}],"parameters":{"temperature":0.20}}`:             ``,
		`{"type":"upstream","model":"m","dialect":"chat","messages":[{"role":"user","content":"tides"}],"parameters":{"n":1}}`:         ``,
		`{"type":"upstream","model":"m","dialect":"responses","messages":[{"role":"user","content":"tides"}]}`:                         ``,
	} {
		if want == "" {
			want = given
		}
		synctest.Test(t, func(t *testing.T) {
			st := &sessiontest.Faulty{Store: memstore.New()}
			b := startUpstreamRelay(t, options{store: st}, upstream.Config{})
			path := b.relay.create(fmt.Sprintf(`{"source":%s}`, given))
			for _, when := range [...]string{"live", "ended", "while nothing can be committed"} {
				a := b.ask("GET", path+"/source", "")
				var got bytes.Buffer
				got.ReadFrom(a.Body)
				if a.StatusCode != http.StatusOK || got.String() != want+"\n" || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s, source = %d %s %v; want %s", when, a.StatusCode, &got, a.Header, want)
				}
				switch when {
				case "live":
					b.do("POST", path+"/stop", "")
					time.Sleep(time.Hour) // out of memory
				case "ended":
					st.Fail(session.ErrStore)
				}
			}
			st.Fail(nil)
		})
	}
}

// Who asks with what is shown asks the provider the same, whichever protocol the
// session was made through.
func TestSourceAsksTheSame(t *testing.T) {
	parameters := `"temperature":0.5,"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]`
	for name, ask := range map[string][2]string{
		"native": {"/v1/sessions", `{"source":{"type":"upstream","model":"m","messages":[{"role":"user","content":"tides"}],"parameters":{"temperature":0.5}}}`},
		"chat":   {"/v1/chat/completions", completion("m", `,"stream":true,`+parameters)},
		"ui":     {"/api/chat", uiAsks(`,"model":"m",` + parameters)},
		"responses": {"/v1/responses", `{"model":"m","stream":true,"instructions":"Be brief.","max_output_tokens":50,` +
			`"input":[{"role":"user","content":[{"type":"input_text","text":"tides"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"},{"role":"user","content":"tides"}]}`},
	} {
		for _, protocol := range []upstream.Protocol{upstream.Chat, upstream.Responses, upstream.Anthropic} {
			synctest.Test(t, func(t *testing.T) {
				b := startUpstreamRelay(t, options{}, upstream.Config{Protocol: protocol})
				made := b.ask("POST", ask[0], ask[1])
				if made.StatusCode >= 300 {
					t.Fatalf("%s for %s: %d", name, protocol, made.StatusCode)
				}
				id := made.Header.Get("X-Tokenrelay-Session")
				if id == "" {
					id = strings.TrimPrefix(made.Header.Get("Location"), "/v1/sessions/")
				}
				first := b.next()
				_, source := b.do("GET", "/v1/sessions/"+id+"/source", "")
				path := b.relay.create(`{"source":` + source + `}`)
				if second := b.next(); string(second.Body) != string(first.Body) || second.Path != first.Path {
					t.Errorf("%s for %s: the provider was asked %s, and then %s", name, protocol, first.Body, second.Body)
				}
				if _, again := b.do("GET", path+"/source", ""); again != source {
					t.Errorf("%s for %s: source = %s, and then %s", name, protocol, source, again)
				}
			})
		}
	}
}

// The generator too: the same seed, whichever protocol set it.
func TestSourceOfTheGenerator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		a := w.ask("POST", "/v1/chat/completions", completion(server.DemoModel, `,"seed":7,"tokenrelay":{"length":3}`))
		if _, got := w.do("GET", "/v1/sessions/"+a.Header.Get("X-Tokenrelay-Session")+"/source", ""); got != `{"type":"generate","prompt":"tides","seed":7,"length":3}`+"\n" {
			t.Errorf("source = %s", got)
		}
	})
}

// A session that continues another shows the question, and not the answer that
// it goes on from.
func TestSourceOfAContinuation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		b.provider.Script("tides", slow)
		path := b.create("tides", "")
		time.Sleep(time.Second)
		b.do("POST", path+"/stop", "")
		_, want := b.do("GET", path+"/source", "")
		next := b.ask("POST", path+"/continue", "").Header.Get("Location")
		if _, got := b.do("GET", next+"/source", ""); got != want || !strings.Contains(want, `"content":"tides"`) {
			t.Errorf("source of a continuation = %s, want %s", got, want)
		}
	})
}

func TestSourceErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{server: server.Options{MaxProjected: 20 << 10}})
		small := w.create(`{"source":{"type":"text","text":"abc"},"retain":"10m"}`)
		large := w.create(fmt.Sprintf(`{"source":{"type":"text","text":%q}}`, strings.Repeat("x", 40<<10)))
		deleted := w.create(`{"source":{"type":"text","text":"abc"}}`)
		w.do("DELETE", deleted, "")
		check := func(method, path string, status int, code string) {
			t.Helper()
			if a := w.ask(method, path, ""); a.StatusCode != status || errorCode(a) != code {
				t.Errorf("%s %s = %d, want %d %s", method, path, a.StatusCode, status, code)
			}
		}
		check("GET", small+"/source?messages=1", 400, "invalid_parameter")
		check("POST", small+"/source", 405, "method_not_allowed")
		check("GET", "/v1/sessions/x/source", 404, "session_not_found")
		check("GET", "/v1/sessions/"+session.NewID().String()+"/source", 404, "session_not_found")
		check("GET", deleted+"/source", 410, "session_deleted")
		check("GET", large+"/source", 429, "overloaded")
		if got := w.projected(); got != "0" {
			t.Errorf("%s bytes are kept, want 0", got)
		}
		time.Sleep(11 * time.Minute)
		check("GET", small+"/source", 410, "session_expired")
		if status, body := w.do("POST", "/v1/sessions", `{"source":{"type":"upstream","model":"tides","dialect":"morse","messages":[{"role":"user","content":"a"}]}}`); status != 400 || !strings.Contains(body, `"field":"source.dialect"`) {
			t.Errorf("an unknown dialect = %d %s", status, body)
		}
	})
}

// What is shown of a source is read as that source again.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		`{"type":"text","text":"\u2028\u0000<"}`, `{"type":"push"}`, `{"type":"generate","prompt":"p","seed":1,"length":2}`,
		`{"type":"upstream","model":"m\"","dialect":"chat","messages":[ {"a":1.50} ],"parameters":{}}`, `{"type":"upstream","messages":null,"parameters":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		given, err := server.DecodeSource(data)
		switch given.Type {
		case session.SourceText, session.SourceGenerate, session.SourcePush:
		case session.SourceUpstream:
			if !bytes.HasPrefix(given.Messages, []byte("[")) {
				return // there is no such session
			}
		default:
			return
		}
		if err != nil {
			return
		}
		shown := server.ShowSource(given)
		if again, err := server.DecodeSource(shown); err != nil || !reflect.DeepEqual(again, given) || !json.Valid(shown) {
			t.Errorf("%s is shown as %s, which is %+v, %v; want %+v", data, shown, again, err, given)
		}
	})
}
