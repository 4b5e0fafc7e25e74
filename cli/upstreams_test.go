package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"tokenrelay/session/upstream"
)

func TestUpstreams(t *testing.T) {
	want := upstreamFlags{
		{Name: "a", BaseURL: "https://a.test/v1", KeyEnv: "A_KEY", Models: []string{"m", "org/n:free"}},
		{Name: "b", BaseURL: "http://b.test"},
	}
	const file = `
upstream:
  - name: a
    base_url: https://a.test/v1
    key_env: A_KEY
    model: [m, "org/n:free"]
  - {name: b, base_url: http://b.test}
`
	every := upstreamFlags{{
		Name: "c", Protocol: upstream.Responses, BaseURL: "http://c.test", KeyFile: "/run/c.key", Models: []string{"m"},
		Background: true, Continuation: "message",
		Limits: upstream.Limits{
			Connect: time.Second, Header: 2 * time.Second, FirstToken: 3 * time.Second, Idle: 4 * time.Second, Total: 5 * time.Minute, Bytes: 6 << 10, Retries: 7,
		},
	}}
	const everyFlag = "name=c,protocol=responses,base_url=http://c.test,key_file=/run/c.key,model=m,background=true,continuation=message," +
		"connect=1s,header=2s,first_token=3s,idle=4s,total=5m,max_bytes=6KiB,retries=7"
	everyKey := "upstream:\n- " + strings.ReplaceAll(strings.ReplaceAll(everyFlag, "=", ": "), ",", "\n  ")
	none := upstreamFlags{{Name: "d", Limits: upstream.Limits{Retries: -1}}}
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want upstreamFlags
	}{
		{"flags", []string{"--upstream", "name=a,base_url=https://a.test/v1,key_env=A_KEY,model=m,model=org/n:free", "--upstream=name=b,base_url=http://b.test"}, nil, "", want},
		{"file", nil, nil, file, want},
		{"file, not a list", nil, nil, "upstream: {name: b, base_url: http://b.test}", want[1:]},
		{"file, one model", nil, nil, "upstream: [{name: b, base_url: http://b.test, model: m}]", upstreamFlags{{Name: "b", BaseURL: "http://b.test", Models: []string{"m"}}}},
		{"file, merged", nil, nil, "upstream:\n- &b {name: b, base_url: http://b.test}\n- {<<: *b, name: c}", upstreamFlags{want[1], {Name: "c", BaseURL: "http://b.test"}}},
		{"variable over file", nil, map[string]string{"TOKENRELAY_UPSTREAM": "name=b,base_url=http://b.test"}, file, want[1:]},
		{"flag over file", []string{"--upstream=name=b,base_url=http://b.test"}, nil, file, want[1:]},
		{"every key of a flag", []string{"--upstream", everyFlag}, nil, "", every},
		{"every key of the file", nil, nil, everyKey, every},
		{"no tries again", []string{"--upstream=name=d,retries=0"}, nil, "", none},
		{"no tries again by the file", nil, nil, "upstream: {name: d, retries: 0}", none},
		{"parameters", nil, nil, "upstream: {name: d, retries: 0, parameters: {max_tokens: 4096, top_p: 0.5, stop: [a, b], deep: {x: null}}}", upstreamFlags{{
			Name: "d", Limits: none[0].Limits,
			Parameters: map[string]any{"max_tokens": uint64(4096), "top_p": 0.5, "stop": []any{"a", "b"}, "deep": map[string]any{"x": nil}},
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := configure(t, append([]string{"serve"}, test.args...), test.env, test.file)
			if err != nil || !reflect.DeepEqual(c.Serve.Upstream, test.want) {
				t.Errorf("got  %+v, error %v\nwant %+v", c.Serve.Upstream, err, test.want)
			}
		})
	}
}

