package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

const pushLines = `{"source":{"type":"push"},"unit":"line"}`

func TestStreamHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{Retry: 2 * time.Second}})
		path := r.create(pushLines)
		a := r.ask("GET", path+"/events", "")
		for name, want := range map[string]string{
			"Content-Type":      "text/event-stream; charset=utf-8",
			"Cache-Control":     "no-store, no-transform",
			"X-Accel-Buffering": "no",
			"Content-Length":    "",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		// Something to resume from is there at once, before any text.
		var first upstream.Event
		began := time.Now()
		follow(a.Body, func(e upstream.Event) bool { first = e; return true })
		if first.ID != "1" || first.Name != "session" || first.Retry != 2*time.Second || time.Since(began) != 0 {
			t.Errorf("first event = %+v after %v", first, time.Since(began))
		}
		if readers := r.state(path).Readers; readers != 1 {
			t.Errorf("readers = %d, want 1", readers)
		}
		a.conn.Close()
		synctest.Wait()
		if got := r.state(path); got.Readers != 0 || got.State != "running" {
			t.Errorf("after the reader left: %+v, want it running with 0 readers", got)
		}
	})
}

// Something comes at least every 15 s, between whole events, and it is a
// comment with one newline, since some clients take more for an event.
func TestKeepAlive(t *testing.T) {
	for query, want := range map[string]string{
		"":            "retry: 1000\n: ka\n: ka\nid: 2\ndata: {\"text\":\"x\\n\"}\n\n: ka\n",
		"&ping=event": "retry: 1000\nevent: ping\ndata: {\"last_event_id\":1}\n\nevent: ping\ndata: {\"last_event_id\":1}\n\nid: 2\ndata: {\"text\":\"x\\n\"}\n\nevent: ping\ndata: {\"last_event_id\":2}\n\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options{})
			path := r.create(pushLines)
			body := r.ask("GET", path+"/events?after=1"+query, "").Body
			var got strings.Builder
			go io.Copy(&got, body)
			time.Sleep(44 * time.Second)
			r.do("POST", path+"/append", `{"text":"x\n"}`)
			time.Sleep(16 * time.Second)
			synctest.Wait()
			if got.String() != want {
				t.Errorf("%s: a minute's stream = %q, want %q", query, got.String(), want)
			}
		})
	}
}

// The pace is the reader's: others and the source are as fast as ever.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"text","text":"` + strings.Repeat("x", 99) + `"},"unit":"rune"}`)
		began := time.Now()
		slow := r.ask("GET", path+"/events?pace=2", "")
		canonical(t, r.ask("GET", path+"/events", "").Body)
		if took := time.Since(began); took != 0 {
			t.Errorf("the other reader took %v", took)
		}
		events := split(canonical(t, slow.Body))
		if took, want := time.Since(began), 50*time.Second; len(events) != 101 || took != want {
			t.Errorf("%d events at 2 a second took %v, want 101 in %v", len(events), took, want)
		}
		if status, _ := r.do("GET", path+"/events?pace=0&after=101", ""); status != 204 {
			t.Errorf("pace=0 at the end = %d, want 204", status)
		}
	})
}

// A quiet time is not made up for by a burst.
func TestPaceAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(pushLines)
		body := r.ask("GET", path+"/events?pace=1", "").Body
		read := make(chan struct{})
		go func() {
			canonical(t, body)
			close(read)
		}()
		time.Sleep(time.Minute)
		r.do("POST", path+"/append", `{"text":"a\nb\nc\nd\n"}`)
		r.do("POST", path+"/finish", "")
		began := time.Now()
		<-read
		if took, want := time.Since(began), 4*time.Second; took != want {
			t.Errorf("5 events at 1 a second took %v after a minute's silence, want %v", took, want)
		}
	})
}

