package server_test

import (
	"io"
	"testing"
	"testing/synctest"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// Who could not read an answer does not ask for it: SDKs repeat a create that
// is overloaded, and each repeat would ask the model once more.
func TestOverloadedCreatesAskNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startUpstreamRelay(t, options{session: session.Options{MaxReaders: 1}}, upstream.Config{})
		held := r.relay.ask("GET", r.relay.create(`{"source":{"type":"push"}}`)+"/events", "")
		for path, body := range map[string]string{
			"/v1/responses":        `{"model":"m","input":"Why tides?"}`,
			"/v1/responses?":       `{"model":"m","input":"Why tides?","stream":true}`,
			"/v1/responses?x":      `{"model":"m","input":"Why tides?","background":true}`,
			"/v1/chat/completions": `{"model":"m","messages":[{"role":"user","content":"Why tides?"}]}`,
			"/api/chat":            `{"model":"m","messages":[{"id":"1","role":"user","parts":[{"type":"text","text":"Why tides?"}]}]}`,
		} {
			a := r.ask("POST", path, body)
			if got, _ := io.ReadAll(a.Body); a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || a.Header.Get("X-Should-Retry") != "" {
				t.Errorf("POST %s without a seat = %d %s, want a 429 that may be repeated", path, a.StatusCode, got)
			}
			a.conn.Close()
		}
		if asked := len(r.provider.Requests()); asked != 0 {
			t.Errorf("the model was asked %d times, want 0", asked)
		}
		held.conn.Close()
		synctest.Wait()
		for range 3 { // a seat serves all that one request reads, and is given back
			if status, body := r.do("POST", "/v1/responses", `{"model":"m","input":"Why tides?"}`); status != 200 {
				t.Errorf("POST with a seat = %d %s", status, body)
			}
		}
		if metrics, _ := r.scrape(); metrics["tokenrelay_readers"] != "0" {
			t.Errorf("readers at the end = %s, want 0", metrics["tokenrelay_readers"])
		}
	})
}

// A chat must not take the route of a run.
func TestChatIsNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		body := `{"id":` + quote(session.NewID().String()) + `,"messages":[{"id":"1","role":"user","parts":[{"type":"text","text":"x"}]}]}`
		a := r.ask("POST", "/api/chat", body)
		if got, _ := io.ReadAll(a.Body); a.StatusCode != 400 || a.Header.Get("X-Error-Code") != "invalid_field" {
			t.Errorf("a chat with the id of a run = %d %s, want 400", a.StatusCode, got)
		}
	})
}
