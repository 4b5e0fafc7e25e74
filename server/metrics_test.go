package server_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"tokenrelay/chunker"
	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// scrape returns the samples of the relay itself, by name with labels, and
// all that was sent.
func (r *relay) scrape() (samples map[string]string, body string) {
	r.t.Helper()
	status, body := r.do("GET", "/metrics", "")
	if status != 200 {
		r.t.Fatalf("GET /metrics = %d %s", status, body)
	}
	samples = make(map[string]string)
	for line := range strings.Lines(body) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && strings.HasPrefix(name, "tokenrelay_") {
			samples[name] = value
		}
	}
	return samples, body
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{MaxSessions: 7}})
		check := func(when string, want map[string]string) {
			t.Helper()
			synctest.Wait()
			got, _ := r.scrape()
			for name, value := range want {
				if got[name] != value {
					t.Errorf("%s: %s = %q, want %s", when, name, got[name], value)
				}
			}
		}
		check("at first", map[string]string{
			`tokenrelay_sessions_started_total{source="upstream"}`:                 "0",
			`tokenrelay_sessions_recovered_total{source="push"}`:                   "0",
			`tokenrelay_sessions_ended_total{state="broken_off"}`:                  "0",
			`tokenrelay_units_capped_total{encoding="",unit="grapheme"}`:           "0",
			`tokenrelay_units_capped_total{encoding="o200k_harmony",unit="token"}`: "0",
			`tokenrelay_sessions`:       "0",
			`tokenrelay_sessions_limit`: "7",
			`tokenrelay_frames_total`:   "0",
		})
		endless := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":"grapheme"}`, quote("a"+strings.Repeat("\u0301", 1000))))
		stream := canonical(t, r.ask("GET", endless+"/events", "").Body)
		lines := r.create(pushLines)
		reader := r.ask("GET", lines+"/events", "")
		r.do("POST", lines+"/append", `{"text":"`+strings.Repeat("x", 5000)+`"}`)
		check("with one that has ended and one that is read", map[string]string{
			`tokenrelay_sessions_started_total{source="text"}`:           "1",
			`tokenrelay_sessions_started_total{source="push"}`:           "1",
			`tokenrelay_sessions_ended_total{state="done"}`:              "1",
			`tokenrelay_sessions_live`:                                   "1",
			`tokenrelay_sessions`:                                        "2",
			`tokenrelay_sessions_in_memory`:                              "2",
			`tokenrelay_readers`:                                         "1",
			`tokenrelay_units_capped_total{encoding="",unit="grapheme"}`: "7",
			`tokenrelay_units_capped_total{encoding="",unit="line"}`:     "1",
			`tokenrelay_frames_total`:                                    fmt.Sprint(len(split(stream)) + 2),
		})
		reader.conn.Close()
		r.do("POST", lines+"/stop", "")
		r.do("DELETE", lines, "")
		check("after", map[string]string{
			`tokenrelay_sessions_ended_total{state="stopped"}`: "1",
			`tokenrelay_sessions_live`:                         "0",
			`tokenrelay_sessions`:                              "1",
			`tokenrelay_readers`:                               "0",
		})
	})
}

// What upstreams do, and why sessions failed, is counted.
func TestMetricsOfUpstreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{Limits: upstream.Limits{Retries: -1}})
		b.provider.Script("tides", slow)
		b.provider.Script("many", upstreamtest.Behavior{Status: 429})
		for range 2 {
			b.readAll(b.create("tides", ""), "0")
		}
		b.readAll(b.create("many", ""), "0")
		synctest.Wait()
		got, _ := b.scrape()
		for name, want := range map[string]string{
			`tokenrelay_first_token_seconds_count`:                           "2",
			`tokenrelay_first_token_seconds_bucket{le="0.16"}`:               "0",
			`tokenrelay_first_token_seconds_bucket{le="0.32"}`:               "2",
			`tokenrelay_sessions_failed_total{code="upstream_rate_limited"}`: "1",
			`tokenrelay_sessions_failed_total{code="not_continuable"}`:       "0",
			`tokenrelay_sessions_ended_total{state="failed"}`:                "1",
		} {
			if got[name] != want {
				t.Errorf("%s = %q, want %s", name, got[name], want)
			}
		}
	})
}

