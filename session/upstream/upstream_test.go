package upstream_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
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
	good := upstream.Config{Name: "a", BaseURL: "https://a.test/v1"}
	with := func(change func(*upstream.Config)) upstream.Config {
		c := good
		change(&c)
		return c
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
		{"two of a name", []upstream.Config{good, good}, "upstream a: there are two"},
		{"no name", []upstream.Config{{BaseURL: good.BaseURL}}, `upstream "": name`},
		{"name with a slash", []upstream.Config{with(func(c *upstream.Config) { c.Name = "a/b" })}, `upstream "a/b": name`},
		{"name too long", []upstream.Config{with(func(c *upstream.Config) { c.Name = strings.Repeat("x", 65) })}, "name must be"},
		{"no address", []upstream.Config{{Name: "a"}}, "upstream a: base_url"},
		{"no scheme", []upstream.Config{base("a.test/v1")}, "upstream a: base_url"},
		{"other scheme", []upstream.Config{base("ftp://a.test/v1")}, "upstream a: base_url"},
		{"no host", []upstream.Config{base("https:///v1")}, "upstream a: base_url"},
		{"query", []upstream.Config{base("https://a.test/v1?key=secret")}, "upstream a: base_url"},
		{"fragment", []upstream.Config{base("https://a.test/v1#secret")}, "upstream a: base_url"},
		{"user", []upstream.Config{base("https://user:secret@a.test/v1")}, "upstream a: base_url"},
		{"no URL", []upstream.Config{base("https://a.test:secret/")}, "upstream a: base_url"},
		{"key not set", []upstream.Config{with(func(c *upstream.Config) { c.KeyEnv = "TEST_UPSTREAM_NONE" })}, "TEST_UPSTREAM_NONE"},
		{"key empty", []upstream.Config{with(func(c *upstream.Config) { c.KeyEnv = "TEST_UPSTREAM_EMPTY" })}, "TEST_UPSTREAM_EMPTY"},
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
				set, err := upstream.New(test.configs, upstream.Options{})
				if err != nil {
					t.Fatal(err)
				}
				got := "nobody was asked"
				connect(t, set, func(w http.ResponseWriter, r *http.Request) {
					var body struct{ Model string }
					data, _ := io.ReadAll(r.Body)
					json.Unmarshal(data, &body)
					got = r.Host + " " + body.Model
					if r.Header.Get("Authorization") != "" {
						t.Error("there is no key, but one was sent")
					}
					answer(whole, false)(w, r)
				})
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