func TestFormatText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"text","text":" a\nb\r\nc\rd \" "},"unit":"delta"}`)
		got := canonical(t, r.ask("GET", path+"/events?format=text&after=1", "").Body)
		want := "id: 2\ndata:  a\ndata: b\ndata: c\ndata: d \" \n\nid: 3\nevent: done\ndata: {\"reason\":\"stop\",\"usage\":{\"source\":\"none\"}}\n\n"
		if got != want {
			t.Errorf("stream = %q, want %q", got, want)
		}
	})
}

func TestLifeOfAPushSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"push"},"unit":"line","metadata":{"chat":"42"},"retain":"1h"}`)
		stream := make(chan string)
		body := r.ask("GET", path+"/events", "").Body
		go func() { stream <- canonical(t, body) }()
		for _, step := range []struct {
			method, path, body string
			status             int
			want               string // in the answer
		}{
			{"POST", "/append", `{"text":"one\ntw"}`, 200, `{"last_event_id":2}`},
			{"POST", "/append", `{"text":"o\n","producer":"p","seq":1}`, 200, `{"last_event_id":3}`},
			{"POST", "/append", `{"text":"o\n","producer":"p","seq":1}`, 200, `{"last_event_id":3,"repeated":true}`},
			{"POST", "/append", `{"text":"o\n","producer":"p","seq":3}`, 409, `"code":"append_out_of_order","detail":"append 3 of producer \"p\" is out of order: expected 2","expected_seq":2`},
			{"GET", "", "", 200, `"producers":{"p":1},"retain":"1h0m0s","metadata":{"chat":"42"}`},
			{"POST", "/pause", "", 200, `"state":"paused"`},
			{"POST", "/pause", "{}", 200, `"state":"paused"`},
			{"POST", "/append", `{"text":"x"}`, 409, `"code":"session_paused"`},
			{"POST", "/resume", "", 200, `"state":"running"`},
			{"POST", "/append", `{"event":"message","data":{"body": "<hi>\u2028", "n": 12345678901234567890}}`, 200, `{"last_event_id":6}`},
			{"GET", "/text", "", 200, "one\ntwo\n"},
			{"POST", "/finish", "", 200, `"state":"done"`},
			{"POST", "/finish", "", 200, `"state":"done"`},
			{"POST", "/stop", "", 200, `"state":"done"`},
			{"POST", "/append", `{"text":"x"}`, 409, `"code":"session_ended","detail":"the session has ended (done)","state":"done"`},
			{"POST", "/pause", "", 409, `"code":"session_ended"`},
			{"DELETE", "", "", 204, ""},
			{"GET", "", "", 410, `"code":"session_deleted"`},
			{"GET", "/events", "", 410, `"code":"session_deleted"`},
		} {
			status, got := r.do(step.method, path+step.path, step.body)
			if status != step.status || !strings.Contains(got, step.want) {
				t.Errorf("%s %s %s = %d %s; want %d with %s", step.method, step.path, step.body, status, got, step.status, step.want)
			}
		}
		var names []string
		for _, event := range split(<-stream) {
			_, event, _ = strings.Cut(event, "\n")
			names = append(names, strings.TrimSpace(event))
		}
		got := strings.Join(names[1:], " | ")
		want := `data: {"text":"one\n"} | data: {"text":"two\n"} | event: paused
data: {} | event: resumed
data: {} | event: message
data: {"body":"<hi>\u2028","n":12345678901234567890} | event: done
data: {"reason":"finish","usage":{"source":"none"}}`
		if got != want {
			t.Errorf("stream = %s\nwant %s", got, want)
		}
	})
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		var want []string
		for range 5 {
			want = append([]string{strings.TrimPrefix(r.create(pushLines), "/v1/sessions/")}, want...)
			time.Sleep(time.Second)
		}
		var got []string
		for next := ""; ; {
			_, body := r.do("GET", "/v1/sessions?limit=2"+next, "")
			var page struct {
				Sessions []struct{ ID, State string }
				Next     string
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			for _, one := range page.Sessions {
				got = append(got, one.ID)
			}
			if page.Next == "" {
				break
			}
			next = "&after=" + page.Next
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sessions = %v, want %v", got, want)
		}
	})
}

