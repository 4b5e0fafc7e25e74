package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"tokenrelay/chunker"
	"tokenrelay/session/upstream"
)

// parse fills c from the command line, the environment and the configuration
// file, and returns the command that was asked for. It panics with an
// exitError after --help.
func parse(c *commands, args []string, s streams) (command func(context.Context) error, err error) {
	parsed, err := newParser(c, s).Parse(args)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		parsed.BindTo(ctx, (*context.Context)(nil))
		return parsed.Run(s)
	}, nil
}

func newParser(c *commands, s streams) *kong.Kong {
	k, err := kong.New(c,
		kong.Name("tokenrelay"),
		kong.Description(description),
		kong.ShortUsageOnError(),
		kong.DefaultEnvars("TOKENRELAY"),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { panic(exitError(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Configuration(readConfig),
		kong.Vars{"units": list(chunkUnits()), "encodings": list(chunker.Encodings())},
	)
	if err != nil {
		panic(err) // the struct is wrong
	}
	return k
}

// helpFor returns the command whose help tells what err, which parse gave, is
// about.
func helpFor(err error) string {
	if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
		if command := wrong.Context.Selected(); command != nil {
			return command.FullPath()
		}
	}
	return "tokenrelay"
}

// A nameFlag is a name. An empty one is refused, unlike that of a flag which is
// not there. The flag's tag example holds one.
type nameFlag string

// Decode implements kong.MapperValue.
func (n *nameFlag) Decode(c *kong.DecodeContext) error {
	value, err := c.Scan.PopValue("name")
	if err != nil || value.String() == "" {
		return fmt.Errorf("wants a name, such as %s", c.Value.Tag.Get("example"))
	}
	*n = nameFlag(value.String())
	return nil
}

// A configFlag names the configuration file.
type configFlag = kong.ConfigFlag

// A configFile is what the YAML file that --config names holds. Its keys are
// the flags of serve, written with _ for -, as in
//
//	listen: 127.0.0.1:8080
//	keep_alive: 10s
//	upstream:
//	  - name: openai
//	    base_url: https://api.openai.com/v1
//	    key_env: OPENAI_API_KEY
//	    model: [gpt-4o, gpt-4o-mini]
//
// It implements kong.Resolver.
type configFile map[string]any

func readConfig(r io.Reader) (kong.Resolver, error) {
	var file configFile
	if err := yaml.NewDecoder(r).Decode(&file); err != nil && err != io.EOF {
		return nil, err
	}
	return file, nil
}

// Validate refuses keys that no flag has.
func (c configFile) Validate(app *kong.Application) error {
	known := make(map[string]bool)
	for _, command := range app.Children {
		if command.Name != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			known[keyOf(flag)] = flag.Name != "config"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if !known[key] {
			return fmt.Errorf("the configuration file has an unknown key %q", key)
		}
	}
	return nil
}

// Resolve gives a flag its value, unless a variable of the environment does.
func (c configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	key := keyOf(flag)
	value := c[key]
	if flag.Target.Type() == reflect.TypeFor[time.Duration]() && value != nil {
		if _, ok := value.(string); !ok { // kong would take nanoseconds
			return nil, fmt.Errorf("%s: %v needs a unit, as in 10s", key, value)
		}
	}
	return value, nil
}

func keyOf(f *kong.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }

// An upstreamFlag is a provider, as name=…,base_url=…,key_env=…,model=… on the
// command line, where model can be given more than once, or as a map in the
// configuration file.
type upstreamFlag struct{ upstream.Config }

// Decode reads the form of the command line.
func (u *upstreamFlag) Decode(c *kong.DecodeContext) error {
	var pairs string
	if err := c.Scan.PopValueInto("upstream", &pairs); err != nil {
		return err
	}
	for pair := range strings.SplitSeq(pairs, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not key=value, as in name=openai,base_url=https://api.openai.com/v1,key_env=OPENAI_API_KEY", pair)
		}
		if err := u.set(key, value); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalJSON reads the form of the configuration file: kong hands lists on
// by way of JSON.
func (u *upstreamFlag) UnmarshalJSON(data []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return errors.New("an upstream is a map with name, base_url, key_env and model")
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		values, list := fields[key].([]any)
		if !list || key != "model" {
			values = []any{fields[key]}
		}
		for _, value := range values {
			text, ok := value.(string)
			if !ok {
				return fmt.Errorf("an upstream's %s must be text, not %v", key, value)
			}
			if err := u.set(key, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *upstreamFlag) set(key, value string) error {
	var field *string
	switch key {
	case "name":
		field = &u.Name
	case "base_url":
		field = &u.BaseURL
	case "key_env":
		field = &u.KeyEnv
	case "model":
		if strings.ContainsAny(value, "; \t\n") {
			return fmt.Errorf("%q is no model's name", value)
		}
		u.Models = append(u.Models, value)
		return nil
	default:
		return fmt.Errorf("an upstream has no %q: it has name, base_url, key_env and model", key)
	}
	if *field != "" {
		return fmt.Errorf("an upstream has one %s, not %q and %q: give each provider an --upstream of its own", key, *field, value)
	}
	*field = value
	return nil
}
