package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
	"tokenrelay/session/upstream"
	"tokenrelay/session/upstream/upstreamtest"
)

// question is the body of a create of an upstream.
func question(prompt string) string {
	return fmt.Sprintf(`{"source":{"type":"upstream","model":"m","messages":[{"role":"user","content":%q}]},"unit":"rune"}`, prompt)
}

// A creation is what a client is told of one.
type creation struct {
	status   int
	replayed string // the header
	location string
	ID       string
	State    string
	Code     string // of a refusal
}

// createKeyed sends a create with an idempotency key.
func (r *relay) createKeyed(path, body, key string) creation {
	r.t.Helper()
	a := r.ask("POST", path, body, "Idempotency-Key: "+key)
	defer a.conn.Close()
	c := creation{status: a.StatusCode, replayed: a.Header.Get("Idempotent-Replayed"), location: a.Header.Get("Location")}
	if err := json.NewDecoder(a.Body).Decode(&c); err != nil {
		r.t.Fatalf("POST %s: %v", path, err)
	}
	return c
}

// isNew fails unless a session was made.
func (c creation) isNew(t *testing.T) creation {
	t.Helper()
	if c.status != http.StatusCreated || c.replayed != "" || c.location != "/v1/sessions/"+c.ID {
		t.Fatalf("create = %+v, want a new session", c)
	}
	return c
}

// repeats fails unless the session was found that was made first.
func (c creation) repeats(t *testing.T, first creation, state string) {
	t.Helper()
	if c.status != http.StatusOK || c.replayed != "true" || c.location != first.location || c.ID != first.ID || c.State != state {
		t.Errorf("repeat = %+v, want %s, %s", c, first.ID, state)
	}
}

func (c creation) isRefused(t *testing.T, status int, code string) {
	t.Helper()
	if c.status != status || c.Code != code || c.replayed != "" {
		t.Errorf("create = %+v, want %d %s", c, status, code)
	}
}

// A create that is repeated finds the session that it has made, and asks nobody
// anything.
func TestKeyCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		b.provider.Script("tides", slow)
		body := question("tides")
		first := b.createKeyed("/v1/sessions", body, "k1").isNew(t)
		stream := b.ask("GET", first.location+"/events", "")
		if _, _, err := readSome(stream.Body, 100); err != nil {
			t.Fatal(err)
		}
		stream.conn.Close()
		b.createKeyed("/v1/sessions", body, "k1").repeats(t, first, "running")
		b.createKeyed("/v1/sessions", body+" ", "k1").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		b.createKeyed("/v1/sessions", question("winds"), "k1").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		b.do("POST", first.location+"/pause", "")
		b.createKeyed("/v1/sessions", body, "k1").repeats(t, first, "paused")
		b.do("POST", first.location+"/resume", "")
		if _, text := b.readAll(first.location, "0"); text != upstreamtest.Text("tides") {
			t.Errorf("text = %q", text)
		}
		b.createKeyed("/v1/sessions", body, "k1").repeats(t, first, "done")
		time.Sleep(time.Hour) // it has left memory
		b.createKeyed("/v1/sessions", body, "k1").repeats(t, first, "done")
		if got := len(b.provider.Requests()); got != 1 {
			t.Errorf("the provider was asked %d times, want once", got)
		}
		if second := b.createKeyed("/v1/sessions", body, "k2").isNew(t); second.ID == first.ID {
			t.Error("another key has the same session")
		}
		b.do("DELETE", first.location, "")
		if again := b.createKeyed("/v1/sessions", question("winds"), "k1").isNew(t); again.ID == first.ID {
			t.Error("a deleted session was found")
		}
	})
}

func TestKeyContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		b.provider.Script("tides", slow)
		first := b.createKeyed("/v1/sessions", question("tides"), "k1").isNew(t)
		time.Sleep(time.Second)
		goOn := first.location + "/continue"
		b.createKeyed(goOn, "", "go-on").isRefused(t, http.StatusConflict, "session_not_ended")
		b.do("POST", first.location+"/stop", "")
		synctest.Wait()
		asked := len(b.provider.Requests())
		b.createKeyed(goOn, "", "k1").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		next := b.createKeyed(goOn, "", "go-on").isNew(t)
		if next.ID == first.ID {
			t.Error("it continues itself")
		}
		b.createKeyed(goOn, "", "go-on").repeats(t, next, "running")
		b.createKeyed(goOn, "{}", "go-on").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		b.createKeyed("/v1/sessions", question("tides"), "go-on").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		// Another session's route is another request.
		b.createKeyed(next.location+"/continue", "", "go-on").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		if _, text := b.readAll(next.location, "0"); text != upstreamtest.Text("tides") {
			t.Errorf("text = %q", text)
		}
		b.do("DELETE", first.location, "")
		b.createKeyed(goOn, "", "go-on").repeats(t, next, "done")
		b.createKeyed(goOn, "", "go-on-2").isRefused(t, http.StatusGone, "session_deleted")
		if got := len(b.provider.Requests()) - asked; got != 1 {
			t.Errorf("the provider was asked %d times to go on, want once", got)
		}
	})
}

// Of many requests with one key that come at once one makes a session.
func TestKeyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startUpstreamRelay(t, options{}, upstream.Config{})
		b.provider.Script("tides", slow)
		var mu sync.Mutex
		var all []creation
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				c := b.createKeyed("/v1/sessions", question("tides"), "k1")
				mu.Lock()
				defer mu.Unlock()
				all = append(all, c)
			})
		}
		group.Wait()
		made := 0
		for _, c := range all {
			if c.ID != all[0].ID || c.status != http.StatusOK && c.status != http.StatusCreated {
				t.Errorf("create = %+v, want %s", c, all[0].ID)
			}
			if c.status == http.StatusCreated {
				made++
			}
		}
		b.readAll(all[0].location, "0")
		if got := len(b.provider.Requests()); made != 1 || got != 1 {
			t.Errorf("%d sessions were made and the provider was asked %d times, want 1 and 1", made, got)
		}
	})
}

func TestKeyIsMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		push := `{"source":{"type":"push"}}`
		ended := r.create(`{"source":{"type":"text","text":"x"}}`)
		for name, key := range map[string]string{
			"empty": "", "a blank in it": "a b", "too long": strings.Repeat("k", 256), "a tab in it": "a\tb", "not ASCII": "schlüssel", "two headers": "a\r\nIdempotency-Key: a",
			"two headers, one empty": "a\r\nIdempotency-Key:",
		} {
			for _, path := range []string{"/v1/sessions", ended + "/continue"} {
				body := map[bool]string{true: push}[path == "/v1/sessions"]
				if c := r.createKeyed(path, body, key); c.status != http.StatusBadRequest || c.Code != "malformed_idempotency_key" {
					t.Errorf("POST %s with a key that is %s = %+v, want 400 malformed_idempotency_key", path, name, c)
				}
			}
		}
		for _, key := range []string{"k", "!~", strings.Repeat("k", 255), `"6c1a-quoted"`, "a,b"} {
			first := r.createKeyed("/v1/sessions", push, key).isNew(t)
			r.createKeyed("/v1/sessions", push, key).repeats(t, first, "running")
		}
	})
}

// What was refused has not used its key, and a repeat is taken where a new
// session would not be.
func TestKeyOfRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &sessiontest.Faulty{Store: memstore.New()}
		r := start(t, options{store: st, session: session.Options{MaxSessions: 1}})
		push := `{"source":{"type":"push"}}`
		r.createKeyed("/v1/sessions", `{"source":{"type":"push"},"unit":"syllable"}`, "k").isRefused(t, 400, "invalid_field")
		st.Fail(session.ErrNoSpace)
		r.createKeyed("/v1/sessions", push+" ", "k").isRefused(t, 507, "storage_full")
		st.Fail(nil)
		first := r.createKeyed("/v1/sessions", push, "k").isNew(t)
		r.createKeyed("/v1/sessions", push, "k2").isRefused(t, 429, "overloaded")
		r.createKeyed("/v1/sessions", push, "k").repeats(t, first, "running")
		st.Fail(session.ErrNoSpace)
		r.createKeyed("/v1/sessions", push, "k").repeats(t, first, "running")
	})
}

