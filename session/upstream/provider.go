package upstream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"tokenrelay/session"
)

// A provider is a Config that has been checked.
type provider struct {
	Config
	protocol   protocol
	key        string
	parameters map[string]json.RawMessage
	client     *http.Client
	logger     *slog.Logger
}

// A protocol is how a kind of provider is asked, and how it answers.
type protocol interface {
	// path is that of a question, below the base URL.
	path() string
	// fields are those of a question's body that the relay sets. They prevail
	// over parameters, which must not have them.
	fields(q question) (map[string]any, error)
	// authorize gives a request the key.
	authorize(h http.Header, key string)
	// mediaType is that of an answer.
	mediaType() string
	// read decodes an answer into d. It returns nil when the answer is whole,
	// and io.ErrUnexpectedEOF if body ends before that.
	read(body io.Reader, d *decoder) error
	// continuation is how model is asked to go on from a text, unless the
	// configuration says so.
	continuation(model string) session.Continuation
}

// A presetter is a protocol with parameters that a question to model has even
// if nobody gave them.
type presetter interface {
	presets(model string) map[string]json.RawMessage
}

// A versioner is a protocol whose requests name its version.
type versioner interface {
	version(h http.Header)
}

// bearer authorizes as RFC 6750 says.
type bearer struct{}

