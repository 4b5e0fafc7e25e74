package server_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// unicodeVersion is a field that may change with the version of Go.
var unicodeVersion = regexp.MustCompile(`"unicode":"[0-9.]+"`)

// continued is the id of another session.
var continued = regexp.MustCompile(`"continues":"[a-z2-7]{26}"`)

// tokens is an answer of so many tokens of 30 characters.
func tokens(n int) upstreamtest.Behavior {
	b := slow
	b.Size, b.Tokens = 30, n
	return b
}

// The wire form of the native protocol is what clients were written against:
// these transcripts change only on purpose.
func TestGoldenTranscripts(t *testing.T) {
	for name, tell := range map[string]func(r upstreamRelay) (path string){
		"text": func(r upstreamRelay) string {
			return r.relay.create(`{"source":{"type":"text","text":"Hello, 👩‍👩‍👧 \"world\"\n\u2028"},"unit":"token","rate":10}`)
		},
		"push": func(r upstreamRelay) string {
			path := r.relay.create(`{"source":{"type":"push"},"unit":"line"}`)
			r.do("POST", path+"/append", `{"text":"one\r\ntwo"}`)
			r.do("POST", path+"/append", `{"event":"message","data":{"sender":"ann","body":"<hi>"}}`)
			r.do("POST", path+"/pause", "")
			r.do("POST", path+"/resume", "")
			r.do("POST", path+"/append", `{"text":"three"}`)
			r.do("POST", path+"/finish", "")
			return path
		},
		"stopped": func(r upstreamRelay) string {
			path := r.relay.create(`{"source":{"type":"push"},"unit":"grapheme"}`)
			r.do("POST", path+"/append", `{"text":"e\u0301x"}`)
			r.do("POST", path+"/stop", "")
			return path
		},
		"generate": func(r upstreamRelay) string {
			return r.relay.create(`{"source":{"type":"generate","prompt":"tides","seed":1,"length":40},"unit":"line"}`)
		},
		"released": func(r upstreamRelay) string {
			r.provider.Script("tides", tokens(3), tokens(2))
			path := r.create("tides", `,"unit":"delta","on_pause":"release","on_no_reader":{"policy":"pause","after":"90s"}`)
			time.Sleep(350 * time.Millisecond)
			r.do("POST", path+"/pause", "")
			time.Sleep(time.Minute)
			r.do("POST", path+"/resume", "")
			return path
		},
		"continued": func(r upstreamRelay) string {
			r.provider.Script("tides", tokens(3), tokens(2))
			path := r.create("tides", `,"unit":"delta"`)
			time.Sleep(350 * time.Millisecond)
			r.do("POST", path+"/stop", "")
			return r.ask("POST", path+"/continue", "").Header.Get("Location")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := startUpstreamRelay(t, options{}, upstream.Config{})
			path := tell(r)
			got := "retry: 1000\n" + canonical(t, r.ask("GET", path+"/events", "").Body)
			time.Sleep(time.Second)
			_, state := r.do("GET", path, "")
			got = strings.ReplaceAll(got+"\n"+state, strings.TrimPrefix(path, "/v1/sessions/"), "ID")
			got = continued.ReplaceAllString(got, `"continues":"OTHER"`)
			got = unicodeVersion.ReplaceAllString(got, `"unicode":"VERSION"`)
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%s (%v): go test ./server -update, if it is meant; got:\n%s", golden, err, got)
			}
		})
	}
}
