package server

import (
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// Metrics is what one relay shows under /metrics. Its labels take few values,
// all known beforehand but the codes of upstreams: no session is one, and nothing
// of a text.
type Metrics struct {
	registry  *prometheus.Registry
	started   *prometheus.CounterVec // by source
	recovered *prometheus.CounterVec // by source
	ended     *prometheus.CounterVec // by state
	failed    *prometheus.CounterVec // by code
	first     prometheus.Histogram
	frames    prometheus.Counter
	bytes     prometheus.Counter
	commits   prometheus.Histogram
	batches   prometheus.Counter
	capped    *prometheus.CounterVec // by unit and encoding
}

// stateBroken is the state, among those that sessions end in, of one that was
// broken off.
const stateBroken = "broken_off"

// NewMetrics returns metrics that count nothing yet: Events belongs into the
// Options of a Manager, and the whole into those of its Server.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenrelay_sessions_started_total",
			Help: "Sessions created, by the type of their source.",
		}, []string{"source"}),
		recovered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenrelay_sessions_recovered_total",
			Help: "Sessions taken over at the start of the relay because they had not ended, by the type of their source. Those that could not go on exactly end as interrupted.",
		}, []string{"source"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenrelay_sessions_ended_total",
			Help: "Sessions ended, by their last state. Those that failed have lost their source or reached a limit; those " +
				"that were broken_off have no end of their own: the relay was shut down, or could not store them.",
		}, []string{"state"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenrelay_sessions_failed_total",
			Help: "Sessions ended as failed or interrupted, by the code that their readers are told.",
		}, []string{"code"}),
		first: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tokenrelay_first_token_seconds",
			Help:    "How long upstreams took from the request to the first token.",
			Buckets: []float64{0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84},
		}),
		frames: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tokenrelay_frames_total",
			Help: "Frames (numbered events) committed to the logs of sessions. Each counts once, however many readers it has.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tokenrelay_frame_bytes_total",
			Help: "Bytes of the frames committed, in the form in which they are sent.",
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tokenrelay_commit_duration_seconds",
			Help:    "How long commits of events to the store took. One is for all sessions that waited; nothing in it is shown or acknowledged before it is over.",
			Buckets: prometheus.ExponentialBuckets(25e-6, 4, 10), // to 6.5 s
		}),
		batches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tokenrelay_commit_batches_total",
			Help: "Sessions in those commits: by how many commits they are divided is how well commits are shared.",
		}),
		capped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokenrelay_units_capped_total",
			Help: "Units cut because they had reached the longest length that is held, not because the text ends them there. " +
				"It takes an endless unbroken run: a token's piece of 1 KiB that could still end in several ways, a word " +
				"of 512 bytes, a character of 256 bytes, a line of 4 KiB; or a delta of more than 8 KiB. The text is unharmed; " +
				"only where its units end may differ there from what the encoding or Unicode says.",
		}, []string{"unit", "encoding"}),
	}
	m.registry.MustRegister(
		m.started, m.recovered, m.ended, m.failed, m.first, m.frames, m.bytes, m.commits, m.batches, m.capped, buildInfo(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.zero()
	return m
}

// zero makes all counters appear before there is something to count, so that
// the first one is seen as an increase.
func (m *Metrics) zero() {
	for _, source := range []session.SourceType{session.SourceText, session.SourceGenerate, session.SourcePush, session.SourceUpstream} {
		m.started.WithLabelValues(string(source))
		m.recovered.WithLabelValues(string(source))
	}
	for _, state := range []session.State{session.Done, session.Stopped, session.Failed, session.Interrupted, stateBroken} {
		m.ended.WithLabelValues(string(state))
	}
	for _, code := range session.Codes() {
		m.failed.WithLabelValues(code)
	}
	for _, unit := range chunker.Units() {
		encodings := []string{""}
		if unit == chunker.Token {
			encodings = chunker.Encodings()
		}
		for _, encoding := range encodings {
			m.capped.WithLabelValues(string(unit), encoding)
		}
	}
}

// Events counts what sessions tell.
func (m *Metrics) Events() session.Events {
	return session.Events{
		Started: func(source session.SourceType) {
			m.started.WithLabelValues(string(source)).Inc()
		},
		Recovered: func(source session.SourceType) {
			m.recovered.WithLabelValues(string(source)).Inc()
		},
		Committed: func(frames, bytes int) {
			m.frames.Add(float64(frames))
			m.bytes.Add(float64(bytes))
		},
		Appended: func(batches int, took time.Duration) {
			m.commits.Observe(took.Seconds())
			m.batches.Add(float64(batches))
		},
		Capped: func(unit chunker.Unit, encoding string, units uint64) {
			m.capped.WithLabelValues(string(unit), encoding).Add(float64(units))
		},
		FirstToken: func(took time.Duration) { m.first.Observe(took.Seconds()) },
		Ended: func(state session.State, code string) {
			if code != "" {
				m.failed.WithLabelValues(code).Inc()
			}
			if !state.Terminal() {
				state = stateBroken
			}
			m.ended.WithLabelValues(string(state)).Inc()
		},
	}
}

// watch adds what manager uses, and what the readers of other protocols keep. It
// is an error to call it twice.
func (m *Metrics) watch(manager *session.Manager, projected *budget) error {
	return m.registry.Register(&useCollector{manager, projected, prometheus.NewDesc(
		"tokenrelay_store_up",
		"1 while the store takes new sessions, 0 while it does not. The label is what a commit of it survives: nothing (memory), "+
			"the end of the process (process), or the loss of power.",
		nil, prometheus.Labels{"durability": string(manager.Level())},
	)})
}

// A useCollector shows what a Manager uses, all of it as of one moment.
type useCollector struct {
	manager   *session.Manager
	projected *budget
	up        *prometheus.Desc
}

var (
	projectedBytes = gauge("tokenrelay_projected_bytes", "Bytes of text that the readers of other protocols than the native one keep, since those repeat it where it ends.")
	projectedLimit = gauge("tokenrelay_projected_limit_bytes", "How many bytes that may be (--max-projected); beyond it readers are refused, or reset and come back.")
)

// gauges are those of a Use.
var gauges = []struct {
	desc  *prometheus.Desc
	value func(session.Use) float64
}{
	{gauge("tokenrelay_sessions", "Sessions that are kept, ended ones included until their retention is over."),
		func(u session.Use) float64 { return float64(u.Live + u.Ended) }},
	{gauge("tokenrelay_sessions_live", "Sessions that have not ended, running or paused."),
		func(u session.Use) float64 { return float64(u.Live) }},
	{gauge("tokenrelay_sessions_in_memory", "Sessions in memory: all that have not ended, and ended ones that were asked for lately."),
		func(u session.Use) float64 { return float64(u.InMemory) }},
	{gauge("tokenrelay_sessions_limit", "How many sessions that have not ended there may be (--max-sessions); beyond it creation is refused."),
		func(u session.Use) float64 { return float64(u.MaxSessions) }},
	{gauge("tokenrelay_readers", "Readers of all sessions now."),
		func(u session.Use) float64 { return float64(u.Readers) }},
	{gauge("tokenrelay_readers_limit", "How many readers there may be (--max-readers); those beyond it are told to come back."),
		func(u session.Use) float64 { return float64(u.MaxReaders) }},
	{gauge("tokenrelay_kept_bytes", "Bytes of frames that are kept, and of what their sessions were created with."),
		func(u session.Use) float64 { return float64(u.Bytes) }},
	{gauge("tokenrelay_kept_limit_bytes", "How many bytes may be kept (--max-total-bytes); before it is reached the oldest ended sessions are removed."),
		func(u session.Use) float64 { return float64(u.MaxTotalBytes) }},
	{gauge("tokenrelay_held_bytes", "Bytes of memory of what paused upstreams have been read on by."),
		func(u session.Use) float64 { return float64(u.Held) }},
	{gauge("tokenrelay_held_limit_bytes", "How many bytes that may be (--max-total-hold); beyond it each is read on by one delta."),
		func(u session.Use) float64 { return float64(u.MaxTotalHold) }},
	{gauge("tokenrelay_unread_upstreams", "Upstreams that go on though nobody has read them for as long as their sessions say."),
		func(u session.Use) float64 { return float64(u.Unread) }},
	{gauge("tokenrelay_unread_upstreams_limit", "How many of them there may be (--max-unread); one that would be more is stopped."),
		func(u session.Use) float64 { return float64(u.MaxUnread) }},
	{gauge("tokenrelay_store_bytes", "Bytes that the store takes on its disk, compressed, its reserve apart; room of what was removed comes back after a while."),
		func(u session.Use) float64 { return float64(u.Disk) }},
}

func gauge(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// Describe implements prometheus.Collector.
func (c *useCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.up
	descs <- projectedBytes
	descs <- projectedLimit
	for _, g := range gauges {
		descs <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c *useCollector) Collect(metrics chan<- prometheus.Metric) {
	up := 1.0
	if c.manager.Ready() != nil {
		up = 0
	}
	metrics <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	metrics <- prometheus.MustNewConstMetric(projectedBytes, prometheus.GaugeValue, float64(c.projected.used.Load()))
	metrics <- prometheus.MustNewConstMetric(projectedLimit, prometheus.GaugeValue, float64(c.projected.most))
	use := c.manager.Use()
	for _, g := range gauges {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(use))
	}
}

// buildInfo is always 1; its labels say what is running.
func buildInfo() prometheus.Collector {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "tokenrelay_build_info",
		Help:        "Always 1. The labels are the versions of the relay and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// handler answers in the text format of Prometheus. One collector that cannot
// read its figures keeps none of the others back.
func (m *Metrics) handler(logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	})
}

// metrics answers a scrape.
func (s *Server) metrics(c *gin.Context) error {
	s.scrape.ServeHTTP(c.Writer, c.Request)
	return nil
}
