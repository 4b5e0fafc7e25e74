// Package upstream makes sessions of what model providers stream: one file a
// provider's protocol, and what they share. Providers are configured by name;
// a client names a model, never an address.
package upstream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"tokenrelay/session"
)

// Defaults of Options.
const (
	DefaultConnect = 10 * time.Second
	DefaultHeader  = 2 * time.Minute
	DefaultIdle    = 2 * time.Minute
)

// Codes of the failures that an upstream session can end with.
const (
	CodeUnreachable  = "upstream_unreachable"  // no connection, or none that lasted until an answer
	CodeTimeout      = "upstream_timeout"      // no answer
	CodeUnauthorized = "upstream_unauthorized" // the relay's key was refused
	CodeRateLimited  = "upstream_rate_limited" // 429
	CodeError        = "upstream_error"        // the provider says that it failed
	CodeMalformed    = "upstream_malformed"    // the provider sent what its protocol does not have
	CodeTruncated    = "upstream_truncated"    // the stream broke off before its end marker
	CodeIdle         = "idle_timeout"          // the stream fell silent
)

// A Config names a provider that speaks OpenAI's chat completions.
type Config struct {
	// Name is how requests and logs call it: letters, digits, - and _.
	Name string
	// BaseURL is its address up to and without /chat/completions.
	BaseURL string
	// KeyEnv is the environment variable that holds its key; empty for none.
	KeyEnv string
	// Models are those that are offered in listings. Others can be asked for
	// all the same.
	Models []string
}

// Options are what all providers share. The zero value of each field means
// its default.
type Options struct {
	Connect time.Duration // until there is a connection
	Header  time.Duration // from there until the answer begins
	Idle    time.Duration // between two events of a stream; its comments are none
	Logger  *slog.Logger  // takes why a stream broke; nil discards it
}

func (o Options) withDefaults() Options {
	o.Connect = cmp.Or(o.Connect, DefaultConnect)
	o.Header = cmp.Or(o.Header, DefaultHeader)
	o.Idle = cmp.Or(o.Idle, DefaultIdle)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	return o
}

// A Set is the providers of a relay. It implements session.Opener.
type Set struct {
	providers []provider
	client    *http.Client
	opts      Options
}

type provider struct {
	Config
	key string
}

var providerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// New checks the configuration and reads the keys.
func New(configs []Config, o Options) (*Set, error) {
	o = o.withDefaults()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: o.Connect}).DialContext
	transport.TLSHandshakeTimeout = o.Connect
	transport.ResponseHeaderTimeout = o.Header
	transport.MaxIdleConnsPerHost = 64
	transport.DisableCompression = true // who compresses a stream holds events back
	set := &Set{opts: o, client: &http.Client{
		Transport: transport,
		// A redirect would carry messages to where nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, c := range configs {
		p := provider{Config: c}
		p.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
		base, err := url.Parse(p.BaseURL)
		switch {
		case !providerName.MatchString(c.Name):
			return nil, fmt.Errorf("upstream %q: name must be letters, digits, - and _", c.Name)
		case slices.ContainsFunc(set.providers, func(other provider) bool { return other.Name == c.Name }):
			return nil, fmt.Errorf("upstream %s: there are two of that name", c.Name)
		case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" || base.User != nil:
			return nil, fmt.Errorf("upstream %s: base_url must be such as https://api.openai.com/v1", c.Name)
		}
		if c.KeyEnv != "" {
			if p.key = os.Getenv(c.KeyEnv); p.key == "" {
				return nil, fmt.Errorf("upstream %s: the environment variable %s, which key_env names, is not set", c.Name, c.KeyEnv)
			}
			if strings.ContainsFunc(p.key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				return nil, fmt.Errorf("upstream %s: the environment variable %s holds blanks, line ends or other characters that no key has", c.Name, c.KeyEnv)
			}
		}
		set.providers = append(set.providers, p)
	}
	return set, nil
}

// Models lists the models on offer, each as provider/model.
func (s *Set) Models() []string {
	var models []string
	for _, p := range s.providers {
		for _, model := range p.Models {
			models = append(models, p.Name+"/"+model)
		}
	}
	return models
}

// Open makes the source for the model of spec: "provider/model", or the bare
// name of a model that one provider lists, or any name if there is only one
// provider.
func (s *Set) Open(spec session.SourceSpec) (session.Source, error) {
	if len(s.providers) == 0 {
		return nil, &session.InvalidError{Field: "source.type", Reason: "this relay has no upstream: start it with --upstream"}
	}
	p, model, ok := s.find(spec.Model)
	if !ok {
		return nil, &session.InvalidError{Field: "source.model", Reason: fmt.Sprintf("no upstream has %q: name it as one of %s, followed by / and the model", spec.Model, s.names())}
	}
	var messages []struct{}
	if err := json.Unmarshal(spec.Messages, &messages); err != nil || len(messages) == 0 {
		return nil, &session.InvalidError{Field: "source.messages", Reason: "must be an array of one or more messages"}
	}
	return s.newChat(p, model, spec.Messages)
}

func (s *Set) find(model string) (p provider, bare string, ok bool) {
	name, rest, _ := strings.Cut(model, "/")
	for _, p := range s.providers {
		if p.Name == name && rest != "" {
			return p, rest, true
		}
	}
	for _, p := range s.providers {
		if len(s.providers) == 1 || slices.Contains(p.Models, model) {
			return p, model, true
		}
	}
	return provider{}, "", false
}

func (s *Set) names() string {
	var names []string
	for _, p := range s.providers {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
