package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// Each kind of bad input has its own code, and changes nothing.
func TestBadInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{MaxBody: 100_000}})
		push := r.create(pushLines)
		ended := r.create(`{"source":{"type":"text","text":"x"},"unit":"rune"}`)
		canonical(t, r.ask("GET", ended+"/events", "").Body)
		huge := strings.Repeat("x", 70_000)
		nobody := "/v1/sessions/" + session.NewID().String()
		for name, test := range map[string]struct {
			method, path, body string
			header             string
			status             int
			code               string
		}{
			"malformed JSON":            {"POST", "/v1/sessions", `{"source"`, "", 400, "malformed_json"},
			"two values":                {"POST", "/v1/sessions", `{"source":{"type":"push"}} {}`, "", 400, "malformed_json"},
			"not an object":             {"POST", "/v1/sessions", `[]`, "", 400, "invalid_field"},
			"empty body":                {"POST", "/v1/sessions", ``, "", 400, "invalid_field"},
			"null":                      {"POST", "/v1/sessions", `null`, "", 400, "invalid_field"},
			"unknown field":             {"POST", "/v1/sessions", `{"source":{"type":"push"},"colour":"red"}`, "", 400, "unknown_field"},
			"unknown field of source":   {"POST", "/v1/sessions", `{"source":{"type":"push","text":"x"}}`, "", 400, "unknown_field"},
			"on_pause of no upstream":   {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_pause":"hold"}`, "", 400, "invalid_field"},
			"wrong on_pause":            {"POST", "/v1/sessions", `{"source":{"type":"upstream","model":"m","messages":[{}]},"on_pause":"drop"}`, "", 400, "invalid_field"},
			"wrong policy":              {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":{"policy":"wait"}}`, "", 400, "invalid_field"},
			"wrong after":               {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":{"after":"5"}}`, "", 400, "invalid_field"},
			"after that is a number":    {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":{"after":5}}`, "", 400, "invalid_field"},
			"after at once":             {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":{"after":"0s"}}`, "", 400, "invalid_field"},
			"after too long":            {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":{"after":"25h"}}`, "", 400, "invalid_field"},
			"on_no_reader that is text": {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":"stop"}`, "", 400, "invalid_field"},
			"its field spelt otherwise": {"POST", "/v1/sessions", `{"source":{"type":"push"},"on_no_reader":{"Policy":"stop"}}`, "", 400, "unknown_field"},
			"parameters of no upstream": {"POST", "/v1/sessions", `{"source":{"type":"push","parameters":{}}}`, "", 400, "unknown_field"},
			"parameters no object":      {"POST", "/v1/sessions", `{"source":{"type":"upstream","model":"m","messages":[{}],"parameters":[]}}`, "", 400, "invalid_field"},
			"parameter given twice":     {"POST", "/v1/sessions", `{"source":{"type":"upstream","model":"m","messages":[{}],"parameters":{"a":1,"a":2}}}`, "", 400, "malformed_json"},
			"continue of a push":        {"POST", push + "/continue", "", "", 409, "not_an_upstream_session"},
			"continue of a text":        {"POST", ended + "/continue", "", "", 409, "not_an_upstream_session"},
			"continue with a body":      {"POST", push + "/continue", `{"unit":"rune"}`, "", 400, "unknown_field"},
			"missing one's continue":    {"POST", nobody + "/continue", "", "", 404, "session_not_found"},
			"continue of no id":         {"POST", "/v1/sessions/42/continue", "", "", 404, "session_not_found"},
			"continue, malformed key":   {"POST", push + "/continue", "", "Idempotency-Key: k k", 400, "malformed_idempotency_key"},
			"wrong unit":                {"POST", "/v1/sessions", `{"source":{"type":"push"},"unit":"char"}`, "", 400, "invalid_field"},
			"wrong encoding":            {"POST", "/v1/sessions", `{"source":{"type":"push"},"encoding":"gpt2"}`, "", 400, "invalid_field"},
			"wrong source":              {"POST", "/v1/sessions", `{"source":{"type":"pull"}}`, "", 400, "invalid_field"},
			"source without text":       {"POST", "/v1/sessions", `{"source":{"type":"text"}}`, "", 400, "invalid_field"},
			"no upstream":               {"POST", "/v1/sessions", `{"source":{"type":"upstream","model":"m","messages":[{}]}}`, "", 400, "invalid_field"},
			"wrong type":                {"POST", "/v1/sessions", `{"source":{"type":"push"},"rate":"fast"}`, "", 400, "invalid_field"},
			"field spelt otherwise":     {"POST", "/v1/sessions", `{"SOURCE":{"type":"push"}}`, "", 400, "unknown_field"},
			"field of source likewise":  {"POST", "/v1/sessions", `{"source":{"TYPE":"push"}}`, "", 400, "unknown_field"},
			"field given twice":         {"POST", "/v1/sessions", `{"source":{"type":"push"},"source":{"type":"push"}}`, "", 400, "malformed_json"},
			"metadata null":             {"POST", "/v1/sessions", `{"source":{"type":"push"},"metadata":{"a":null}}`, "", 400, "invalid_field"},
			"tiny rate":                 {"POST", "/v1/sessions", `{"source":{"type":"text","text":"x"},"rate":1e-10}`, "", 400, "invalid_field"},
			"huge number":               {"POST", "/v1/sessions", `{"source":{"type":"push"},"rate":` + strings.Repeat("9", 1000) + `}`, "", 400, "invalid_field"},
			"negative rate":             {"POST", "/v1/sessions", `{"source":{"type":"text","text":"x"},"rate":-1}`, "", 400, "invalid_field"},
			"wrong retain":              {"POST", "/v1/sessions", `{"source":{"type":"push"},"retain":"a day"}`, "", 400, "invalid_field"},
			"retain too long":           {"POST", "/v1/sessions", `{"source":{"type":"push"},"retain":"1000h"}`, "", 400, "invalid_field"},
			"too large a body":          {"POST", "/v1/sessions", `{"source":{"type":"text","text":"` + huge + huge + `"}}`, "", 413, "body_too_large"},
			"invalid UTF-8":             {"POST", push + "/append", "{\"text\":\"a\xff\"}", "", 400, "invalid_utf8"},
			"half a surrogate pair":     {"POST", push + "/append", `{"text":"a\ud83d"}`, "", 400, "invalid_utf8"},
			"other half":                {"POST", push + "/append", `{"text":"\ude00 a"}`, "", 400, "invalid_utf8"},
			"append of nothing":         {"POST", push + "/append", `{}`, "", 400, "invalid_field"},
			"append of both":            {"POST", push + "/append", `{"text":"x","event":"y","data":{}}`, "", 400, "invalid_field"},
			"our own event":             {"POST", push + "/append", `{"event":"done","data":{}}`, "", 400, "invalid_field"},
			"empty event":               {"POST", push + "/append", `{"event":"","data":{}}`, "", 400, "invalid_field"},
			"too large an event":        {"POST", push + "/append", `{"event":"big","data":"` + huge + `"}`, "", 413, "event_too_large"},
			"append out of order":       {"POST", push + "/append", `{"text":"x","producer":"p","seq":2}`, "", 409, "append_out_of_order"},
			"seq 0":                     {"POST", push + "/append", `{"text":"x","producer":"p","seq":0}`, "", 400, "invalid_field"},
			"negative seq":              {"POST", push + "/append", `{"text":"x","producer":"p","seq":-1}`, "", 400, "invalid_field"},
			"append to a text":          {"POST", ended + "/append", `{"text":"x"}`, "", 409, "not_a_push_session"},
			"body for a command":        {"POST", push + "/pause", `{"why":"tea"}`, "", 400, "unknown_field"},
			"missing session":           {"GET", nobody, "", "", 404, "session_not_found"},
			"missing session's events":  {"GET", nobody + "/events", "", "", 404, "session_not_found"},
			"missing session's append":  {"POST", nobody + "/append", "{}", "", 404, "session_not_found"},
			"missing session to delete": {"DELETE", nobody, "", "", 404, "session_not_found"},
			"no id":                     {"GET", "/v1/sessions/42", "", "", 404, "session_not_found"},
			"negative cursor":           {"GET", push + "/events?after=-1", "", "", 400, "malformed_cursor"},
			"non-numeric cursor":        {"GET", push + "/events?after=x", "", "", 400, "malformed_cursor"},
			"empty cursor":              {"GET", push + "/events?after=", "", "", 400, "malformed_cursor"},
			"cursor with a sign":        {"GET", push + "/events?after=%2B1", "", "", 400, "malformed_cursor"},
			"fractional cursor":         {"GET", push + "/events?startIndex=1.0", "", "", 400, "malformed_cursor"},
			"huge cursor":               {"GET", push + "/events?after=9007199254740992", "", "", 400, "malformed_cursor"},
			"huger cursor":              {"GET", push + "/events?after=99999999999999999999", "", "", 400, "malformed_cursor"},
			"malformed header":          {"GET", push + "/events", "", "Last-Event-ID: abc", 400, "malformed_cursor"},
			"empty header":              {"GET", push + "/events", "", "Last-Event-ID: ", 400, "malformed_cursor"},
			"header -1":                 {"GET", push + "/events?after=0", "", "Last-Event-ID: -1", 400, "malformed_cursor"},
			"future cursor":             {"GET", push + "/events?after=2", "", "", 416, "cursor_ahead"},
			"future header":             {"GET", push + "/events?after=0", "", "Last-Event-ID: 9007199254740991", 416, "cursor_ahead"},
			"future start":              {"GET", push + "/events?startIndex=3", "", "", 416, "cursor_ahead"},
			"future of an ended":        {"GET", ended + "/events?after=4", "", "", 416, "cursor_ahead"},
			"two cursors":               {"GET", push + "/events?after=0&startIndex=1", "", "", 400, "invalid_parameter"},
			"cursor twice":              {"GET", push + "/events?after=0&after=1", "", "", 400, "invalid_parameter"},
			"cursor that is no query":   {"GET", push + "/events?after=%zz", "", "", 400, "invalid_parameter"},
			"cursor and semicolon":      {"GET", push + "/events?after=5;x=1", "", "", 400, "invalid_parameter"},
			"tiny pace":                 {"GET", push + "/events?pace=1e-12", "", "", 400, "invalid_parameter"},
			"misspelt cursor":           {"GET", push + "/events?afer=0", "", "", 400, "invalid_parameter"},
			"wrong compact":             {"GET", push + "/events?compact=1", "", "", 400, "invalid_parameter"},
			"compact with a pace":       {"GET", push + "/events?compact=true&pace=5", "", "", 400, "invalid_parameter"},
			"negative pace":             {"GET", push + "/events?pace=-1", "", "", 400, "invalid_parameter"},
			"pace NaN":                  {"GET", push + "/events?pace=NaN", "", "", 400, "invalid_parameter"},
			"wrong format":              {"GET", push + "/events?format=xml", "", "", 400, "invalid_parameter"},
			"wrong ping":                {"GET", push + "/events?ping=yes", "", "", 400, "invalid_parameter"},
			"wrong limit":               {"GET", "/v1/sessions?limit=0", "", "", 400, "invalid_parameter"},
			"wrong page":                {"GET", "/v1/sessions?after=2", "", "", 400, "malformed_cursor"},
			"query on the state":        {"GET", push + "?after=0", "", "", 400, "invalid_parameter"},
			"query on a command":        {"POST", push + "/pause?x=1", "", "", 400, "invalid_parameter"},
			"malformed key":             {"POST", "/v1/sessions", pushLines, "Idempotency-Key: k k", 400, "malformed_idempotency_key"},
			"wrong method":              {"PUT", push, "", "", 405, "method_not_allowed"},
			"later route ws":            {"GET", push + "/ws", "", "", 404, "route_not_found"},
			"foreign page":              {"POST", "/v1/sessions", pushLines, "Origin: https://evil.example", 403, "cross_origin"},
			"foreign frame":             {"POST", push + "/stop", "", "Sec-Fetch-Site: cross-site", 403, "cross_origin"},
		} {
			if test.header == "" {
				test.header = "X: y"
			}
			a := r.ask(test.method, test.path, test.body, test.header)
			var problem struct {
				Title, Code, Detail string
				Status              int
			}
			err := json.NewDecoder(a.Body).Decode(&problem)
			if err != nil || a.StatusCode != test.status || problem.Status != test.status || problem.Code != test.code || problem.Title == "" || problem.Detail == "" {
				t.Errorf("%s: %d %+v, %v; want %d %s", name, a.StatusCode, problem, err, test.status, test.code)
			}
			if kind := a.Header.Get("Content-Type"); kind != "application/problem+json" || len(problem.Detail) > 300 {
				t.Errorf("%s: Content-Type = %q, detail %q", name, kind, problem.Detail)
			}
		}
		if got := r.state(push); got.LastEventID != 1 || got.State != "running" || got.Producers != nil {
			t.Errorf("after all of it the session is %+v, want it as it was", got)
		}
	})
}

func TestAheadTellsTheLastID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(pushLines)
		if _, body := r.do("GET", path+"/events?after=7", ""); !strings.Contains(body, `"last_event_id":1`) {
			t.Errorf("416 says %s, want the last id", body)
		}
	})
}

func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		conn := r.dial()
		began := time.Now()
		a, err := exchange(conn, "POST", "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); a.StatusCode != 408 || took != server.DefaultBodyTimeout {
			t.Errorf("body that never comes = %d after %v, want 408 after %v", a.StatusCode, took, server.DefaultBodyTimeout)
		}
		conn.Close()
	})
}

