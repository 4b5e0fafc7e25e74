package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"tokenrelay/session/upstream"
)

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
	return c[keyOf(flag)], nil
}

func keyOf(f *kong.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }

// An upstreamFlag is a provider, as name=…,base_url=…,key_env=…,model=… on the
// command line, where model can be given more than once, or as a map in the
// configuration file.
type upstreamFlag struct{ upstream.Config }

// Decode reads either form.
func (u *upstreamFlag) Decode(c *kong.DecodeContext) error {
	token, err := c.Scan.PopValue("upstream")
	if err != nil {
		return err
	}
	switch v := token.Value.(type) {
	case string:
		for pair := range strings.SplitSeq(v, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("%q is not key=value, as in name=openai,base_url=https://api.openai.com/v1,key_env=OPENAI_API_KEY", pair)
			}
			if err := u.set(key, value); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, value := range v {
			values, ok := value.([]any)
			if !ok {
				values = []any{value}
			}
			for _, one := range values {
				if err := u.set(key, fmt.Sprint(one)); err != nil {
					return err
				}
			}
		}
	default:
		return fmt.Errorf("an upstream is a map with name, base_url, key_env and model")
	}
	return nil
}

func (u *upstreamFlag) set(key, value string) error {
	switch key {
	case "name":
		u.Name = value
	case "base_url":
		u.BaseURL = value
	case "key_env":
		u.KeyEnv = value
	case "model":
		u.Models = append(u.Models, value)
	default:
		return fmt.Errorf("an upstream has no %q: it has name, base_url, key_env and model", key)
	}
	return nil
}
