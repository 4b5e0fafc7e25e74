package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// An argument is a value as the command line has it: text, whatever it is for.
type argument string

// parseUpstream reads the n-th upstream of the command line.
func parseUpstream(pairs string, n int) (c upstream.Config, err error) {
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(pairs, ",") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return c, fmt.Errorf("%q is not key=value, as in name=openai,base_url=https://api.openai.com/v1,key_env=OPENAI_API_KEY", pair)
		case seen[key] && key != "model":
			err = cmp.Or(err, fmt.Errorf("%s: is given twice: each provider has an --upstream of its own", key))
		case key == "parameters":
			err = cmp.Or(err, errors.New("parameters: only the configuration file can have them"))
		default:
			if wrong := setUpstream(&c, key, argument(value)); wrong != nil {
				err = cmp.Or(err, fmt.Errorf("%s: %w", key, wrong))
			}
		}
		seen[key] = true
	}
	if err != nil { // now its name is known
		return c, fmt.Errorf("upstream %s: %w", cmp.Or(c.Name, strconv.Itoa(n)), err)
	}
	return c, nil
}

// upstreamsOf reads the upstreams of the configuration file: a list of maps, or
// one map.
func (c configFile) upstreamsOf(value any) (upstreamFlags, error) {
	list, ok := value.([]any)
	if !ok {
		one, isMap := value.(map[string]any)
		for key, value := range one {
			if _, inner := value.(map[string]any); inner && !slices.Contains(upstreamKeys, key) {
				isMap = false // but one of upstreams by their names
			}
		}
		if !isMap {
			return nil, fmt.Errorf("upstream: wants a list, each item with a dash, name, base_url and others%s", c.at("upstream"))
		}
		list = []any{value}
	}
	var all upstreamFlags
	for i, value := range list {
		at := []any{"upstream", i}
		if !ok {
			at = at[:1]
		}
		fields, isMap := value.(map[string]any)
		if !isMap {
			return nil, fmt.Errorf("upstream %d: must be a map with name, base_url and others%s", i+1, c.at(at...))
		}
		name, _ := fields["name"].(string)
		var one upstream.Config
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			if err := setUpstream(&one, key, fields[key]); err != nil {
				return nil, fmt.Errorf("upstream %s: %s: %w%s", cmp.Or(name, strconv.Itoa(i+1)), key, err, c.at(append(at, key)...))
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// upstreamLine tells the line of a key of an upstream or, if that is not there,
// of the upstream.
func (c configFile) upstreamLine(index int, key string) string {
	at := []any{"upstream"}
	if _, list := c.values["upstream"].([]any); list {
		at = append(at, index)
	}
	return cmp.Or(c.at(append(at, key)...), c.at(at...))
}

// upstreamKeys are those that setUpstream knows.
var upstreamKeys = []string{
	"name", "protocol", "base_url", "key_env", "key_file", "model", "background", "continuation", "parameters",
	"connect", "header", "first_token", "idle", "total", "max_bytes", "retries",
}

// setUpstream sets what key names.
func setUpstream(c *upstream.Config, key string, value any) error {
	switch key {
	case "name":
		return setText(&c.Name, value)
	case "protocol":
		return setWord(&c.Protocol, value, upstream.Protocols())
	case "base_url":
		return setText(&c.BaseURL, value)
	case "key_env":
		return setText(&c.KeyEnv, value)
	case "key_file":
		return setText(&c.KeyFile, value)
	case "model":
		return addModels(c, value)
	case "background":
		return setBool(&c.Background, value)
	case "continuation":
		return setWord(&c.Continuation, value, []session.Continuation{session.ByPrefill, session.ByMessage})
	case "parameters":
		fields, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("must be a map, not %s", shown(value))
		}
		c.Parameters = fields
		return nil
	case "connect":
		return setDuration(&c.Limits.Connect, value)
	case "header":
		return setDuration(&c.Limits.Header, value)
	case "first_token":
		return setDuration(&c.Limits.FirstToken, value)
	case "idle":
		return setDuration(&c.Limits.Idle, value)
	case "total":
		return setDuration(&c.Limits.Total, value)
	case "max_bytes":
		return setBytes(&c.Limits.Bytes, value)
	case "retries":
		var n int64
		err := setNumber(&n, value)
		c.Limits.Retries = retries(int(n))
		return err
	}
	return fmt.Errorf("an upstream has no such key: it has %s", strings.Join(upstreamKeys, ", "))
}

// retries is n as the limits of upstreams have it, where 0 is for the default.
func retries(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func setText(field *string, value any) error {
	switch value := value.(type) {
	case string:
		*field = value
	case argument:
		*field = string(value)
	}
	if *field == "" {
		return fmt.Errorf("must be text, not %s", shown(value))
	}
	return nil
}

// setWord sets one of words.
func setWord[T ~string](field *T, value any, words []T) error {
	var text string
	if err := setText(&text, value); err != nil {
		return err
	}
	if !slices.Contains(words, T(text)) {
		var all []string
		for _, word := range words {
			all = append(all, string(word))
		}
		return fmt.Errorf("%q is none of %s", text, strings.Join(all, ", "))
	}
	*field = T(text)
	return nil
}

func addModels(c *upstream.Config, value any) error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, value := range list {
		var model string
		if err := setText(&model, value); err != nil {
			return err
		}
		if strings.ContainsAny(model, "; \t\n") {
			return fmt.Errorf("%q is no model's name", model)
		}
		c.Models = append(c.Models, model)
	}
	return nil
}

func setBool(field *bool, value any) error {
	switch value {
	case true, argument("true"):
		*field = true
	case false, argument("false"):
		*field = false
	default:
		return fmt.Errorf("must be true or false, not %s", shown(value))
	}
	return nil
}

func setDuration(field *time.Duration, value any) error {
	var text string
	if setText(&text, value) != nil {
		text = ""
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("must be a duration with its unit, such as 90s, not %s", shown(value))
	case d <= 0:
		return errors.New("must be more than 0")
	}
	*field = d
	return nil
}

func setBytes(field *int64, value any) error {
	var size byteSize
	switch {
	case !isNumber(value) && setText(new(string), value) != nil, size.UnmarshalText(fmt.Append(nil, value)) != nil:
		return fmt.Errorf("wants %s, not %s", sizeWords, shown(value))
	case size <= 0:
		return errors.New("must be 1 or more")
	}
	*field = int64(size)
	return nil
}

// setNumber sets a number that may be 0.
func setNumber(field *int64, value any) error {
	n, err := strconv.ParseInt(shown(value), 10, 64)
	if _, text := value.(string); err != nil || text {
		return fmt.Errorf("must be a number, not %s", shown(value))
	}
	if n < 0 {
		return errors.New("must be 0 or more")
	}
	*field = n
	return nil
}

// shown is a value as an error shows it.
func shown(value any) string {
	switch value := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(value)
	case argument:
		if value == "" {
			return "nothing"
		}
		return string(value)
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(value)
	}
	return "that" // of a tag such as !!binary
}