// Dashboards hold on to names, and nothing about a session may be a label.
func TestMetricsShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		before, _ := r.scrape()
		path := r.create(`{"source":{"type":"text","text":"secret words"},"metadata":{"chat":"private"}}`)
		canonical(t, r.ask("GET", path+"/events", "").Body)
		synctest.Wait()
		after, body := r.scrape()
		for name := range after {
			if _, known := before[name]; !known {
				t.Errorf("%s came with a session", name)
			}
		}
		for _, private := range []string{strings.TrimPrefix(path, "/v1/sessions/"), "secret", "private"} {
			if strings.Contains(body, private) {
				t.Errorf("the metrics hold %q", private)
			}
		}
		problems, err := promlint.New(strings.NewReader(body)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("promlint: %v, %v", problems, err)
		}
		for _, sample := range []string{"go_goroutines ", "process_start_time_seconds ", `tokenrelay_build_info{goversion="go1.`} {
			if !strings.Contains(body, "\n"+sample) {
				t.Errorf("there is no %s", sample)
			}
		}
		// All that can be counted was there from the start.
		for _, unit := range chunker.Units() {
			if !strings.Contains(body, fmt.Sprintf(`,unit="%s"}`, unit)) {
				t.Errorf("no sample has the unit %s", unit)
			}
		}
		var names []string
		for _, line := range regexp.MustCompile(`(?m)^# TYPE (tokenrelay_.*)$`).FindAllStringSubmatch(body, -1) {
			names = append(names, line[1])
		}
		want := []string{
			"tokenrelay_build_info gauge",
			"tokenrelay_commit_batches_total counter",
			"tokenrelay_commit_duration_seconds histogram",
			"tokenrelay_first_token_seconds histogram",
			"tokenrelay_frame_bytes_total counter",
			"tokenrelay_frames_total counter",
			"tokenrelay_held_bytes gauge",
			"tokenrelay_held_limit_bytes gauge",
			"tokenrelay_kept_bytes gauge",
			"tokenrelay_kept_limit_bytes gauge",
			"tokenrelay_projected_bytes gauge",
			"tokenrelay_projected_limit_bytes gauge",
			"tokenrelay_readers gauge",
			"tokenrelay_readers_limit gauge",
			"tokenrelay_sessions gauge",
			"tokenrelay_sessions_ended_total counter",
			"tokenrelay_sessions_failed_total counter",
			"tokenrelay_sessions_in_memory gauge",
			"tokenrelay_sessions_limit gauge",
			"tokenrelay_sessions_live gauge",
			"tokenrelay_sessions_recovered_total counter",
			"tokenrelay_sessions_started_total counter",
			"tokenrelay_store_bytes gauge",
			"tokenrelay_store_up gauge",
			"tokenrelay_units_capped_total counter",
			"tokenrelay_unread_upstreams gauge",
			"tokenrelay_unread_upstreams_limit gauge",
		}
		if got := strings.Join(names, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("names are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

// A page of another site reaches them no more than anything else.
func TestMetricsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		a, err := exchange(r.dial(), "GET", "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n")
		if err != nil || a.StatusCode != 421 {
			t.Errorf("under another host = %v, %v, want 421", a.Response, err)
		}
		if status, _ := r.do("GET", "/metrics?x=1", ""); status != 400 {
			t.Errorf("with a query = %d, want 400", status)
		}
		if status, _ := r.do("POST", "/metrics", ""); status != 405 {
			t.Errorf("POST = %d, want 405", status)
		}
	})
}

// A server shows something without Metrics, and two do not share one.
func TestMetricsOfServers(t *testing.T) {
	manager, err := session.NewManager(memstore.New(), session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.New(server.Options{Manager: manager}); err != nil {
		t.Errorf("without Metrics: %v", err)
	}
	shared := server.NewMetrics()
	if _, err := server.New(server.Options{Manager: manager, Metrics: shared}); err != nil {
		t.Errorf("with Metrics: %v", err)
	}
	if _, err := server.New(server.Options{Manager: manager, Metrics: shared}); err == nil {
		t.Error("two servers share Metrics")
	}
}