// A body that was promised and does not come holds up nothing.
func TestBodyNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(pushLines)
		began := time.Now()
		for request, want := range map[string]int{
			"GET " + path + "/events": 200, "GET " + path: 200, "DELETE /v1/sessions/x": 404,
			"POST /v1/sessions/x/append": 404, "POST /v1/none": 404, "PUT " + path: 405,
		} {
			conn := r.dial()
			a, err := exchange(conn, "GET", request+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
			if err != nil || a.StatusCode != want || time.Since(began) != 0 {
				t.Errorf("%s with a body that does not come = %v, %v after %v; want %d at once", request, a.Response, err, time.Since(began), want)
			}
			if want == 200 {
				one := make([]byte, 1)
				if _, err := a.Body.Read(one); err != nil {
					t.Errorf("%s: body: %v", request, err)
				}
			}
			defer conn.Close()
		}
		r.stop()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// A connection is kept where the body was read, whatever the answer.
func TestConnectionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		conn := r.dial()
		for _, body := range []string{pushLines, `{"source":{}}`, `{`, pushLines} {
			a, err := r.askOn(conn, "POST", "/v1/sessions", body)
			if err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			io.Copy(io.Discard, a.Body)
		}
		conn.Close()
	})
}

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{server: server.Options{AllowHosts: []string{"Relay.example"}}})
		for host, want := range map[string]int{
			"localhost": 200, "LOCALHOST:8080": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "192.168.0.7": 200,
			"relay.example": 200, "relay.example:443": 200, "Relay.Example.": 200, "localhost.": 200, "evil.example": 421, "localhost.evil.example:8080": 421, "127.0.0.1.evil.example": 421,
		} {
			conn := r.dial()
			a, err := exchange(conn, "GET", "GET /healthz HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
			if err != nil || a.StatusCode != want {
				t.Errorf("Host %s = %v, %v; want %d", host, a.Response, err, want)
			}
			conn.Close()
		}
	})
}

func TestAllowedOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const app = "https://app.example"
		r := start(t, options{server: server.Options{AllowOrigins: []string{app}}})
		a := r.ask("OPTIONS", "/v1/sessions", "", "Origin: "+app, "Access-Control-Request-Method: POST")
		if allowed := a.Header.Get("Access-Control-Allow-Headers"); a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Origin") != app ||
			!strings.Contains(allowed, "Last-Event-ID") || !strings.Contains(allowed, "Idempotency-Key") {
			t.Errorf("preflight = %d %v", a.StatusCode, a.Header)
		}
		for _, want := range []int{201, 200} {
			a = r.ask("POST", "/v1/sessions", pushLines, "Origin: "+app, "Sec-Fetch-Site: cross-site", "Idempotency-Key: k")
			if a.StatusCode != want || a.Header.Get("Access-Control-Allow-Origin") != app || a.Header.Get("Access-Control-Allow-Credentials") != "" ||
				!strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "Idempotent-Replayed") || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "X-Should-Retry") {
				t.Errorf("create from an allowed page = %d %v, want %d", a.StatusCode, a.Header, want)
			}
		}
		a = r.ask("GET", "/v1/models", "", "Origin: https://evil.example")
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("a foreign page may read: %q", got)
		}
	})
}

// A browser that asks for a page of an origin that is not allowed is told so, on
// every path, and its operator is told once.
func TestPreflightRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := start(t, options{server: server.Options{AllowOrigins: []string{"https://app.example"}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}})
		for _, path := range []string{"/v1/sessions", "/v1/chat/completions", "/v1/responses/x/cancel", "/api/chat", "/v1/nothing", "/"} {
			a := r.ask("OPTIONS", path, "", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
			if body, _ := io.ReadAll(a.Body); a.StatusCode != 403 || !strings.Contains(string(body), "--allow-origin") || a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("preflight of %s = %d %s, want 403 that names --allow-origin", path, a.StatusCode, body)
			}
		}
		if a := r.ask("OPTIONS", "/v1/sessions", "", "Origin: http://localhost"); a.StatusCode != 405 {
			t.Errorf("OPTIONS of the relay's own page = %d, want 405", a.StatusCode)
		}
		r.ask("GET", "/v1/sessions/secret", "")
		r.stop()
		if n := strings.Count(log.String(), `level=INFO msg="request refused"`); n != 1 || !strings.Contains(log.String(), `level=INFO msg="request refused" origin=https://evil.example method=OPTIONS`) {
			t.Errorf("%d lines at info, want one of the origin:\n%s", n, log.String())
		}
		if want := `level=DEBUG msg="request refused" method=GET route=/v1/sessions/:id status=404 code=session_not_found`; !strings.Contains(log.String(), want) || strings.Contains(log.String(), "secret") {
			t.Errorf("the log has no %s, or what the client sent:\n%s", want, log.String())
		}
	})
}

