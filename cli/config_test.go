package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tokenrelay/session"
)

// cleanEnv removes the variables of whoever runs the tests.
func cleanEnv(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "TOKENRELAY_") {
			t.Setenv(name, "") // so that it comes back
			os.Unsetenv(name)
		}
	}
}

// configure parses a command line with these variables and this file.
func configure(t *testing.T, args []string, env map[string]string, file string) (commands, error) {
	t.Helper()
	cleanEnv(t)
	for name, value := range env {
		t.Setenv(name, value)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "relay.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	var c commands
	_, err := newParser(&c, streams{out: io.Discard, err: io.Discard}).Parse(args)
	return c, err
}

func TestPrecedence(t *testing.T) {
	const (
		flag  = "--listen=flag:1"
		env   = "env:1"
		file  = "listen: file:1"
		unset = "127.0.0.1:8080"
	)
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want string
	}{
		{"nothing", nil, nil, "", unset},
		{"file", nil, nil, file, "file:1"},
		{"variable", nil, map[string]string{"TOKENRELAY_LISTEN": env}, "", env},
		{"variable over file", nil, map[string]string{"TOKENRELAY_LISTEN": env}, file, env},
		{"flag over file", []string{flag}, nil, file, "flag:1"},
		{"flag over variable", []string{flag}, map[string]string{"TOKENRELAY_LISTEN": env}, "", "flag:1"},
		{"flag over both", []string{flag}, map[string]string{"TOKENRELAY_LISTEN": env}, file, "flag:1"},
		{"file without it", nil, nil, "retain: 1h", unset},
		{"null in the file", nil, nil, "listen:", unset},
		{"empty file", nil, nil, "# nothing\n", unset},
		{"document with its marks", nil, nil, "# relay\n---\n" + file + "\n...\n", "file:1"},
		{"mark at the end", nil, nil, file + "\n---\n# nothing\n", "file:1"},
		{"version", nil, nil, "%YAML 1.2\n---\n" + file, "file:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := configure(t, append([]string{"serve"}, test.args...), test.env, test.file)
			if err != nil || c.Serve.Listen != test.want {
				t.Errorf("listen %q, error %v, want %q", c.Serve.Listen, err, test.want)
			}
		})
	}
	t.Run("file named by a variable", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "relay.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configure(t, []string{"serve"}, map[string]string{"TOKENRELAY_CONFIG": path}, "")
		if err != nil || c.Serve.Listen != "file:1" {
			t.Errorf("listen %q, error %v, want file:1", c.Serve.Listen, err)
		}
	})
}

// Every option of serve has a default that it takes, and its variable and key
// set the same field.
func TestEveryOption(t *testing.T) {
	c, err := configure(t, []string{"serve"}, nil, "")
	if err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	values := map[reflect.Type][2]string{ // as in variables, and in YAML
		reflect.TypeFor[string]():                 {"host:1", "host:1"},
		reflect.TypeFor[time.Duration]():          {"90s", "1m30s"},
		reflect.TypeFor[int]():                    {"77", "77"},
		reflect.TypeFor[byteSize]():               {"3MiB", "3145728"},
		reflect.TypeFor[logLevel]():               {"warn", "WARN"},
		reflect.TypeFor[session.Level]():          {"process", "process"},
		reflect.TypeFor[session.NoReaderPolicy](): {"stop", "stop"},
		reflect.TypeFor[upstreamFlags]():          {"name=a,base_url=http://a.test,model=m,model=n", "[{name: a, base_url: http://a.test, model: [m, n]}]"},
		reflect.TypeFor[[]string]():               {"https://a.test,https://b.test", "[https://a.test, https://b.test]"},
		reflect.TypeOf(c.Serve.Config):            {},
	}
	for _, flag := range newParser(&c, streams{out: io.Discard, err: io.Discard}).Model.Children[0].Flags {
		value, known := values[flag.Target.Type()]
		switch {
		case !known:
			t.Errorf("--%s: the test has no value of its type, %s", flag.Name, flag.Target.Type())
			continue
		case value[0] == "":
			continue
		case flag.Help == "":
			t.Errorf("--%s has no help", flag.Name)
		}
		field := func(c commands) any {
			v := reflect.ValueOf(c.Serve)
			for i := range v.NumField() {
				if kebab(v.Type().Field(i).Name) == flag.Name {
					return v.Field(i).Interface()
				}
			}
			t.Fatalf("no field of --%s", flag.Name)
			return nil
		}
		name := "TOKENRELAY_" + strings.ToUpper(keyOf(flag))
		byEnv, err := configure(t, []string{"serve"}, map[string]string{name: value[0]}, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		os.Unsetenv(name)
		byFile, err := configure(t, []string{"serve"}, nil, keyOf(flag)+": "+value[1])
		if err != nil {
			t.Errorf("key %s: %v", keyOf(flag), err)
		}
		if a, b := field(byEnv), field(byFile); !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, field(c)) {
			t.Errorf("--%s: %v by variable, %v by file, %v by default", flag.Name, a, b, field(c))
		}
		if kind := flag.Target.Kind(); (kind == reflect.Int || kind == reflect.Int64) && flag.Name != "log-level" && flag.Name != "upstream-retries" && flag.Name != "chat-replay" {
			_, err := configure(t, []string{"serve", "--" + flag.Name + "=0"}, nil, "")
			if want := "--" + flag.Name + " must be more than 0"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("--%s=0: error %v, want %s", flag.Name, err, want)
			}
		}
	}
}

