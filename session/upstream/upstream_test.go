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
		{"no name", []upstream.Config{{BaseURL: good.BaseURL}}, `upstream 1: name: must be`},
		{"name with a slash", []upstream.Config{with(func(c *upstream.Config) { c.Name = "a/b" })}, `upstream a/b: name: must be`},
		{"name too long", []upstream.Config{with(func(c *upstream.Config) { c.Name = strings.Repeat("x", 65) })}, "name: must be"},
		{"no address", []upstream.Config{{Name: "a"}}, "upstream a: base_url: must be such as"},
		{"no scheme", []upstream.Config{base("a.test/v1")}, "upstream a: base_url: must be such as"},
		{"other scheme", []upstream.Config{base("ftp://a.test/v1")}, "upstream a: base_url: must be such as"},
		{"no host", []upstream.Config{base("https:///v1")}, "upstream a: base_url: must be such as"},
		{"query", []upstream.Config{base("https://a.test/v1?key=secret")}, "upstream a: base_url: must be such as"},
		{"fragment", []upstream.Config{base("https://a.test/v1#secret")}, "upstream a: base_url: must be such as"},
		{"user", []upstream.Config{base("https://user:secret@a.test/v1")}, "upstream a: base_url: must be such as"},
		{"no URL", []upstream.Config{base("https://a.test:secret/")}, "upstream a: base_url: must be such as"},
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
		{"bare name of two: the first", two, "both", message, "a.test both"},
		{"bare name, not listed", two, "x", message, "source.model"},
		{"provider alone", two, "a/", message, "source.model"},
		{"other provider", two, "c/m", message, "source.model"},
		{"only provider takes any", one, "x", message, "a.test x"},
		{"only provider takes any with a slash", one, "org/x", message, "a.test org/x"},
		{"no provider", nil, "a/m", message, "source.type"},
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
