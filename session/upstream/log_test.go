package upstream_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/upstream"
)

// Every line about an answer names its session, and none has what the provider
// said: that may quote the prompt.
func TestLog(t *testing.T) {
	const said = "the prompt was: Hi"
	refused := func(code int) http.HandlerFunc { return status(code, `{"error":{"message":"`+said+`"}}`) }
	busy := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cancel") {
			refused(500)(w, r)
			return
		}
		answer(stream(numbered(created, said200, `{"type":"error","message":"`+said+`"}`)...), false)(w, r)
	}
	expired := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			refused(400)(w, r)
			return
		}
		answer(stream(numbered(created, said200)...), true)(w, r)
	}
	for _, test := range []struct {
		name   string
		c      upstream.Config
		handle http.HandlerFunc
		want   []string // of the lines
	}{
		{"refused", upstream.Config{}, refused(400), []string{`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_refused status=400`}},
		{"not found", upstream.Config{}, refused(404), []string{`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_refused status=404 path=/v1/chat/completions`}},
		{"not allowed", upstream.Config{}, refused(405), []string{`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_refused status=405 path=/v1/chat/completions`}},
		{"moved", upstream.Config{}, refused(301), []string{`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_error status=301 path=/v1/chat/completions`}},
		{"busy", upstream.Config{Limits: upstream.Limits{Retries: 1}}, refused(503), []string{
			`level=INFO msg="upstream is asked again" upstream=p session=ID in=`, `code=upstream_overloaded status=503`,
			`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_overloaded status=503`}},
		{"error event", upstream.Config{Limits: once}, answer(stream(`{"error":{"message":"`+said+`"}}`), false), []string{`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_error`}},
		{"hangs up", upstream.Config{Limits: upstream.Limits{Retries: 1}}, hangUp, []string{
			`level=INFO msg="upstream is asked again" upstream=p session=ID in=`, `error="no answer: `,
			`level=WARN msg="upstream broke" upstream=p session=ID code=upstream_unreachable error="no answer: `}},
		{"malformed", upstream.Config{Limits: once}, answer(stream("{"), false), []string{`level=WARN msg="upstream broke" upstream=p session=ID code=upstream_malformed error=`}},
		{"in the background", upstream.Config{Protocol: upstream.Responses, Background: true, Limits: once}, busy, []string{
			`level=WARN msg="upstream may not have stopped" upstream=p session=ID code=upstream_error status=500`,
			`level=WARN msg="upstream refused" upstream=p session=ID code=upstream_error`}},
		{"too old to attach to", upstream.Config{Protocol: upstream.Responses, Background: true, Limits: once}, expired, []string{
			`level=WARN msg="upstream broke" upstream=p session=ID code=upstream_truncated error=`, `400`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := logged()
				set := newSet(t, test.c, upstream.Options{Logger: logger}, test.handle)
				log.Reset() // what it says of the configuration
				manager, err := session.NewManager(memstore.New(), session.Options{Upstreams: set})
				if err != nil {
					t.Fatal(err)
				}
				go manager.Run(t.Context())
				s, err := manager.Create(t.Context(), session.Anonymous, session.Spec{
					Source: session.SourceSpec{Type: session.SourceUpstream, Model: "m", Messages: json.RawMessage(`[{"role":"user","content":"Hi"}]`)},
				})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				id := s.Info().ID.String()
				got := log.String()
				for line := range strings.Lines(got) {
					if !strings.Contains(line, "session="+id[:8]) {
						t.Errorf("it does not name the session: %s", line)
					}
				}
				if strings.Contains(got, said) || strings.Contains(got, id) || strings.Contains(got, testKey) {
					t.Errorf("the log tells too much:\n%s", got)
				}
				for _, want := range test.want {
					if !strings.Contains(got, strings.ReplaceAll(want, "ID", id[:8])) {
						t.Errorf("the log has no %s:\n%s", want, got)
					}
				}
				if n := strings.Count(got, "upstream refused") + strings.Count(got, "upstream broke"); n != 1 {
					t.Errorf("the end is told %d times:\n%s", n, got)
				}
			})
		})
	}
}

// said200 is a piece of a response.
var said200 = said(`"a"`)