func TestChatReplay(t *testing.T) {
	for value, want := range map[string]string{"0": "", "1ns": "", "-1s": "--chat-replay must be 0 or more"} {
		_, err := configure(t, []string{"serve", "--chat-replay=" + value}, nil, "")
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("--chat-replay=%s: %v, want %q", value, err, want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "1": 1, "-7": -7, "64KiB": 1 << 16, "1 MiB": 1 << 20, "256MiB": 1 << 28, "1GiB": 1 << 30, "2TiB": 1 << 41, "9223372036854775807": 1<<63 - 1,
	} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d, error %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "1MB", "1mib", "1M", "0x10", "8388608TiB", "-9000000TiB", "1MiBKiB", "9223372036854775808"} {
		var got byteSize
		if err := got.UnmarshalText([]byte(text)); err == nil || got != 0 {
			t.Errorf("%q is %d, error %v, want an error", text, got, err)
		}
	}
}

// kebab makes a flag's name of its field's.
func kebab(name string) string {
	var out strings.Builder
	for i, r := range name {
		if i > 0 && 'A' <= r && r <= 'Z' {
			out.WriteByte('-')
		}
		out.WriteRune(r)
	}
	return strings.ToLower(out.String())
}

// What is wrong is refused with status 2 and by name.
func TestBadOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want string
	}{
		{"no command", nil, nil, "", `expected one of "serve", "ask", "follow", "continue", "chunk"`},
		{"unknown command", []string{"bogus"}, nil, "", "bogus"},
		{"unknown flag", []string{"serve", "--bogus"}, nil, "", "--bogus"},
		{"follow without id", []string{"follow"}, nil, "", "<id>"},
		{"follow with a bad number", []string{"follow", "x", "--after=-1"}, nil, "", "--after"},
		{"rate of a model", []string{"ask", "x", "--model=a/m", "--rate=0"}, nil, "", "only the demo generator has --rate"},
		{"seed of a model", []string{"ask", "x", "--model=a/m", "--seed=0"}, nil, "", "only the demo generator has --seed"},
		{"length of a model", []string{"ask", "x", "--model=a/m", "--length=9"}, nil, "", "only the demo generator has --length"},
		{"duration without unit", []string{"serve", "--keep-alive=10"}, nil, "", "--keep-alive"},
		{"duration without unit in the file", []string{"serve"}, nil, "keep_alive: 10", "keep_alive wants a duration with its unit, such as 90s, not 10 (line 1)"},
		{"duration in words", []string{"serve"}, nil, "keep_alive: soon", `keep_alive wants a duration with its unit, such as 90s, not "soon" (line 1)`},
		{"list for a duration", []string{"serve"}, nil, "\nkeep_alive: [1]", "keep_alive wants a duration with its unit, such as 90s, not a list (line 2)"},
		{"half a number", []string{"serve"}, nil, "max_sessions: 1.5", "max_sessions wants a whole number, not 1.5 (line 1)"},
		{"no number", []string{"serve"}, nil, "max_sessions: many", `max_sessions wants a whole number, not "many" (line 1)`},
		{"truth for a number", []string{"serve"}, nil, "max_sessions: true", "max_sessions wants a whole number, not true (line 1)"},
		{"number beyond all", []string{"serve"}, nil, "max_sessions: 9223372036854775808", "max_sessions wants a whole number, not 9223372036854775808 (line 1)"},
		{"time for a number", []string{"serve"}, nil, "max_sessions: !!timestamp 2020-01-01", "max_sessions wants a whole number, not that (line 1)"},
		{"list for bytes", []string{"serve"}, nil, "max_body: [1]", "max_body wants bytes, as in 1048576, 64KiB, 1MiB or 1GiB, not a list (line 1)"},
		{"bytes in another unit", []string{"serve"}, nil, "max_body: 1MB", `max_body wants bytes, as in 1048576, 64KiB, 1MiB or 1GiB, not "1MB" (line 1)`},
		{"bytes beyond all", []string{"serve"}, nil, "max_body: 8388608TiB", `max_body wants bytes, as in 1048576, 64KiB, 1MiB or 1GiB, not "8388608TiB" (line 1)`},
		{"list for a text", []string{"serve"}, nil, "listen: [a]", "listen wants text, not a list (line 1)"},
		{"number for a text", []string{"serve"}, nil, "data: 7", "data wants text, not 7 (line 1)"},
		{"map for a word", []string{"serve"}, nil, "durability: {a: 1}", "durability wants one of power, process, memory, not a map (line 1)"},
		{"another word", []string{"serve"}, nil, "durability: fast", `durability wants one of power, process, memory, not "fast" (line 1)`},
		{"map for a policy", []string{"serve"}, nil, "on_no_reader: {policy: pause}", "on_no_reader wants one of continue, pause, stop; on_no_reader_after is a key of its own (line 1)"},
		{"number for a level", []string{"serve"}, nil, "log_level: 3", "log_level wants one of debug, info, warn, error, not 3 (line 1)"},
		{"level in the file", []string{"serve"}, nil, "log_level: loud", `log_level wants one of debug, info, warn, error, not "loud" (line 1)`},
		{"number for a list", []string{"serve"}, nil, "allow_host: 7", "allow_host wants a list of text, not 7 (line 1)"},
		{"list of numbers", []string{"serve"}, nil, "allow_host: [a, 7]", "allow_host wants a list of text, not of 7 (line 1)"},
		{"map for a list", []string{"serve"}, nil, "allow_host: {a: b}", "allow_host wants a list of text, not a map (line 1)"},
		{"tabs", []string{"serve"}, nil, "upstream:\n\t- name: a", "YAML is indented by spaces, not by tabs"},
		{"tab before a key", []string{"serve"}, nil, "\tlisten: a:1", "YAML is indented by spaces, not by tabs"},
		{"word for a file", []string{"serve"}, nil, "\nlisten", "the configuration file wants keys with their values, as in listen: 127.0.0.1:8080 (line 2)"},
		{"second document", []string{"serve"}, nil, "listen: a:1\n---\ndata: x\n", "the configuration file has more than one document (line 3)"},
		{"zero", []string{"serve", "--retry=0s"}, nil, "", "--retry must be more than 0"},
		{"negative", []string{"serve", "--max-sessions=-1"}, nil, "", "--max-sessions must be more than 0"},
		{"zero in the file", []string{"serve"}, nil, "max_hold: 0", "--max-hold must be more than 0"},
		{"not a number in a variable", []string{"serve"}, map[string]string{"TOKENRELAY_MAX_BODY": "big"}, "", "TOKENRELAY_MAX_BODY"},
		{"level", []string{"serve", "--log-level=loud"}, nil, "", `--log-level: wants one of debug, info, warn, error, not "loud"`},
		{"origin", []string{"serve", "--allow-origin=example.com"}, nil, "", "--allow-origin"},
		{"unknown key", []string{"serve"}, nil, "lisen: x", `unknown key "lisen" (line 1): did you mean listen?`},
		{"key with dashes", []string{"serve"}, nil, "keep-alive: 1s", `unknown key "keep-alive" (line 1): did you mean keep_alive?`},
		{"key with an s", []string{"serve"}, nil, "upstreams: []", `unknown key "upstreams" (line 1): did you mean upstream?`},
		{"key like no other", []string{"serve"}, nil, "x: 1", "unknown key \"x\" (line 1)\n"},
		{"file in the file", []string{"serve"}, nil, "config: x", `unknown key "config"`},
		{"key of another command", []string{"serve"}, nil, "after: 1", `unknown key "after"`},
		{"key twice", []string{"serve"}, nil, "listen: a:1\nlisten: b:1", `[2:1] mapping key "listen" already defined`},
		{"no map", []string{"serve"}, nil, "\n[1]", "the configuration file wants keys with their values, as in listen: 127.0.0.1:8080 (line 2)"},
		{"no YAML", []string{"serve"}, nil, "# so\n\na: [", "[3:4] "},
		{"no file", []string{"serve", "--config=/nonexistent/relay.yaml"}, nil, "", "/nonexistent/relay.yaml"},
		{"policy", []string{"serve", "--on-no-reader=wait"}, nil, "", "--on-no-reader"},
		{"patience", []string{"serve", "--on-no-reader-after=25h"}, nil, "", "--on-no-reader-after must be 24h0m0s at most"},
		{"fewer tries than none", []string{"serve", "--upstream-retries=-1"}, nil, "", "--upstream-retries must be 0 or more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.file != "" {
				path := filepath.Join(t.TempDir(), "relay.yaml")
				if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", path)
			}
			cleanEnv(t)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			// Should one be taken after all, serve ends at once.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var out, complaint bytes.Buffer
			status := run(ctx, args, streams{out: &out, err: &complaint})
			if got := complaint.String(); status != 2 || !strings.HasPrefix(got, "tokenrelay: ") || !strings.Contains(got, test.want) || out.Len() > 0 {
				t.Errorf("status %d and %q, want 2 and %q", status, got, test.want)
			}
		})
	}
}