// A mistake is told with the name of the upstream, its key and, in the file,
// its line.
func TestBadUpstreams(t *testing.T) {
	const keys = "it has name, protocol, base_url, key_env, key_file, model, background, continuation, parameters, connect, header, first_token, idle, total, max_bytes, retries"
	for _, test := range []struct{ name, flag, file, want string }{
		{"nothing", "", "", "--upstream: \"\" is not key=value"},
		{"no pairs", "openai", "", `--upstream: "openai" is not key=value, as in name=openai,`},
		{"key", "name=a,url=b", "name: a\nurl: b", "upstream a: url: an upstream has no such key: " + keys},
		{"key in upper case", "name=a,Model=b", "name: a\nModel: b", "upstream a: Model: an upstream has no such key"},
		{"protocol", "protocol=respones,name=openai", "protocol: respones\nname: openai", `upstream openai: protocol: "respones" is none of chat, responses, anthropic, ollama`},
		{"protocol of no name", "protocol=x", "protocol: x", `upstream 1: protocol: "x" is none of`},
		{"continuation", "name=a,continuation=anew", "name: a\ncontinuation: anew", `upstream a: continuation: "anew" is none of prefill, message`},
		{"empty", "name=a,key_env=", "name: a\nkey_env:", "upstream a: key_env: must be text, not nothing"},
		{"number for text", "", "name: 7", "upstream 1: name: must be text, not 7"},
		{"list for text", "", "name: [a, b]", "upstream 1: name: must be text, not a list"},
		{"twice", "name=a,name=b", "", "upstream a: name: is given twice"},
		{"background", "name=a,background=yes", "", "upstream a: background: must be true or false, not yes"},
		{"background in quotes", "", "name: a\nbackground: \"true\"", `upstream a: background: must be true or false, not "true"`},
		{"duration without unit", "name=a,idle=10", "", "upstream a: idle: must be a duration with its unit, such as 90s, not 10"},
		{"number for a duration", "", "name: a\nidle: 10", "upstream a: idle: must be a duration with its unit, such as 90s, not 10"},
		{"map for a duration", "", "name: a\nidle: {s: 1}", "upstream a: idle: must be a duration with its unit, such as 90s, not a map"},
		{"no time", "name=a,total=0s", "name: a\ntotal: 0s", "upstream a: total: must be more than 0"},
		{"negative time", "name=a,connect=-1s", "name: a\nconnect: -1s", "upstream a: connect: must be more than 0"},
		{"no bytes", "name=a,max_bytes=0", "name: a\nmax_bytes: 0", "upstream a: max_bytes: must be 1 or more"},
		{"bytes with a unit", "name=a,max_bytes=1MB", "", "upstream a: max_bytes: wants bytes, as in 1048576, 64KiB, 1MiB or 1GiB, not 1MB"},
		{"bytes with a unit in the file", "", "name: a\nmax_bytes: 1MB", `upstream a: max_bytes: wants bytes, as in 1048576, 64KiB, 1MiB or 1GiB, not "1MB"`},
		{"retries", "name=a,retries=-1", "name: a\nretries: -1", "upstream a: retries: must be 0 or more"},
		{"half a retry", "name=a,retries=1.5", "name: a\nretries: 1.5", "upstream a: retries: must be a number, not 1.5"},
		{"number in quotes", "", "name: a\nretries: \"3\"", `upstream a: retries: must be a number, not "3"`},
		{"model", "name=a,model=b;c", "name: a\nmodel: b;c", `upstream a: model: "b;c" is no model's name`},
		{"model that is a number", "", "name: a\nmodel: [b, 7]", "upstream a: model: must be text, not 7"},
		{"parameters of a flag", "name=a,parameters=b", "", "upstream a: parameters: only the configuration file can have them"},
		{"parameters", "", "name: a\nparameters: [b]", "upstream a: parameters: must be a map, not a list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.flag != "" || test.file == "" {
				_, err := configure(t, []string{"serve", "--upstream", test.flag}, nil, "")
				if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "line") {
					t.Errorf("flag: error %v, want %s", err, test.want)
				}
			}
			if test.file == "" {
				return
			}
			lines := strings.Split(test.file, "\n")
			_, err := configure(t, []string{"serve"}, nil, "upstream:\n- "+strings.Join(lines, "\n  "))
			line := " (line 2)"
			if len(lines) > 1 && !strings.HasPrefix(test.want, "upstream openai") {
				line = " (line 3)"
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasSuffix(err.Error(), line) {
				t.Errorf("file: error %v, want %s%s", err, test.want, line)
			}
		})
	}
	for file, want := range map[string]string{
		"upstream: openai":                    "upstream: wants a list, each item with a dash, name, base_url and others (line 1)",
		"\nupstream: {openai: {base_url: b}}": "upstream: wants a list, each item with a dash, name, base_url and others (line 2)",
		"upstream: {name: a, idle: {a: b}}":   "upstream a: idle: must be a duration with its unit, such as 90s, not a map (line 1)",
		"\nupstream: [{name: a}, b]":          "upstream 2: must be a map with name, base_url and others (line 2)",
		"upstream: {name: a, url: b}":         "upstream a: url: an upstream has no such key",
	} {
		if _, err := configure(t, []string{"serve"}, nil, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", file, err, want)
		}
	}
}

