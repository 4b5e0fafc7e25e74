package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
)

// places are what the cursors route answers.
type places struct {
	After                      int64
	Responses, ChatCompletions *struct {
		ID            string
		StartingAfter *int64 `json:"starting_after"`
	}
	UIMessages *struct {
		ID         string
		StartIndex *int64 `json:"startIndex"`
	}
}

func (r *relay) placesAfter(id string, after int64) (p places) {
	r.t.Helper()
	status, body := r.do("GET", fmt.Sprintf("/v1/sessions/%s/cursors?after=%d", id, after), "")
	body = strings.NewReplacer("chat_completions", "chatcompletions", "ui_messages", "uimessages").Replace(body)
	if err := json.Unmarshal([]byte(body), &p); err != nil || status != http.StatusOK || p.After != after || p.Responses == nil || p.ChatCompletions == nil || p.UIMessages == nil {
		r.t.Fatalf("cursors of %s after %d = %d %s", id, after, status, body)
	}
	return p
}

// paths are the requests that go on from the places, by the protocol.
func (p places) paths() map[string]string {
	after := func(n *int64) string {
		if n == nil {
			return ""
		}
		return "&starting_after=" + strconv.FormatInt(*n, 10)
	}
	return map[string]string{
		"responses": "/v1/responses/" + p.Responses.ID + "?stream=true" + after(p.Responses.StartingAfter),
		"chat":      "/v1/chat/completions/" + p.ChatCompletions.ID + "?stream=true" + after(p.ChatCompletions.StartingAfter),
		"ui":        fmt.Sprintf("/api/chat/%s/stream?startIndex=%d", p.UIMessages.ID, *p.UIMessages.StartIndex),
	}
}

// frames returns a session with all of its frames.
func (r *relay) frames(name string) (session.Info, []session.Frame) {
	r.t.Helper()
	id, _ := session.ParseID(name)
	found, err := r.manager.Get(context.Background(), session.Anonymous, id)
	if err != nil {
		r.t.Fatal(err)
	}
	reader, err := found.Read(0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer reader.Close()
	var frames []session.Frame
	for {
		wire, _, err := reader.Next(context.Background(), 1<<20)
		if err == io.EOF {
			return found.Info(), frames
		}
		if err != nil {
			r.t.Fatal(err)
		}
		for f := range wire.Frames() {
			frames = append(frames, session.Frame{ID: f.ID, Kind: f.Kind, Data: bytes.Clone(f.Data)})
		}
	}
}

// farewell is what two of the protocols end their streams with.
const farewell = "data: [DONE]\n\n"

// The law of cursors: what the frames up to n make in a protocol, and what
// follows the cursor behind n there, are all that it shows, for each n.
func TestCursorsLaw(t *testing.T) {
	for _, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, inMemory, options{})
				id := l.create(w)
				w.lead(l, id)
				info, frames := w.frames(id)
				all := server.Project(info, 0, frames...)
				for n := range len(frames) + 1 {
					before := server.Project(info, 0, frames[:n]...)
					for protocol, path := range w.placesAfter(id, int64(n)).paths() {
						a := w.ask("GET", path, "")
						got := canonical(t, a.Body)
						a.conn.Close()
						want, ok := strings.CutPrefix(string(all[protocol].Wire), string(before[protocol].Wire))
						if n == len(frames) { // the farewell, which is no event, may come again
							got = strings.TrimSuffix(got, farewell)
						}
						if got != want || !ok || a.StatusCode >= 300 {
							t.Fatalf("%s: behind frame %d, %s = %d %q, want %q", protocol, n, path, a.StatusCode, got, want)
						}
					}
				}
			})
		})
	}
}