func (bearer) authorize(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

// A question is what a provider is asked for.
type question struct {
	model      string
	dialect    session.Dialect // whose form it had, when the client gave it
	composed   bool            // the relay has given it another
	messages   []message
	items      bool // messages are items of Responses
	parameters fields
	text       string               // that it is to go on from; empty for a new answer
	by         session.Continuation // how; empty for a first answer
}

var (
	providerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	variableName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

// newProvider checks c and reads its key. An error names the key of the
// configuration.
func newProvider(c Config, o Options) (*provider, error) {
	c.Protocol = cmp.Or(c.Protocol, Chat)
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	c.Limits = c.Limits.or(o.Limits).withDefaults()
	switch {
	case c.Name == "":
		return nil, errors.New("name: is missing")
	case !providerName.MatchString(c.Name):
		return nil, errors.New("name: must be letters, digits, - and _")
	case !slices.Contains(Protocols(), c.Protocol):
		return nil, fmt.Errorf("protocol: %q is none of %v", c.Protocol, Protocols())
	}
	p := &provider{Config: c, protocol: protocols[c.Protocol](c), logger: o.Logger.With("upstream", c.Name)}
	base, err := parseBase(c.BaseURL, p.protocol)
	switch {
	case err != nil:
		return nil, err
	case c.Background && c.Protocol != Responses:
		return nil, fmt.Errorf("background: only the protocol %s has it", Responses)
	case c.Continuation != "" && c.Continuation != session.ByPrefill && c.Continuation != session.ByMessage:
		return nil, fmt.Errorf("continuation: %q is neither %s nor %s", c.Continuation, session.ByPrefill, session.ByMessage)
	case c.Continuation == session.ByPrefill && c.Protocol == Responses:
		return nil, fmt.Errorf("continuation: the protocol %s has no %s", Responses, session.ByPrefill)
	}
	for i, model := range c.Models {
		if slices.Contains(c.Models[:i], model) {
			return nil, fmt.Errorf("model: %q is listed twice", model)
		}
	}
	if err := c.Limits.validate(); err != nil {
		return nil, err
	}
	if p.key, err = c.readKey(); err != nil {
		return nil, err
	}
	if p.key != "" && base.plain() {
		p.logger.Warn("upstream gets its key without encryption", "host", base.Host)
	}
	if p.parameters, err = c.rawParameters(p.protocol); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	p.client = &http.Client{
		Transport: o.transport(c.Limits.Connect),
		// A redirect would carry messages to where nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// transport makes that of one provider, to which there is to be a connection
// within connect.
func (o Options) transport(connect time.Duration) *http.Transport {
	transport := new(http.Transport)
	if o.Transport != nil {
		transport = o.Transport.Clone()
	} else {
		if usual, ok := http.DefaultTransport.(*http.Transport); ok {
			transport = usual.Clone()
		}
		// A request that its limit ends leaves its dialing to others, without a
		// context that would end it.
		transport.DialContext = (&net.Dialer{Timeout: 2 * connect}).DialContext
		transport.TLSHandshakeTimeout = 2 * connect
		transport.MaxIdleConnsPerHost = 64
	}
	transport.DisableCompression = true // who compresses a stream holds events back
	return transport
}

// maxKey bounds a key, in bytes.
const maxKey = 16 << 10

func (c Config) readKey() (key string, err error) {
	var from string
	switch {
	case c.KeyEnv != "" && c.KeyFile != "":
		return "", errors.New("key_file: there is a key_env too; name one of them")
	case c.KeyEnv != "" && !variableName.MatchString(c.KeyEnv):
		return "", errors.New("key_env: is no name of a variable (letters, digits and _), and is not repeated here: it may be the key itself")
	case c.KeyEnv != "":
		from = "key_env: the environment variable " + c.KeyEnv
		if key = os.Getenv(c.KeyEnv); key == "" {
			return "", fmt.Errorf("%s is not set", from)
		}
	case c.KeyFile != "":
		from = "key_file: the file " + c.KeyFile
		f, err := openRegular(c.KeyFile)
		if err != nil {
			return "", fmt.Errorf("key_file: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxKey+1))
		if err != nil {
			return "", fmt.Errorf("key_file: %w", err)
		}
		if key = strings.TrimSpace(string(data)); key == "" {
			return "", fmt.Errorf("%s is empty", from)
		}
	}
	if len(key) > maxKey {
		return "", fmt.Errorf("%s has more than %d bytes", from, maxKey)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("%s holds blanks, line ends or other characters that no key has", from)
	}
	return key, nil
}

// openRegular opens a file that has an end. To open a device may do more than
// that, and who opens or reads a pipe may wait for ever.
func openRegular(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be another by now
}

func (c Config) rawParameters(to protocol) (map[string]json.RawMessage, error) {
	ours, err := to.fields(question{})
	if err != nil {
		return nil, err
	}
	raw := make(map[string]json.RawMessage)
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		if _, there := ours[name]; there {
			return nil, fmt.Errorf("%s: is set by the relay", name)
		}
		if raw[name], err = json.Marshal(c.Parameters[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	// What a session must not ask for, the configuration must not either.
	_, err = to.fields(question{parameters: raw})
	if invalid, ok := errors.AsType[*session.InvalidError](err); ok {
		return nil, fmt.Errorf("%s: %s", strings.TrimPrefix(invalid.Field, "source.parameters."), invalid.Reason)
	}
	return raw, err
}

// fields are those of q's body: what the protocol sets, parameters, those of the
// configuration, and the protocol's presets. A parameter that the protocol sets
// is a *session.InvalidError.
func (p *provider) fields(q question) (map[string]any, error) {
	fields, err := p.protocol.fields(q)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(q.parameters)) { // so that it is always the same that is refused
		if _, ours := fields[name]; ours && q.dialect != session.DialectNative {
			continue // its client said it to the relay
		} else if ours {
			return nil, &session.InvalidError{Field: "source.parameters." + name, Reason: "is set by the relay"}
		}
		fields[name] = q.parameters[name]
	}
	usual := []map[string]json.RawMessage{p.parameters}
	if preset, ok := p.protocol.(presetter); ok {
		usual = append(usual, preset.presets(q.model))
	}
	for _, parameters := range usual {
		for name, value := range parameters {
			if given, there := fields[name]; !there {
				fields[name] = value
			} else if q.composed {
				fields[name] = joined(name, given, value)
			}
		}
	}
	return fields, nil
}

// composites are objects that the relay makes of several parameters of a
// client: those of the configuration have their place beside them.
var composites = []string{"metadata", "options", "output_config", "reasoning", "text"}

// joined returns what a client has given in one of them, and of what is usual
// what that has not.
func joined(name string, given any, usual json.RawMessage) any {
	raw, ok := given.(json.RawMessage)
	if !ok || !slices.Contains(composites, name) {
		return given
	}
	all := make(fields)
	maps.Copy(all, fieldsOf(usual))
	maps.Copy(all, fieldsOf(raw))
	return all
}