func TestOptionsRefused(t *testing.T) {
	manager, err := session.NewManager(memstore.New(), session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]server.Options{
		"origin without a scheme": {Manager: manager, AllowOrigins: []string{"app.example"}},
		"origin in upper case":    {Manager: manager, AllowOrigins: []string{"https://App.example"}},
		"host with a port":        {Manager: manager, AllowHosts: []string{"app.example:443"}},
		"silent for too long":     {Manager: manager, KeepAlive: time.Minute},
		"negative drain":          {Manager: manager, Drain: -1},
		"no manager":              {},
	} {
		if _, err := server.New(o); err == nil {
			t.Errorf("%s: New gave no error", name)
		}
	}
}

func TestStatusOfEveryCode(t *testing.T) {
	for code, status := range server.Statuses() {
		if http.StatusText(status) == "" {
			t.Errorf("code %s has status %s", code, strconv.Itoa(status))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"text":"a"}`, `{"text":"\ud83d\ude00"}`, `{"text":"\ud83d"}`, `{"text":"\\ud83d"}`, "{\"text\":\"\xff\"}", `{"Text":1}`, `{} {}`, ``, `{"text":"\udbff\udfff\ud800x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want struct {
			Text string `json:"text"`
		}
		if server.DecodeStrict(data, &got) != nil {
			return
		}
		// What is taken means the same to encoding/json, and is all Unicode.
		if err := json.Unmarshal(data, &want); err != nil || got != want {
			t.Errorf("%q = %+v, want %+v, %v", data, got, want, err)
		}
		if strings.ContainsRune(got.Text, '\ufffd') && !strings.Contains(string(data), "\ufffd") && !strings.Contains(strings.ToLower(string(data)), `\ufffd`) {
			t.Errorf("%q was taken as %q: a surrogate half got lost", data, got.Text)
		}
	})
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"0", "1", "-1", "+1", "007", "9007199254740991", "9007199254740992", "1e3", " 1", "１"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := server.ParseCursor(s)
		if err == nil && (strings.Trim(s, "0123456789") != "" || id > session.MaxFrameID) {
			t.Errorf("cursor %q = %d", s, id)
		}
	})
}

// Each code stands in the documentation, with its status.
func TestErrorsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Errors\n")
	table, _, _ = strings.Cut(table, "\nThe `error` of")
	for code, status := range server.Statuses() {
		found := false
		for row := range strings.Lines(table) {
			found = found || strings.Contains(row, "`"+string(code)+"`") && strings.Contains(strings.SplitN(row+"|", "|", 3)[1], strconv.Itoa(status))
		}
		if !found {
			t.Errorf("%s, %d, is not in the table of errors", code, status)
		}
	}
}