// A place is the same while the session goes on, and once it has ended.
func TestCursorsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		id := native(`{"source":{"type":"push"},"unit":"rune"}`)(w)
		live := make(map[int64]string)
		for range 5 {
			do("append", `{"text":"x"}`)(w, id)
			synctest.Wait()
			last := int64(w.state("/v1/sessions/" + id).LastEventID)
			live[last] = fmt.Sprint(w.placesAfter(id, last).paths())
		}
		if len(live) != 5 {
			t.Errorf("places behind %d events, want 5", len(live))
		}
		w.do("POST", "/v1/sessions/"+id+"/finish", "")
		for n, want := range live {
			if got := fmt.Sprint(w.placesAfter(id, n).paths()); got != want {
				t.Errorf("cursors after %d = %s, and were %s", n, got, want)
			}
		}
	})
}

func TestCursorsGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		id := native(`{"source":{"type":"text","text":"abc"},"unit":"rune"}`)(w)
		time.Sleep(time.Second)
		for after, want := range map[int]string{
			0: `{"after":0,"responses":{"id":"resp_ID"},"chat_completions":{"id":"chatcmpl-ID"},"ui_messages":{"id":"ID","startIndex":0}}`,
			2: `{"after":2,"responses":{"id":"resp_ID","starting_after":4},"chat_completions":{"id":"chatcmpl-ID","starting_after":1},"ui_messages":{"id":"ID","startIndex":4}}`,
		} {
			status, got := w.do("GET", fmt.Sprintf("/v1/sessions/%s/cursors?after=%d", id, after), "")
			if want = strings.ReplaceAll(want, "ID", id) + "\n"; status != http.StatusOK || got != want {
				t.Errorf("cursors after %d = %d %s, want %s", after, status, got, want)
			}
		}
	})
}

func TestCursorsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{server: server.Options{MaxProjected: 20 << 10}, session: session.Options{MaxLog: 1}})
		ended := native(`{"source":{"type":"text","text":"abc"},"unit":"rune","retain":"10m"}`)(w)
		large := native(fmt.Sprintf(`{"source":{"type":"text","text":%q},"unit":"line"}`, strings.Repeat(strings.Repeat("x", 1023)+"\n", 40)))(w)
		running := native(`{"source":{"type":"push"}}`)(w)
		deleted := native(`{"source":{"type":"text","text":"abc"}}`)(w)
		w.do("DELETE", "/v1/sessions/"+deleted, "")
		time.Sleep(time.Second)
		check := func(id, query string, status int, code string) {
			t.Helper()
			a := w.ask("GET", "/v1/sessions/"+id+"/cursors"+query, "")
			if got := errorCode(a); a.StatusCode != status || got != code {
				t.Errorf("cursors%s = %d %s, want %d %s", query, a.StatusCode, got, status, code)
			}
			if got, want := a.Header.Get("Content-Range") != "", status == 416; got != want {
				t.Errorf("cursors%s: Content-Range = %q", query, a.Header.Get("Content-Range"))
			}
		}
		check(ended, "", 400, "invalid_parameter")
		check(ended, "?after=1&after=2", 400, "invalid_parameter")
		check(ended, "?after=1&pace=2", 400, "invalid_parameter")
		check(ended, "?after=%zz", 400, "invalid_parameter")
		for _, malformed := range []string{"", "-1", "x", "1.5", "9007199254740992", "0x1", "%20"} {
			check(ended, "?after="+malformed, 400, "malformed_cursor")
		}
		check(ended, "?after=6", 416, "cursor_ahead")
		check(ended, "?after=9007199254740991", 416, "cursor_ahead")
		check(running, "?after=2", 416, "cursor_ahead")
		check("x", "?after=1", 404, "session_not_found")
		check(session.NewID().String(), "?after=1", 404, "session_not_found")
		check(deleted, "?after=1", 410, "session_deleted")
		check(large, "?after=40", 429, "overloaded")
		check(large, "?after=2", 200, "") // what is behind the place is not kept
		if got := w.projected(); got != "0" {
			t.Errorf("%s bytes are kept, want 0", got)
		}
		time.Sleep(11 * time.Minute)
		check(ended, "?after=1", 410, "session_expired")
	})
}
