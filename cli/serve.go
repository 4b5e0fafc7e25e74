package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os/signal"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/frontend"
	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/upstream"
)

// serveCommand is the whole configuration of the server.
type serveCommand struct {
	Config configFlag `placeholder:"FILE" help:"YAML file with any of these options, its keys written with _ for -."`
	Listen string     `default:"127.0.0.1:8080" help:"Address to listen on, as host:port; port 0 takes any that is free."`

	Data       string        `default:"./data" type:"path" help:"Directory that keeps the sessions. It is made if it is not there; no other relay may use it at the same time."`
	Durability session.Level `default:"power" enum:"power,process,memory" help:"What an event survives once it is shown, and an append once it is answered: the loss of power (power), only the end of the process, kill -9 too (process), or nothing (memory): --data is not used then."`

	Retain          time.Duration `default:"24h" group:"Sessions" help:"How long an ended session stays readable, and the most that a session can ask for."`
	MaxSessions     int           `default:"10000" group:"Sessions" help:"How many sessions there may be that have not ended."`
	MaxReaders      int           `default:"20000" group:"Sessions" help:"How many readers all sessions may have together."`
	MaxSessionBytes byteSize      `default:"16MiB" group:"Sessions" help:"Bound of one session's events, in bytes; one that reaches it ends as failed."`
	MaxTotalBytes   byteSize      `default:"1GiB" group:"Sessions" help:"Bound of what all sessions keep together, in bytes of events and of what they were created with. Before it is reached ended sessions are removed, those first that ended first."`
	MaxLog          byteSize      `default:"64KiB" group:"Sessions" help:"How much of one session's events stays in memory, in bytes, up to twice as much at times. Readers that are further behind read from --data."`

	OnNoReader      session.NoReaderPolicy `default:"continue" enum:"continue,pause,stop" group:"Sessions that nobody reads" help:"What becomes of a session that nobody reads, unless its creator said: it goes on (continue), is paused until somebody reads (pause), or ends (stop)."`
	OnNoReaderAfter time.Duration          `default:"5m" group:"Sessions that nobody reads" help:"How long nobody must have read it, up to 24h, unless its creator said."`
	MaxUnread       int                    `default:"1000" group:"Sessions that nobody reads" help:"How many upstreams may go on though nobody has read them for that long; one that would be more is stopped."`
	MaxUnreadTime   time.Duration          `default:"1h" group:"Sessions that nobody reads" help:"How long nobody may read an upstream that goes on; then it is stopped."`
	MaxIdle         time.Duration          `default:"24h" group:"Sessions that nobody reads" help:"How long nobody may read a session, be it paused, in which nothing happens; then it is stopped."`

	Upstream           upstreamFlags `placeholder:"name=…,base_url=…,key_env=…,model=…" group:"Upstreams" help:"A provider of models. May be given more than once, and model, one on offer, within it. protocol is chat (OpenAI's chat completions and what copies them), responses, anthropic or ollama. The key is in the environment variable key_env or the file key_file. Limits of its own: connect, header, first_token, idle, total, max_bytes, retries. background=true lets answers outlive the relay (responses); continuation is prefill or message."`
	UpstreamConnect    time.Duration `default:"10s" group:"Upstreams" help:"How long there may be no connection to an upstream."`
	UpstreamHeader     time.Duration `default:"2m" group:"Upstreams" help:"How long an upstream may take to begin its answer."`
	UpstreamFirstToken time.Duration `default:"5m" group:"Upstreams" help:"How long an answer may take to have its first token."`
	UpstreamIdle       time.Duration `default:"2m" group:"Upstreams" help:"How long there may be no token after another. What an upstream sends to keep the connection alive is none."`
	UpstreamTotal      time.Duration `default:"1h" group:"Upstreams" help:"How long an answer may take in all. This and the limits above stand still while the session is paused."`
	UpstreamMaxBytes   byteSize      `default:"256MiB" group:"Upstreams" help:"Bound of an answer as it comes, in bytes."`
	UpstreamRetries    int           `default:"2" group:"Upstreams" help:"How often an upstream is asked again when it refuses for the moment, or the connection breaks, before the answer's first token; 0 for never."`
	MaxHold            byteSize      `default:"1MiB" group:"Upstreams" help:"How much of an upstream is read on while its session is paused, in bytes of memory, some 210 a token."`
	MaxTotalHold       byteSize      `default:"256MiB" group:"Upstreams" help:"How much of all upstreams together is read on, in bytes of memory. Beyond it each is read on by one piece."`

	ChatModel  string        `placeholder:"MODEL" group:"Chats of the AI SDK" help:"Model that answers under /api/chat a chat which names none. Without it that is the first model of the first upstream that names one, or the demo generator if none does."`
	ChatReplay time.Duration `default:"5m" group:"Chats of the AI SDK" help:"How long after its end an answer is shown to a chat that is opened again, since its client may have lost its line before; 0 for not at all."`

	MaxBody      byteSize      `default:"4MiB" group:"Connections" help:"Bound of a request's body, in bytes."`
	KeepAlive    time.Duration `default:"15s" group:"Connections" help:"How long a stream may be silent before a keep-alive is sent."`
	Retry        time.Duration `default:"1s" group:"Connections" help:"How long EventSource is told to wait before it reconnects."`
	WriteTimeout time.Duration `default:"30s" group:"Connections" help:"How long one write to a reader may take before the reader is given up."`
	SocketBuffer byteSize      `default:"64KiB" group:"Connections" help:"How much of a stream the kernel may hold for one reader, in bytes."`
	MaxProjected byteSize      `default:"256MiB" group:"Connections" help:"How much of their texts the readers of other protocols than the native one keep together, in bytes, since those protocols repeat a text where it ends. Beyond it readers are refused, or reset and come back."`
	Drain        time.Duration `default:"10s" group:"Connections" help:"How long streams may go on once the server is told to end; a second signal ends it at once."`
	AllowHost    []string      `placeholder:"NAME" group:"Connections" help:"Name under which the relay may be addressed, beside localhost and IP addresses; * for any, which is the default when it listens beyond loopback."`
	AllowOrigin  []string      `placeholder:"URL" group:"Connections" help:"Origin other than the relay's own whose pages may use the API, such as https://app.example.com."`

	// upstreamLine tells where a key of an upstream stands in the configuration
	// file; nil if they are not from there.
	upstreamLine func(index int, key string) string

	LogLevel logLevel `default:"info" help:"Least level that is logged: debug, info, warn or error."`
}