// A stream that stops before its terminal event is reset, not ended.
func TestShutdownResetsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		quick := r.ask("GET", r.create(`{"source":{"type":"text","text":"abcde"},"unit":"rune","rate":1}`)+"/events", "")
		endless := r.ask("GET", r.create(pushLines)+"/events", "")
		pausedPath := r.create(pushLines)
		r.do("POST", pausedPath+"/pause", "")
		paused := r.ask("GET", pausedPath+"/events", "")
		type end struct {
			err error
			at  time.Duration
		}
		ends := make([]end, 3)
		began := time.Now()
		for i, a := range []answer{quick, endless, paused} {
			go func() {
				_, err := io.ReadAll(a.Body)
				ends[i] = end{err, time.Since(began)}
			}()
		}
		late := r.dial()
		synctest.Wait()
		go r.stop()
		synctest.Wait()
		// What comes during the drain is told to come back.
		if a, err := r.askOn(late, "POST", "/v1/sessions", pushLines); err != nil || a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
			t.Errorf("create during the drain = %v, %v; want 503 with Retry-After", a.Response, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, want := range []struct {
			name  string
			reset bool
			at    time.Duration
		}{
			{"one that ends in time", false, 4 * time.Second},
			{"one that does not", true, server.DefaultDrain},
			{"one that is paused", true, 0},
		} {
			if got := ends[i]; isReset(got.err) != want.reset || got.at != want.at {
				t.Errorf("%s ended with %v after %v, want reset %t after %v", want.name, got.err, got.at, want.reset, want.at)
			}
		}
	})
}

// A browser gives up for good on any status but 200, so overload is told to a
// reader by a reset.
func TestOverloadOnEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{MaxReaders: 1}})
		path := r.create(pushLines)
		r.ask("GET", path+"/events", "")
		a := r.ask("GET", path+"/events", "")
		body, err := io.ReadAll(a.Body)
		if a.StatusCode != 200 || string(body) != "retry: 1000\n" || !isReset(err) {
			t.Errorf("second reader got %d %q, %v; want 200, when to retry, and a reset", a.StatusCode, body, err)
		}
	})
}

// Who reads a session finds what it is cut by, in its state and in its stream.
func TestStateShowsWhatCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: silent{}}})
		for body, want := range map[string]string{
			`{"source":{"type":"push"}}`:                                                      `"unit":"token","encoding":"o200k_base","encoding_source":"default","unicode":"GO"`,
			`{"source":{"type":"push"},"encoding":"cl100k_base"}`:                             `"unit":"token","encoding":"cl100k_base","encoding_source":"request","unicode":"GO"`,
			`{"source":{"type":"upstream","model":"a/gpt-4","messages":[{}]}}`:                `"unit":"token","encoding":"cl100k_base","encoding_source":"model","unicode":"GO"`,
			`{"source":{"type":"upstream","model":"a/gpt-oss-20b","messages":[{}]}}`:          `"unit":"token","encoding":"o200k_harmony","encoding_source":"model","unicode":"GO"`,
			`{"source":{"type":"upstream","model":"a/llama","messages":[{}]}}`:                `"unit":"token","encoding":"o200k_base","encoding_source":"default","unicode":"GO"`,
			`{"source":{"type":"upstream","model":"a/gpt-4","messages":[{}]},"unit":"delta"}`: `"unit":"delta",`,
			`{"source":{"type":"push"},"unit":"word"}`:                                        `"unit":"word","unicode":"UAX",`,
			`{"source":{"type":"push"},"unit":"line"}`:                                        `"unit":"line",`,
		} {
			want = strings.NewReplacer("GO", chunker.UnicodeVersion(chunker.Token), "UAX", chunker.UnicodeVersion(chunker.Word)).Replace(want)
			path := r.create(body)
			_, state := r.do("GET", path, "")
			var first string
			follow(r.ask("GET", path+"/events", "").Body, func(e upstream.Event) bool { first = e.Data; return true })
			more := strings.Count(state+first, "encoding") + strings.Count(state+first, `"unicode"`) - 2*strings.Count(want, "encoding") - 2*strings.Count(want, `"unicode"`)
			if !strings.Contains(state, want) || !strings.Contains(first, want) || more != 0 {
				t.Errorf("%s has the state %s and the first event %s; want %s in both", body, state, first, want)
			}
		}
	})
}

