package upstream_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

func TestNew(t *testing.T) {
	t.Setenv("TEST_UPSTREAM_KEY", testKey)
	t.Setenv("TEST_UPSTREAM_EMPTY", "")
	t.Setenv("TEST_UPSTREAM_LINES", "secret\nsecret")
	good := upstream.Config{Name: "a", BaseURL: "https://a.test/v1"}
	with := func(change func(*upstream.Config)) upstream.Config {
		c := good
		change(&c)
		return c
	}
	one := func(change func(*upstream.Config)) []upstream.Config { return []upstream.Config{with(change)} }
	limit := func(change func(*upstream.Limits)) []upstream.Config {
		return one(func(c *upstream.Config) { change(&c.Limits) })
	}
	folder := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	base := func(url string) upstream.Config { return with(func(c *upstream.Config) { c.BaseURL = url }) }
	for _, test := range []struct {
		name    string
		configs []upstream.Config
		want    string // in the error; empty for none
	}{
		{"none", nil, ""},
		{"one", []upstream.Config{good}, ""},
		{"slash at the end", []upstream.Config{base("http://127.0.0.1:1234/v1/")}, ""},
		{"no path", []upstream.Config{base("http://[::1]:8000")}, ""},
		{"key", []upstream.Config{with(func(c *upstream.Config) { c.KeyEnv = "TEST_UPSTREAM_KEY" })}, ""},
		{"longest name", []upstream.Config{with(func(c *upstream.Config) { c.Name = strings.Repeat("x", 64) })}, ""},
		{"two", []upstream.Config{good, with(func(c *upstream.Config) { c.Name = "B-_1" })}, ""},
		{"two of a name", []upstream.Config{good, good}, "upstream a: name: there are two"},
		{"no name", []upstream.Config{{BaseURL: good.BaseURL}}, `upstream 1: name: is missing`},
		{"name with a slash", []upstream.Config{with(func(c *upstream.Config) { c.Name = "a/b" })}, `upstream a/b: name: must be`},
		{"name too long", []upstream.Config{with(func(c *upstream.Config) { c.Name = strings.Repeat("x", 65) })}, "name: must be"},
		{"no address", []upstream.Config{{Name: "a"}}, "upstream a: base_url: is missing"},
		{"no scheme", []upstream.Config{base("a.test/v1")}, `upstream a: base_url: "a.test/v1" has no scheme: it must be such as https://api.openai.com/v1`},
		{"no scheme, port", []upstream.Config{base("localhost:8000/v1")}, `upstream a: base_url: "localhost:8000/v1" has no scheme`},
		{"no scheme, address", []upstream.Config{base("127.0.0.1:8000/v1")}, `upstream a: base_url: "127.0.0.1:8000/v1" has no scheme`},
		{"no scheme, user", []upstream.Config{base("user:secret@a.test/v1")}, "upstream a: base_url: has no scheme"},
		{"no scheme, query", []upstream.Config{base("a.test/v1?key=secret")}, "upstream a: base_url: has no scheme"},
		{"other scheme", []upstream.Config{base("ftp://a.test/v1")}, `upstream a: base_url: "ftp://a.test/v1" is neither http nor https`},
		{"other scheme, user", []upstream.Config{base("ftp://user:secret@a.test/v1")}, `upstream a: base_url: "ftp://a.test/v1" is neither http nor https`},
		{"no host", []upstream.Config{base("https:///v1")}, `upstream a: base_url: "https:///v1" has no host`},
		{"port alone", []upstream.Config{base("https://:8000/v1")}, `upstream a: base_url: "https://:8000/v1" has no host`},
		{"query", []upstream.Config{base("https://a.test/v1?key=secret")}, `upstream a: base_url: "https://a.test/v1" has a query`},
		{"empty query", []upstream.Config{base("https://a.test/v1?")}, `upstream a: base_url: "https://a.test/v1" has a query`},
		{"fragment", []upstream.Config{base("https://a.test/v1#secret")}, `upstream a: base_url: "https://a.test/v1" has a fragment`},
		{"user", []upstream.Config{base("https://user:secret@a.test/v1")}, `upstream a: base_url: "https://a.test/v1" has user info: a key goes into key_env or key_file`},
		{"no URL", []upstream.Config{base("https://a.test:secret/")}, "upstream a: base_url: is no URL: it must be such as https://api.openai.com/v1"},
		{"path of the protocol", []upstream.Config{base("https://a.test/v1/chat/completions")}, "upstream a: base_url: ends with /chat/completions, which the relay adds"},
		{"path of the protocol and a slash", []upstream.Config{base("https://a.test/v1/chat/completions/")}, "upstream a: base_url: ends with /chat/completions, which the relay adds"},
		{"path of Responses", one(func(c *upstream.Config) { c.Protocol, c.BaseURL = upstream.Responses, "https://a.test/v1/responses" }), "upstream a: base_url: ends with /responses, which the relay adds"},
		{"path of Anthropic", one(func(c *upstream.Config) { c.Protocol, c.BaseURL = upstream.Anthropic, "https://a.test/v1/messages" }), "upstream a: base_url: ends with /messages, which the relay adds"},
		{"path of Ollama", one(func(c *upstream.Config) { c.Protocol, c.BaseURL = upstream.Ollama, "http://localhost:11434/api/chat" }), "upstream a: base_url: ends with /api/chat, which the relay adds"},
		{"half the path of Ollama", one(func(c *upstream.Config) { c.Protocol, c.BaseURL = upstream.Ollama, "http://localhost:11434/api/" }), "upstream a: base_url: ends with /api, which the relay adds"},
		{"api of another", []upstream.Config{base("https://a.test/api")}, ""},
		{"other word", []upstream.Config{base("https://a.test/my-chat/completions")}, ""},
		{"key itself", one(func(c *upstream.Config) { c.KeyEnv = "sk-secret" }), "upstream a: key_env: is no name of a variable (letters, digits and _), and is not repeated here: it may be the key itself"},
		{"models", one(func(c *upstream.Config) { c.Models = []string{"m", "n"} }), ""},
		{"model twice", one(func(c *upstream.Config) { c.Models = []string{"m", "n", "m"} }), `upstream a: model: "m" is listed twice`},
		{"key not set", one(func(c *upstream.Config) { c.KeyEnv = "TEST_UPSTREAM_NONE" }), "upstream a: key_env: the environment variable TEST_UPSTREAM_NONE is not set"},
		{"key empty", one(func(c *upstream.Config) { c.KeyEnv = "TEST_UPSTREAM_EMPTY" }), "upstream a: key_env: the environment variable TEST_UPSTREAM_EMPTY is not set"},
		{"key of two lines", one(func(c *upstream.Config) { c.KeyEnv = "TEST_UPSTREAM_LINES" }), "upstream a: key_env: the environment variable TEST_UPSTREAM_LINES holds"},
		{"key from two places", one(func(c *upstream.Config) { c.KeyEnv, c.KeyFile = "TEST_UPSTREAM_KEY", file("secret") }), "upstream a: key_file: there is a key_env too"},
		{"key file", one(func(c *upstream.Config) { c.KeyFile = file(" secret\r\n") }), ""},
		{"no key file", one(func(c *upstream.Config) { c.KeyFile = filepath.Join(t.TempDir(), "none") }), "upstream a: key_file: open "},
		{"key file is a directory", one(func(c *upstream.Config) { c.KeyFile = folder }), "upstream a: key_file: " + folder + " is no regular file"},
		{"empty key file", one(func(c *upstream.Config) { c.KeyFile = file("\n") }), "is empty"},
		{"key file of two lines", one(func(c *upstream.Config) { c.KeyFile = file("secret\nsecret") }), "upstream a: key_file: the file "},
		{"key file with other letters", one(func(c *upstream.Config) { c.KeyFile = file("secré") }), "that no key has"},
		{"large key file", one(func(c *upstream.Config) { c.KeyFile = file(strings.Repeat("x", 1<<20)) }), "has more than 16384 bytes"},
		{"protocols", []upstream.Config{
			with(func(c *upstream.Config) { c.Name, c.Protocol, c.Background = "r", upstream.Responses, true }),
			with(func(c *upstream.Config) {
				c.Name, c.Protocol, c.Continuation = "m", upstream.Anthropic, session.ByPrefill
			}),
			with(func(c *upstream.Config) { c.Name, c.Protocol, c.Continuation = "o", upstream.Ollama, session.ByMessage }),
			with(func(c *upstream.Config) { c.Protocol, c.Continuation = upstream.Chat, session.ByPrefill }),
		}, ""},
		{"other protocol", one(func(c *upstream.Config) { c.Protocol = "gemini" }), `upstream a: protocol: "gemini" is none of [chat responses anthropic ollama]`},
		{"background of another protocol", one(func(c *upstream.Config) { c.Protocol, c.Background = upstream.Anthropic, true }), "upstream a: background: only the protocol responses has it"},
		{"other continuation", one(func(c *upstream.Config) { c.Continuation = "guess" }), `upstream a: continuation: "guess" is neither prefill nor message`},
		{"continuation is no setting", one(func(c *upstream.Config) { c.Continuation = session.ByAnew }), `upstream a: continuation: "anew" is neither`},
		{"prefill of Responses", one(func(c *upstream.Config) { c.Protocol, c.Continuation = upstream.Responses, session.ByPrefill }), "upstream a: continuation: the protocol responses has no prefill"},
		{"parameters", one(func(c *upstream.Config) { c.Parameters = map[string]any{"temperature": 0.5, "stop": []string{"."}} }), ""},
		{"parameter without JSON", one(func(c *upstream.Config) { c.Parameters = map[string]any{"f": func() {}} }), "upstream a: parameters: f: "},
		{"parameter that the relay sets", one(func(c *upstream.Config) { c.Parameters = map[string]any{"stream": false} }), "upstream a: parameters: stream: is set by the relay"},
		{"background among the parameters", one(func(c *upstream.Config) {
			c.Protocol, c.Parameters = upstream.Responses, map[string]any{"background": true}
		}), "upstream a: parameters: background: is set by the relay"},
		{"no background among the parameters", one(func(c *upstream.Config) {
			c.Protocol, c.Parameters = upstream.Responses, map[string]any{"background": false}
		}), ""},
		{"connect", limit(func(l *upstream.Limits) { l.Connect = -1 }), "upstream a: connect: must be more than 0"},
		{"header", limit(func(l *upstream.Limits) { l.Header = -1 }), "upstream a: header: must be more than 0"},
		{"first token", limit(func(l *upstream.Limits) { l.FirstToken = -1 }), "upstream a: first_token: must be more than 0"},
		{"idle", limit(func(l *upstream.Limits) { l.Idle = -1 }), "upstream a: idle: must be more than 0"},
		{"total", limit(func(l *upstream.Limits) { l.Total = -1 }), "upstream a: total: must be more than 0"},
		{"bytes", limit(func(l *upstream.Limits) { l.Bytes = -1 }), "upstream a: max_bytes: must be more than 0"},
		{"retries", limit(func(l *upstream.Limits) { l.Retries = -1 }), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, err := upstream.New(test.configs, upstream.Options{})
			switch {
			case test.want == "" && (err != nil || set == nil):
				t.Errorf("error %v, want none", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("error %v tells what may be a secret", err)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	a := upstream.Config{Name: "a", BaseURL: "http://a.test", Models: []string{"m", "org/n", "both"}}
	b := upstream.Config{Name: "b", BaseURL: "http://b.test", Models: []string{"k", "both"}}
	one, two := []upstream.Config{a}, []upstream.Config{a, b}
	const message = `[{"role":"user","content":"Hi"}]`
	for _, test := range []struct {
		name     string
		configs  []upstream.Config
		model    string
		messages string
		want     string // host and model that are asked, or the field of the error
	}{
		{"full name", two, "a/m", message, "a.test m"},
		{"full name, not listed", two, "b/x", message, "b.test x"},
		{"full name with slashes", two, "b/org/x:free", message, "b.test org/x:free"},
		{"bare name", two, "k", message, "b.test k"},
		{"bare name with a slash", two, "org/n", message, "a.test org/n"},
		{"bare name of two", two, "both", message, `source.model two upstreams list "both": name it as a/both or b/both`},
		{"bare name of three", append(two, upstream.Config{Name: "c", BaseURL: "http://c.test", Models: []string{"both"}}), "both", message, `source.model 3 upstreams list "both": name it as a/both, b/both or c/both`},
		{"full name of two", two, "b/both", message, "b.test both"},
		{"bare name, not listed", two, "x", message, "source.model"},
		{"provider alone", two, "a/", message, "source.model"},
		{"other provider", two, "c/m", message, "source.model"},
		{"only provider takes any", one, "x", message, "a.test x"},
		{"only provider takes any with a slash", one, "org/x", message, "a.test org/x"},
		{"no provider", nil, "a/m", message, "source.model"},
		{"no messages", one, "m", ``, "source.messages"},
		{"empty list", one, "m", `[]`, "source.messages"},
		{"no list", one, "m", `{"role":"user"}`, "source.messages"},
		{"list of other things", one, "m", `["Hi"]`, "source.messages"},
		{"broken list", one, "m", `[{`, "source.messages"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := "nobody was asked"
				transport := piped(t, func(w http.ResponseWriter, r *http.Request) {
					var body struct{ Model string }
					data, _ := io.ReadAll(r.Body)
					json.Unmarshal(data, &body)
					got = r.Host + " " + body.Model
					if r.Header.Get("Authorization") != "" {
						t.Error("there is no key, but one was sent")
					}
					answer(whole, false)(w, r)
				})
				set, err := upstream.New(test.configs, upstream.Options{Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				source, err := set.Open(session.SourceSpec{Type: session.SourceUpstream, Model: test.model, Messages: json.RawMessage(test.messages)})
				if invalid, ok := errors.AsType[*session.InvalidError](err); ok {
					got = invalid.Field
					if strings.Contains(test.want, " ") {
						got += " " + invalid.Reason
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					deltas(t, source, false)
				}
				if got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestModels(t *testing.T) {
	set, err := upstream.New([]upstream.Config{
		{Name: "a", BaseURL: "http://a.test", Models: []string{"m", "org/n"}},
		{Name: "b", BaseURL: "http://b.test"},
		{Name: "c", BaseURL: "http://c.test", Models: []string{"m"}},
	}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := set.Models(), []string{"a/m", "a/org/n", "c/m"}; !slices.Equal(got, want) {
		t.Errorf("models %q, want %q", got, want)
	}
}

// A key that anybody on the way can read is warned of.
func TestPlainKey(t *testing.T) {
	t.Setenv("TEST_UPSTREAM_KEY", testKey)
	for address, warns := range map[string]bool{
		"http://api.test/v1": true, "http://8.8.8.8/v1": true, "http://[2001:4860::1]:80/v1": true, "HTTP://api.test": true,
		"https://api.test/v1": false, "http://localhost:8000": false, "http://LOCALHOST.": false, "http://a.localhost": false,
		"http://127.1.2.3:8000/v1": false, "http://[::1]/v1": false, "http://10.0.0.1": false, "http://192.168.1.2": false,
		"http://[fd00::1]": false, "http://169.254.1.1": false, "http://vllm:8000/v1": false,
	} {
		for _, key := range []string{"", "TEST_UPSTREAM_KEY"} {
			log, logger := logged()
			if _, err := upstream.New([]upstream.Config{{Name: "a", BaseURL: address, KeyEnv: key}}, upstream.Options{Logger: logger}); err != nil {
				t.Fatal(err)
			}
			told := strings.Contains(log.String(), `level=WARN msg="upstream gets its key without encryption" upstream=a`)
			if told != (warns && key != "") || strings.Contains(log.String(), testKey) {
				t.Errorf("%s, key %q: log %q", address, key, log)
			}
		}
	}
}