// Validate checks what no other package would, and what would not name the
// option. Kong calls it.
func (c *serveCommand) Validate() error {
	for _, option := range [...]struct {
		flag  string
		value int64
	}{
		{"retain", int64(c.Retain)}, {"max-sessions", int64(c.MaxSessions)}, {"max-readers", int64(c.MaxReaders)},
		{"max-session-bytes", int64(c.MaxSessionBytes)}, {"max-total-bytes", int64(c.MaxTotalBytes)}, {"max-hold", int64(c.MaxHold)}, {"max-total-hold", int64(c.MaxTotalHold)}, {"max-log", int64(c.MaxLog)},
		{"on-no-reader-after", int64(c.OnNoReaderAfter)}, {"max-unread", int64(c.MaxUnread)}, {"max-unread-time", int64(c.MaxUnreadTime)}, {"max-idle", int64(c.MaxIdle)},
		{"max-body", int64(c.MaxBody)}, {"keep-alive", int64(c.KeepAlive)}, {"retry", int64(c.Retry)},
		{"write-timeout", int64(c.WriteTimeout)}, {"socket-buffer", int64(c.SocketBuffer)}, {"max-projected", int64(c.MaxProjected)}, {"drain", int64(c.Drain)},
		{"upstream-connect", int64(c.UpstreamConnect)}, {"upstream-header", int64(c.UpstreamHeader)}, {"upstream-first-token", int64(c.UpstreamFirstToken)},
		{"upstream-idle", int64(c.UpstreamIdle)}, {"upstream-total", int64(c.UpstreamTotal)}, {"upstream-max-bytes", int64(c.UpstreamMaxBytes)},
	} {
		if option.value <= 0 {
			return fmt.Errorf("--%s must be more than 0", option.flag)
		}
	}
	switch {
	case c.UpstreamRetries < 0:
		return errors.New("--upstream-retries must be 0 or more")
	case c.ChatReplay < 0:
		return errors.New("--chat-replay must be 0 or more")
	case c.OnNoReaderAfter > session.MaxNoReader:
		return fmt.Errorf("--on-no-reader-after must be %v at most", session.MaxNoReader)
	}
	for _, origin := range c.AllowOrigin {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(origin); err != nil {
			return fmt.Errorf("--allow-origin: %w", err)
		}
	}
	return nil
}

// Run serves until ctx is done.
func (c *serveCommand) Run(ctx context.Context, s streams) error {
	// A second signal has its usual effect.
	context.AfterFunc(ctx, func() { signal.Reset() })
	logger := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.Level(c.LogLevel)}))
	upstreams, err := c.upstreams(logger)
	if err != nil {
		return err
	}
	// Who comes from here on waits; a port that is taken ends it before the data
	// is touched.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()
	store, closeStore, err := c.openStore(ctx, logger)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return errors.Join(c.serve(ctx, logger, upstreams, listener, store), closeStore())
}