// A silent upstream has every model, and none of them says anything.
type silent struct{}

func (silent) Open(session.SourceSpec) (session.Source, error) { return silent{}, nil }

func (silent) Deltas(ctx context.Context, _ session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		<-ctx.Done()
		yield(session.Delta{}, ctx.Err())
	}
}

func TestAdmin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{Models: []string{"aimock/gpt-4o"}}})
		for path, want := range map[string]string{
			"/healthz": `{"status":"ok"}`,
			"/readyz":  `{"status":"ready","durability":"memory"}`,
		} {
			if status, body := r.do("GET", path, ""); status != 200 || strings.TrimSpace(body) != want {
				t.Errorf("%s = %d %s, want %s", path, status, body, want)
			}
		}
		var models struct {
			Object string
			Data   []struct{ ID, Object string }
		}
		_, body := r.do("GET", "/v1/models", "")
		if err := json.Unmarshal([]byte(body), &models); err != nil || models.Object != "list" || len(models.Data) != 2 || models.Data[0].ID != "demo" || models.Data[1].ID != "aimock/gpt-4o" {
			t.Errorf("models = %s", body)
		}
	})
}

func TestPage(t *testing.T) {
	page := fstest.MapFS{
		"index.html": {Data: []byte("<!doctype html>")},
		"app.js":     {Data: []byte("1")},
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{Page: page}})
		for path, want := range map[string]struct {
			status int
			body   string
		}{
			"/":            {200, "<!doctype html>"},
			"/s/abc?at=57": {200, "<!doctype html>"},
			"/app.js":      {200, "1"},
			"/none.js":     {404, ""},
			"/readyz/":     {404, ""},
			"/healthz/x":   {404, ""},
			"//v1/none":    {404, ""},
			"/v1/none":     {404, ""},
		} {
			a := r.ask("GET", path, "")
			body, _ := io.ReadAll(a.Body)
			if a.StatusCode != want.status || want.status == 200 && string(body) != want.body {
				t.Errorf("%s = %d %s", path, a.StatusCode, body)
			}
			if policy := a.Header.Get("Content-Security-Policy"); want.status == 200 && (!strings.HasPrefix(policy, "default-src 'none'") ||
				strings.Contains(policy, "unsafe") || !strings.Contains(policy, "require-trusted-types-for 'script'")) {
				t.Errorf("%s has policy %q", path, policy)
			}
			if etag := a.Header.Get("ETag"); want.status == 200 {
				if again := r.ask("GET", path, "", "If-None-Match: "+etag); again.StatusCode != 304 {
					t.Errorf("%s again = %d, want 304", path, again.StatusCode)
				}
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		if status, body := r.do("GET", "/", ""); status != 404 || !strings.Contains(body, "make ui") {
			t.Errorf("a binary without its page says %d %s", status, body)
		}
	})
}

// A connection that served a stream serves the next request as well, however
// much later: the stream's write deadline does not stay behind.
func TestConnectionAfterAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"text","text":"x"},"unit":"rune"}`)
		conn := r.dial()
		a, err := r.askOn(conn, "GET", path+"/events", "")
		if err != nil {
			t.Fatal(err)
		}
		canonical(t, a.Body)
		time.Sleep(server.DefaultWriteTimeout + 10*time.Second)
		if a, err = r.askOn(conn, "GET", path, ""); err != nil || a.StatusCode != 200 {
			t.Errorf("second request on the connection = %v, %v", a.Response, err)
		}
		conn.Close()
	})
}

// No native event is larger than 60 KiB, whatever the source gives at once.
func TestNoLargeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		text := strings.Repeat("\x01", 300_000) // each is six bytes of JSON
		for _, unit := range chunker.Units() {
			body, _ := json.Marshal(map[string]any{"source": map[string]string{"type": "text", "text": text[:30_000]}, "unit": unit})
			for _, event := range split(canonical(t, r.ask("GET", r.create(string(body))+"/events", "").Body)) {
				if len(event) > session.MaxFrame {
					t.Errorf("%s: an event has %d bytes", unit, len(event))
				}
			}
		}
	})
}