// What only shows when it is tried ends with status 1.
func TestBadProviders(t *testing.T) {
	folder := t.TempDir()
	empty, lines := filepath.Join(folder, "empty"), filepath.Join(folder, "lines")
	for path, content := range map[string]string{empty: "\n", lines: "sk-1\nsk-2\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const a = "name=a,base_url=http://a.test"
	for _, test := range []struct {
		name  string
		flags []string
		want  string
	}{
		{"no name", []string{"base_url=http://a.test"}, "upstream 1: name: is missing"},
		{"address", []string{"name=a,base_url=a.test"}, "upstream a: base_url: \"a.test\" has no scheme"},
		{"no address", []string{"name=a"}, "upstream a: base_url: is missing"},
		{"no variable", []string{a + ",key_env=TEST_NO_SUCH_KEY"}, "upstream a: key_env: the environment variable TEST_NO_SUCH_KEY is not set"},
		{"no file", []string{a + ",key_file=/nonexistent/a.key"}, "upstream a: key_file: open /nonexistent/a.key: no such file or directory"},
		{"empty file", []string{a + ",key_file=" + empty}, "upstream a: key_file: the file " + empty + " is empty"},
		{"file with two keys", []string{a + ",key_file=" + lines}, "upstream a: key_file: the file " + lines + " holds blanks, line ends or other characters that no key has"},
		{"two keys", []string{a + ",key_file=" + lines + ",key_env=A_KEY"}, "upstream a: key_file: there is a key_env too"},
		{"two of a name", []string{a, "name=b,base_url=http://b.test", a}, "upstream a: name: there are two of that name"},
		{"background", []string{a + ",background=true"}, "upstream a: background: only the protocol responses has it"},
		{"prefill", []string{a + ",protocol=responses,continuation=prefill"}, "upstream a: continuation: the protocol responses has no prefill"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cleanEnv(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			args := []string{"serve"}
			for _, flag := range test.flags {
				args = append(args, "--upstream", flag)
			}
			var complaint bytes.Buffer
			status := run(ctx, args, streams{out: io.Discard, err: &complaint})
			if got := complaint.String(); status != 1 || !strings.Contains(got, test.want) || strings.Contains(got, "sk-") {
				t.Errorf("status %d and %q, want 1 and %q", status, got, test.want)
			}
		})
	}
}

// A model that no upstream could serve is refused before there is a chat.
func TestChatModel(t *testing.T) {
	const a, b = "--upstream=name=a,base_url=http://a.test,model=m", "--upstream=name=b,base_url=http://b.test,model=m"
	for _, test := range []struct {
		args []string
		want string // empty if it is accepted
	}{
		{[]string{"--chat-model=nope"}, `--chat-model: there is no model "nope": this relay has no upstream: add one with --upstream, or name demo,`},
		{[]string{a, b, "--chat-model=nope"}, `--chat-model: no upstream has "nope": name it as one of a, b`},
		{[]string{a, b, "--chat-model=m"}, `--chat-model: two upstreams list "m"`},
		{[]string{a, b, "--chat-model=b/nope"}, ""},
		{[]string{a, "--chat-model=nope"}, ""}, // it may have more than it lists
		{[]string{"--chat-model=demo"}, ""},
	} {
		cleanEnv(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var complaint bytes.Buffer
		status := run(ctx, append([]string{"serve", "--listen=127.0.0.1:0", "--durability=memory"}, test.args...), streams{out: io.Discard, err: &complaint})
		if got := complaint.String(); (status == 1) != (test.want != "") || !strings.Contains(got, test.want) {
			t.Errorf("%q: status %d and %q, want %q", test.args, status, got, test.want)
		}
	}
}

// What only shows when it is tried is told with its line too, if it has one.
func TestBadProvidersOfFile(t *testing.T) {
	folder := t.TempDir()
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "upstream:\n- {name: a, base_url: http://a.test}\n- name: b\n"
	for _, test := range []struct{ name, file, want string }{
		{"address", head + "  base_url: b.test", "must be such as https://api.openai.com/v1 (line 4)"},
		{"no address", head + "  model: m", "upstream b: base_url: is missing (line 3)"},
		{"key", head + "  base_url: http://b.test\n  key_file: /nonexistent/b.key", "no such file or directory (line 5)"},
		{"key that nobody writes", head + "  base_url: http://b.test\n  key_file: " + fifo, "upstream b: key_file: " + fifo + " is no regular file (line 5)"},
		{"key of a device", head + "  base_url: http://b.test\n  key_file: /dev/zero", "upstream b: key_file: /dev/zero is no regular file (line 5)"},
		{"key of a folder", head + "  base_url: http://b.test\n  key_file: " + folder, "upstream b: key_file: " + folder + " is no regular file (line 5)"},
		{"parameters", head + "  base_url: http://b.test\n  parameters:\n    top_p: 1\n    model: m", "upstream b: parameters: model: is set by the relay (line 6)"},
		{"two of a name", head + "  base_url: http://b.test\n- base_url: http://c.test\n  name: a", "upstream a: name: there are two of that name (line 6)"},
		{"one map", "upstream:\n  name: a\n  base_url: x", "must be such as https://api.openai.com/v1 (line 3)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "relay.yaml")
			if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			cleanEnv(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var complaint bytes.Buffer
			status := run(ctx, []string{"serve", "--config", path}, streams{out: io.Discard, err: &complaint})
			if got := complaint.String(); status != 1 || !strings.HasSuffix(strings.TrimSpace(got), test.want) {
				t.Errorf("status %d and %q, want 1 and %q", status, got, test.want)
			}
		})
	}
	// A flag stands in no line, whatever the file has.
	path := filepath.Join(folder, "relay.yaml")
	if err := os.WriteFile(path, []byte(head+"  base_url: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cleanEnv(t)
	var complaint bytes.Buffer
	run(t.Context(), []string{"serve", "--config", path, "--upstream=name=a,base_url=x"}, streams{out: io.Discard, err: &complaint})
	if got := complaint.String(); !strings.Contains(got, "upstream a: base_url") || strings.Contains(got, "line") {
		t.Errorf("got %q, want no line", got)
	}
}

// The log tells what there is, and no key.
func TestUpstreamsAreLogged(t *testing.T) {
	cleanEnv(t)
	t.Setenv("A_KEY", "sk-secret")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log bytes.Buffer
	run(ctx, []string{"serve", "--listen=127.0.0.1:0", "--durability=memory", "--upstream=name=a,base_url=http://a.test,key_env=A_KEY,model=m,model=n", "--upstream=name=b,protocol=ollama,base_url=http://b.test:11434"},
		streams{out: io.Discard, err: &log})
	for _, want := range []string{"msg=upstream name=a protocol=chat host=a.test key=true models=2\n", "msg=upstream name=b protocol=ollama host=b.test:11434 key=false models=0\n"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log = %s, want %s in it", &log, want)
		}
	}
	if strings.Contains(log.String(), "sk-") || strings.Contains(log.String(), "A_KEY") {
		t.Errorf("log = %s: it tells of the key", &log)
	}
}

// The samples of the documentation are taken.
func TestDocumentedUpstreams(t *testing.T) {
	for file, want := range map[string]int{"../README.md": 2, "../docs/operations.md": 4} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
			sample, _, _ := strings.Cut(block, "```")
			if !strings.Contains(sample, "upstream:\n") {
				continue
			}
			c, err := configure(t, []string{"serve"}, nil, sample)
			if err != nil {
				t.Errorf("%s: %v in\n%s", file, err, sample)
			}
			for i := range c.Serve.Upstream { // their keys are not here
				c.Serve.Upstream[i].KeyEnv, c.Serve.Upstream[i].KeyFile = "", ""
			}
			if _, err := upstream.New(c.Serve.Upstream, upstream.Options{}); err != nil {
				t.Errorf("%s: %v in\n%s", file, err, sample)
			}
			found += len(c.Serve.Upstream)
		}
		if found != want {
			t.Errorf("%s has %d upstreams, want %d", file, found, want)
		}
	}
}
