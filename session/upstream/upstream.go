// Package upstream makes sessions of what model providers stream: one file a
// provider's protocol, and what they share. Providers are configured by name;
// a client names a model, never an address.
//
// A [Set] opens a generation for each session: it asks its provider in that
// provider's [Protocol], keeps the [Limits], tries again while nothing has
// come yet or the answer can be attached to, and decodes it into deltas. It is
// whole only with the provider's own end marker; anything else is a failure
// with one of the codes below.
package upstream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"tokenrelay/session"
)

// Codes of the failures that an upstream session can end with.
const (
	CodeUnreachable  = "upstream_unreachable"  // no connection, or none that lasted until an answer
	CodeUnauthorized = "upstream_unauthorized" // the relay's key was refused, or is not for this
	CodeRateLimited  = "upstream_rate_limited" // the provider says: too much
	CodeOverloaded   = "upstream_overloaded"   // the provider says that it is at its limit
	CodeRefused      = "upstream_refused"      // the provider will not answer this request, however often it is asked
	CodeError        = "upstream_error"        // the provider says that it failed
	CodeMalformed    = "upstream_malformed"    // the provider sent what its protocol does not have
	CodeTruncated    = "upstream_truncated"    // the stream broke off before its end marker

	// Of the six limits.
	CodeConnect    = "connect_timeout"
	CodeHeader     = "header_timeout"
	CodeFirstToken = "first_token_timeout"
	CodeIdle       = "idle_timeout"
	CodeTotal      = "total_timeout"
	CodeBytes      = "too_many_bytes"
)

// A Protocol is what a provider speaks.
type Protocol string

const (
	Chat      Protocol = "chat"      // OpenAI's chat completions, and all that copy it
	Responses Protocol = "responses" // OpenAI's Responses
	Anthropic Protocol = "anthropic" // Anthropic's Messages
	Ollama    Protocol = "ollama"    // Ollama's chat
)

// protocols makes what speaks each of them.
var protocols = map[Protocol]func(Config) protocol{
	Chat:      func(Config) protocol { return chat{} },
	Responses: func(c Config) protocol { return responses{background: c.Background} },
	Anthropic: func(Config) protocol { return anthropic{} },
	Ollama:    func(Config) protocol { return ollama{} },
}

// Protocols lists them, the default first.
func Protocols() []Protocol { return []Protocol{Chat, Responses, Anthropic, Ollama} }

// A Config names a provider.
type Config struct {
	// Name is how requests and logs call it: letters, digits, - and _.
	Name string
	// Protocol is what it speaks; empty means Chat.
	Protocol Protocol
	// BaseURL is its address, up to and without /chat/completions, /responses,
	// /messages or /api/chat. A key that would be sent over http to others than
	// this machine or a private network is warned of.
	BaseURL string
	// KeyEnv is the environment variable that holds its key, KeyFile the file
	// that does; both empty for none.
	KeyEnv, KeyFile string
	// Models are those that are offered in listings. Others can be asked for
	// all the same.
	Models []string
	// Parameters are fields of each request, as in max_tokens: 4096, unless it
	// has them itself. They are the provider's own and sent as they are, as the
	// client's are: tools and tool_choice among them have the provider's form,
	// whatever form the messages have.
	Parameters map[string]any
	// Background asks for generations that live on without a connection
	// (Responses only): a relay that was restarted attaches to them again.
	Background bool
	// Continuation is how it is asked to go on from a text that broke off;
	// empty means what is usual with its protocol.
	Continuation session.Continuation
	// Limits are those of its own. Zero fields mean the Options' limits.
	Limits Limits
}

// Options are what all providers share.
type Options struct {
	Limits Limits       // zero fields mean the defaults
	Logger *slog.Logger // takes why a stream broke; nil discards it
	// Transport is what each provider has a clone of. Nil means one such as
	// http.DefaultTransport.
	Transport *http.Transport
}

// A Set is the providers of a relay. It implements session.Opener.
type Set struct {
	providers []*provider
}

// A ConfigError reports a Config that cannot be. It names the upstream and the
// key that it is about.
type ConfigError struct {
	Index int    // of the Config
	Name  string // or the number of one without
	Key   string // in the configuration's words, such as base_url
	Err   error
}

func (e *ConfigError) Error() string { return fmt.Sprintf("upstream %s: %v", e.Name, e.Err) }

func (e *ConfigError) Unwrap() error { return e.Err }

// New checks the configuration and reads the keys. Its error is a *ConfigError.
func New(configs []Config, o Options) (*Set, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	set := new(Set)
	for i, c := range configs {
		p, err := newProvider(c, o)
		if err == nil && set.named(c.Name) != nil {
			err = fmt.Errorf("name: there are two of that name")
		}
		if err != nil {
			key, _, _ := strings.Cut(err.Error(), ":")
			return nil, &ConfigError{Index: i, Name: cmp.Or(c.Name, fmt.Sprint(i+1)), Key: key, Err: err}
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
// name of a model that exactly one provider lists, or any name if there is only
// one provider. Each source is for one session. What the provider cannot be
// asked for, in whosever words it is given, is a *session.InvalidError, and a model
// that nobody has a *session.ModelError.
func (s *Set) Open(spec session.SourceSpec) (session.Source, error) {
	p, model, err := s.find(spec.Model)
	if err != nil {
		return nil, err
	}
	q := question{model: model, dialect: spec.Dialect}
	if err := json.Unmarshal(spec.Messages, &q.messages); err != nil || len(q.messages) == 0 {
		return nil, &session.InvalidError{Field: "source.messages", Reason: "must be an array of one or more messages"}
	}
	if len(spec.Parameters) > 0 {
		if err := json.Unmarshal(spec.Parameters, &q.parameters); err != nil {
			return nil, &session.InvalidError{Field: "source.parameters", Reason: "must be an object"}
		}
	}
	if q, err = q.translated(p.Protocol); err != nil {
		return nil, err
	}
	return newGeneration(p, q)
}

func (s *Set) named(name string) *provider {
	for _, p := range s.providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Has returns nil if a session can ask for that model, and otherwise why not.
func (s *Set) Has(model string) error {
	_, _, err := s.find(model)
	return err
}

// find returns the provider that has a model, and the model's name there.
func (s *Set) find(model string) (p *provider, bare string, err error) {
	if len(s.providers) == 0 {
		return nil, "", session.NoUpstream(model)
	}
	name, rest, _ := strings.Cut(model, "/")
	if p := s.named(name); p != nil && rest != "" {
		return p, rest, nil
	}
	var full []string
	for _, other := range s.providers {
		if len(s.providers) == 1 || slices.Contains(other.Models, model) {
			p = other
			full = append(full, other.Name+"/"+model)
		}
	}
	invalid := session.InvalidError{Field: "source.model"}
	switch last := len(full) - 1; len(full) {
	case 1:
		return p, model, nil
	case 0:
		invalid.Reason = fmt.Sprintf("no upstream has %q: name it as one of %s, followed by / and the model", model, s.names())
		return nil, "", &session.ModelError{InvalidError: invalid}
	case 2:
		invalid.Reason = fmt.Sprintf("two upstreams list %q: name it as %s or %s", model, full[0], full[1])
	default:
		invalid.Reason = fmt.Sprintf("%d upstreams list %q: name it as %s or %s", len(full), model, strings.Join(full[:last], ", "), full[last])
	}
	return nil, "", &invalid
}

func (s *Set) names() string {
	var names []string
	for _, p := range s.providers {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