// What only shows when it is tried ends with status 1.
func TestBadServe(t *testing.T) {
	for _, test := range []struct {
		name, arg, want string
	}{
		{"address", "--listen=nonsense", "--listen"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cleanEnv(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var complaint bytes.Buffer
			status := run(ctx, []string{"serve", test.arg}, streams{out: io.Discard, err: &complaint})
			if status != 1 || !strings.Contains(complaint.String(), test.want) {
				t.Errorf("status %d and %q, want 1 and %q", status, &complaint, test.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"serve", "--help"}, {"ask", "--help"}, {"follow", "--help"}, {"continue", "--help"}, {"chunk", "--help"}, {"version", "--help"}} {
		cleanEnv(t)
		var out, complaint bytes.Buffer
		status := run(t.Context(), args, streams{out: &out, err: &complaint})
		if status != 0 || !strings.Contains(out.String(), "Usage: tokenrelay") || complaint.Len() > 0 {
			t.Errorf("%q: status %d, %q, %q", args, status, &out, &complaint)
		}
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"version"}, streams{out: &out, err: io.Discard}); status != 0 || !strings.HasPrefix(out.String(), "tokenrelay ") {
		t.Errorf("version: status %d, %q", status, &out)
	}
}

// A bug is not an exit.
func TestPanic(t *testing.T) {
	defer func() {
		if cause := recover(); cause != io.ErrShortWrite {
			t.Errorf("recovered %v, want %v", cause, io.ErrShortWrite)
		}
	}()
	status := run(t.Context(), []string{"version"}, streams{out: panicking{}, err: io.Discard})
	t.Errorf("status %d, want a panic", status)
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic(io.ErrShortWrite) }