// After a restart on the disk a key finds what it has made: what goes on, what
// had ended, and what the restart interrupted.
func TestKeyAfterRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	gate := make(chan struct{})
	p := upstreamtest.New(upstreamtest.Options{})
	p.Script("tides", upstreamtest.Behavior{Gate: gate})
	set, err := upstream.New([]upstream.Config{{Name: "mock", BaseURL: "http://provider.test/v1"}}, upstream.Options{Transport: &http.Transport{DialContext: p.Pipe(t)}})
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*relay, *pebblestore.Store) {
		st, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return start(t, options{store: st, server: server.Options{Drain: time.Millisecond}, session: session.Options{Upstreams: set}}), st
	}
	text, push := `{"source":{"type":"text","text":"abc"}}`, `{"source":{"type":"push"}}`
	r, st := open()
	ended := r.createKeyed("/v1/sessions", text, "ended").isNew(t)
	canonical(t, r.ask("GET", ended.location+"/events", "").Body)
	running := r.createKeyed("/v1/sessions", push, "running").isNew(t)
	cut := r.createKeyed("/v1/sessions", question("tides"), "cut").isNew(t)
	gate <- struct{}{}
	if _, _, err := readSome(r.ask("GET", cut.location+"/events", "").Body, 1); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, st = open()
		r.createKeyed("/v1/sessions", text, "ended").repeats(t, ended, "done")
		r.createKeyed("/v1/sessions", push, "running").repeats(t, running, "running")
		if _, err := io.ReadAll(r.ask("GET", cut.location+"/events", "").Body); err != nil {
			t.Fatal(err)
		}
		r.createKeyed("/v1/sessions", question("tides"), "cut").repeats(t, cut, "interrupted")
		r.createKeyed("/v1/sessions", push, "cut").isRefused(t, http.StatusConflict, "idempotency_key_reused")
		r.stop()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(p.Requests()); got != 1 {
		t.Errorf("the provider was asked %d times, want once", got)
	}
}

// What a repeated create continues need not be there any more.
func TestKeyAfterPrevious(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &attentive{Opener: models{}}
		r := start(t, options{session: session.Options{Upstreams: up}})
		previous := r.ask("POST", "/v1/responses", `{"model":"length","input":"Hi"}`).Header.Get("X-Tokenrelay-Session")
		body := `{"model":"length","input":"And?","previous_response_id":"resp_` + previous + `"}`
		key := "Idempotency-Key: k"
		status, first := r.do("POST", "/v1/responses", body, key)
		r.do("DELETE", "/v1/responses/resp_"+previous, "")
		again, second := r.do("POST", "/v1/responses", body, key)
		if status != http.StatusOK || again != http.StatusOK || second != first {
			t.Errorf("repeated after what it continues is deleted: %d %s, want %d %s", again, second, status, first)
		}
		if status, body := r.do("POST", "/v1/responses", body, "Idempotency-Key: another"); status != http.StatusNotFound {
			t.Errorf("with another key: %d %s, want 404", status, body)
		}
	})
}

// A cursor of an answer that is gone makes no other one.
func TestKeyWithCursorMakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &attentive{Opener: models{}}
		r := start(t, options{session: session.Options{Upstreams: up}})
		for path, body := range map[string]string{
			"/v1/responses":        response("length", streamed),
			"/v1/chat/completions": completion("length", streamed),
		} {
			status, answer := r.do("POST", path, body, "Idempotency-Key: "+path, "Last-Event-ID: 3")
			if status != http.StatusRequestedRangeNotSatisfiable || !strings.Contains(answer, "cursor_ahead") {
				t.Errorf("POST %s = %d %s, want 416 cursor_ahead", path, status, answer)
			}
		}
		if got := up.input(); got != "" {
			t.Errorf("the model was asked %s", got)
		}
		if _, list := r.do("GET", "/v1/sessions", ""); !strings.Contains(list, `"sessions":[]`) {
			t.Errorf("there are sessions: %s", list)
		}
	})
}
