package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

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
		kong.Configuration(func(r io.Reader) (kong.Resolver, error) {
			file, err := readConfig(r)
			file.serve = &c.Serve
			return file, err
		}),
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
//	    protocol: responses
//	    base_url: https://api.openai.com/v1
//	    key_env: OPENAI_API_KEY
//	    model: [gpt-4o, gpt-4o-mini]
//	    idle: 30s
//
// It implements kong.Resolver.
type configFile struct {
	values map[string]any
	tree   *ast.File // of the same text, for the lines
	serve  *serveCommand
}

func readConfig(r io.Reader) (file configFile, err error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return file, err
	}
	if file.tree, err = parser.ParseBytes(text, 0); err != nil {
		if first, _, _ := strings.Cut(err.Error(), "\n"); strings.Contains(first, "\t") || strings.Contains(first, "tab character") {
			err = fmt.Errorf("%w\nYAML is indented by spaces, not by tabs", err)
		}
		return file, err
	}
	documents := 0
	for _, document := range file.tree.Docs {
		if _, version := document.Body.(*ast.DirectiveNode); version || document.Body == nil {
			continue
		}
		if documents++; documents > 1 { // only the first was read
			return file, fmt.Errorf("the configuration file has more than one document%s", lineOf(document.Body))
		}
		switch document.Body.(type) {
		case *ast.SequenceNode, ast.ScalarNode:
			return file, fmt.Errorf("the configuration file wants keys with their values, as in listen: 127.0.0.1:8080%s", lineOf(document.Body))
		}
	}
	err = yaml.Unmarshal(text, &file.values)
	return file, err
}

// lineOf tells the line of a node; it is empty if that is not known.
func lineOf(node ast.Node) string {
	if node == nil || node.GetToken() == nil {
		return ""
	}
	return fmt.Sprintf(" (line %d)", node.GetToken().Position.Line)
}

// at tells the line of what stands under keys, which are names and indices; it
// is empty if that is not known.
func (c configFile) at(keys ...any) string {
	path := new(yaml.PathBuilder).Root()
	for _, key := range keys {
		switch key := key.(type) {
		case string:
			path = path.Child(key)
		case int:
			path = path.Index(uint(key))
		}
	}
	node, err := path.Build().FilterFile(c.tree)
	if err != nil {
		return ""
	}
	return lineOf(node)
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
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		if !known[key] {
			err := fmt.Errorf("the configuration file has an unknown key %q%s", key, c.at(key))
			if near := nearest(key, known); near != "" {
				err = fmt.Errorf("%w: did you mean %s?", err, near)
			}
			return err
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
	value := c.values[key]
	if value == nil {
		return nil, nil
	}
	if flag.Target.Type() == reflect.TypeFor[upstreamFlags]() {
		c.serve.upstreamLine = c.upstreamLine
		return c.upstreamsOf(value)
	}
	var words []string
	if flag.Enum != "" {
		words = flag.EnumSlice()
	}
	if err := fits(flag.Target.Type(), words, value); err != nil {
		if _, isMap := value.(map[string]any); isMap && key == "on_no_reader" { // as a session has it
			return nil, fmt.Errorf("%s wants one of %s; on_no_reader_after is a key of its own%s", key, strings.Join(words, ", "), c.at(key))
		}
		return nil, fmt.Errorf("%s %w%s", key, err, c.at(key))
	}
	if isNumber(value) {
		return fmt.Sprint(value), nil // whatever reads it takes text
	}
	return value, nil
}

func keyOf(f *kong.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }

// upstreamFlags are providers: each as name=…,base_url=…,key_env=…,model=… on
// the command line, where model can be given more than once, or as a map in
// the configuration file. An error names the upstream and the key.
type upstreamFlags []upstream.Config

// Decode implements kong.MapperValue. From the configuration file comes what
// upstreamsOf has read.
func (u *upstreamFlags) Decode(c *kong.DecodeContext) error {
	switch value := c.Scan.Pop().Value.(type) {
	case upstreamFlags:
		*u = value
		return nil
	case string:
		one, err := parseUpstream(value, len(*u)+1)
		*u = append(*u, one)
		return err
	}
	return errors.New("is missing: name=openai,base_url=https://api.openai.com/v1,key_env=OPENAI_API_KEY is one")
}