func (c *serveCommand) openStore(ctx context.Context, logger *slog.Logger) (store session.Store, done func() error, err error) {
	if c.Durability == session.LevelMemory {
		return memstore.New(), func() error { return nil }, nil
	}
	began := time.Now()
	logger.Info("opening the store", "data", c.Data, "durability", c.Durability)
	kept, err := pebblestore.Open(ctx, c.Data, pebblestore.Options{Level: c.Durability, Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	logger.Info("store opened", "bytes", kept.Stat().Disk, "took", time.Since(began).Round(time.Millisecond))
	return kept, kept.Close, nil
}

// serve runs the sessions of store and answers on listener until ctx is done.
func (c *serveCommand) serve(ctx context.Context, logger *slog.Logger, upstreams *upstream.Set, listener net.Listener, store session.Store) error {
	metrics := server.NewMetrics()
	manager, err := session.NewManager(store, session.Options{
		Upstreams:     upstreams,
		MaxSessions:   c.MaxSessions,
		MaxReaders:    c.MaxReaders,
		MaxBytes:      int64(c.MaxSessionBytes),
		MaxTotalBytes: int64(c.MaxTotalBytes),
		MaxHold:       int(c.MaxHold),
		MaxTotalHold:  int64(c.MaxTotalHold),
		NoReader:      session.NoReader{Policy: c.OnNoReader, After: c.OnNoReaderAfter},
		MaxUnread:     c.MaxUnread,
		MaxUnreadTime: c.MaxUnreadTime,
		MaxIdle:       c.MaxIdle,
		MaxLog:        int(c.MaxLog),
		Retain:        c.Retain,
		Events:        metrics.Events(),
		Logger:        logger,
	})
	if err != nil {
		return err
	}
	srv, err := server.New(server.Options{
		Manager:      manager,
		Models:       upstreams.Models(),
		Metrics:      metrics,
		Page:         frontend.Page(),
		KeepAlive:    c.KeepAlive,
		Retry:        c.Retry,
		WriteTimeout: c.WriteTimeout,
		Drain:        c.Drain,
		MaxBody:      int64(c.MaxBody),
		SocketBuffer: int(c.SocketBuffer),
		MaxProjected: int64(c.MaxProjected),
		ChatModel:    c.ChatModel,
		ChatReplay:   cmp.Or(c.ChatReplay, -1), // 0 would be the default
		AllowHosts:   c.hosts(listener.Addr()),
		AllowOrigins: c.AllowOrigin,
		Logger:       logger,
	})
	if err != nil {
		return err
	}
	// Not in a request: the first token session would wait for it.
	if err := chunker.Load(); err != nil {
		return err
	}

	// Sessions run on while their streams are drained.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ran := make(chan error, 1)
	go func() { ran <- manager.Run(running) }()
	if err = manager.Recover(ctx); err == nil {
		logger.Info("listening", "addr", listener.Addr().String(), "page", pageURL(listener.Addr()), "durability", store.Level())
		err = srv.Serve(ctx, listener)
	}
	stop()
	if ended := <-ran; !errors.Is(ended, context.Canceled) {
		err = errors.Join(err, ended)
	}
	logger.Info("stopped")
	return err
}

func (c *serveCommand) upstreams(logger *slog.Logger) (*upstream.Set, error) {
	set, err := upstream.New(c.Upstream, upstream.Options{Logger: logger, Limits: upstream.Limits{
		Connect:    c.UpstreamConnect,
		Header:     c.UpstreamHeader,
		FirstToken: c.UpstreamFirstToken,
		Idle:       c.UpstreamIdle,
		Total:      c.UpstreamTotal,
		Bytes:      int64(c.UpstreamMaxBytes),
		Retries:    retries(c.UpstreamRetries),
	}})
	if wrong, ok := errors.AsType[*upstream.ConfigError](err); ok && c.upstreamLine != nil {
		err = fmt.Errorf("%w%s", err, c.upstreamLine(wrong.Index, wrong.Key))
	}
	if err != nil {
		return nil, err
	}
	if c.ChatModel != "" && c.ChatModel != server.DemoModel {
		err := set.Has(c.ChatModel)
		if missing, ok := errors.AsType[*session.ModelError](err); ok && missing.NoUpstream {
			return nil, fmt.Errorf("--chat-model: %s: add one with --upstream, or name %s, the built-in generator", missing.Reason, server.DemoModel)
		}
		if invalid, ok := errors.AsType[*session.InvalidError](err); ok {
			return nil, fmt.Errorf("--chat-model: %s", invalid.Reason)
		}
	}
	for _, u := range c.Upstream {
		logger.Info("upstream", "name", u.Name, "protocol", cmp.Or(u.Protocol, upstream.Chat), "host", hostOf(u.BaseURL),
			"key", u.KeyEnv != "" || u.KeyFile != "", "models", len(u.Models))
	}
	return set, nil
}

// hostOf returns the host of an address, and nothing else that may be in it.
func hostOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Host
}

// hosts lists the names that requests may give. Who listens beyond loopback
// has a name that we cannot know.
func (c *serveCommand) hosts(at net.Addr) []string {
	if tcp, ok := at.(*net.TCPAddr); ok && len(c.AllowHost) == 0 && !tcp.IP.IsLoopback() {
		return []string{"*"}
	}
	return c.AllowHost
}

// pageURL is where a browser on this machine finds the page.
func pageURL(at net.Addr) string {
	if tcp, ok := at.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d/", tcp.Port)
	}
	return "http://" + at.String() + "/"
}
