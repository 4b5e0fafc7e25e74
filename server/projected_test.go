package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

// projected is how much readers of other protocols hold.
func (r *relay) projected() string {
	r.t.Helper()
	synctest.Wait()
	got, _ := r.scrape()
	return got["tokenrelay_projected_bytes"]
}

// What readers may keep counts what is being written too: a response's end
// repeats the text four times, an object has it once more.
func TestProjectedCountsWhatIsWritten(t *testing.T) {
	const size = 200 << 10
	for name, test := range map[string]struct {
		most          int64
		stream, whole bool // there is room for them
	}{
		"room for the text":           {size * 3 / 2, false, false},
		"and for an object":           {size * 3, false, true},
		"and for the end of a stream": {size * 8, true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, inMemory, options{server: server.Options{MaxProjected: test.most}})
			id := native(fmt.Sprintf(`{"source":{"type":"text","text":%q},"unit":"line"}`, strings.Repeat(strings.Repeat("x", 1023)+"\n", size>>10)))(w)
			time.Sleep(time.Second)
			_, err := io.ReadAll(w.ask("GET", responseStream(id), "").Body)
			if got := err == nil; got != test.stream {
				t.Errorf("%s: the stream ended with %v", name, err)
			}
			for _, path := range []string{"/v1/responses/" + id, "/v1/chat/completions/" + id} {
				if status, _ := w.do("GET", path, ""); status != map[bool]int{true: 200, false: 429}[test.whole] {
					t.Errorf("%s: GET %s = %d", name, path, status)
				}
			}
			if got := w.projected(); got != "0" {
				t.Errorf("%s: %s bytes are kept, want 0", name, got)
			}
		})
	}
}

// Nothing is kept for who has been answered, whatever was asked.
func TestProjectedIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		id := native(`{"source":{"type":"text","text":"abc"},"unit":"rune"}`)(w)
		time.Sleep(time.Second)
		background := response(server.DemoModel, `,"background":true`)
		for _, request := range [...][3]string{
			{"GET", "/v1/responses/" + id}, {"GET", responseStream(id)}, {"POST", "/v1/responses/" + id + "/cancel"},
			{"POST", "/v1/responses", background}, {"POST", "/v1/responses", background},
			{"POST", "/v1/responses", response(server.DemoModel, `,"previous_response_id":"`+id+`"`)},
			{"POST", "/v1/responses", `{"model":"demo","input":[{"type":"item_reference","id":"msg_` + id + `_0"}]}`},
			{"POST", "/v1/responses", response(server.DemoModel, "")}, {"POST", "/v1/responses", response(server.DemoModel, streamed)},
			{"GET", "/v1/chat/completions/" + id}, {"GET", chatStream(id)},
			{"POST", "/v1/chat/completions", completion(server.DemoModel, "")}, {"POST", "/v1/chat/completions", completion(server.DemoModel, streamed)},
			{"GET", uiStream(id)}, {"GET", uiStream(id) + "?startIndex=-2"}, {"POST", "/api/chat", uiAsks("")},
		} {
			key := "X: y"
			if request[2] == background {
				key = "Idempotency-Key: k"
			}
			a := w.ask(request[0], request[1], request[2], key)
			if body, err := io.ReadAll(a.Body); a.StatusCode != http.StatusOK || err != nil {
				t.Errorf("%s %s %s = %d %s (%v)", request[0], request[1], request[2], a.StatusCode, body, err)
			}
			if got := w.projected(); got != "0" {
				t.Errorf("%s %s %s: %s bytes are kept, want 0", request[0], request[1], request[2], got)
			}
		}
	})
}

// An object has as long as its reader takes some of it.
func TestLargeObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, inMemory, options{})
		text := strings.Repeat(strings.Repeat("x", 1023)+"\n", 400)
		id := native(fmt.Sprintf(`{"source":{"type":"text","text":%q},"unit":"line"}`, text))(w)
		time.Sleep(time.Second)
		for _, path := range []string{"/v1/responses/" + id, "/v1/chat/completions/" + id} {
			a := w.ask("GET", path, "")
			var got strings.Builder
			for {
				time.Sleep(20 * time.Second)
				if _, err := io.CopyN(&got, a.Body, 64<<10); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s: %v behind %d bytes", path, err, got.Len())
				}
			}
			if n := got.Len(); !strings.Contains(got.String(), quote(text)) || int64(n) != a.ContentLength {
				t.Errorf("%s: a slow reader got %d of %d bytes", path, n, a.ContentLength)
			}
		}
	})
}

// A session that a later version of the relay made is shown natively only.
func TestLaterProjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		manager, err := session.NewManager(store, session.Options{})
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() { manager.Run(running) })
		made, _, err := manager.CreateNamed(running, session.Anonymous, session.Names{Alias: "chat:c"}, func() (session.Spec, error) {
			return session.Spec{
				Source:     session.SourceSpec{Type: session.SourceText, Text: "abc"},
				Projection: session.Projection{Version: 2},
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		stop()
		all.Wait()
		w := newWorld(t, func() session.Store { return store }, options{})
		id := made.Info().ID.String()
		if status, body := w.do("GET", "/v1/sessions/"+id+"/text", ""); status != http.StatusOK || body != "abc" {
			t.Errorf("natively = %d %s, want abc", status, body)
		}
		if status, body := w.do("GET", "/v1/sessions/"+id+"/cursors?after=2", ""); status != http.StatusOK || body != `{"after":2}`+"\n" {
			t.Errorf("cursors = %d %s, want none of other protocols", status, body)
		}
		requests := [][3]string{
			{"GET", "/v1/responses/" + id}, {"POST", "/v1/responses/" + id + "/cancel"}, {"GET", "/v1/chat/completions/" + id},
			{"GET", uiStream(id) + "?startIndex=0"}, {"GET", uiStream(id) + "?startIndex=-2"}, {"GET", uiStream("c")},
			{"POST", "/v1/responses", response("demo", `,"previous_response_id":"`+id+`"`)},
		}
		for _, d := range dialects {
			requests = append(requests, [3]string{"GET", d.stream(id)})
		}
		for _, request := range requests {
			a := w.ask(request[0], request[1], request[2])
			if code := errorCode(a); a.StatusCode != http.StatusConflict || code != "later_projection" {
				t.Errorf("%s %s = %d %s, want 409 later_projection", request[0], request[1], a.StatusCode, code)
			}
		}
		if got := w.projected(); got != "0" {
			t.Errorf("%s bytes are kept, want 0", got)
		}
	})
}

// Nothing is kept for a projection that panicked.
func TestProjectedIsGivenBackAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, err := session.NewManager(memstore.New(), session.Options{})
		if err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { manager.Run(running) })
		defer all.Wait()
		defer stop()
		made, err := manager.Create(running, session.Anonymous, session.Spec{Source: session.SourceSpec{Type: session.SourceText, Text: "abc"}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := server.KeptAfterPanic(running, made); got != 0 {
			t.Errorf("%d bytes are kept, want 0", got)
		}
	})
}

// Readers of chunks do not keep the text, however long it is.
func TestChunksKeepNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 2 << 20
		w := newWorld(t, inMemory, options{})
		id := native(fmt.Sprintf(`{"source":{"type":"text","text":%q},"unit":"line","rate":1000}`, strings.Repeat(strings.Repeat("x", 1023)+"\n", size>>10)))(w)
		for _, d := range dialects {
			a := w.ask("GET", d.stream(id), "")
			go io.Copy(io.Discard, a.Body)
			time.Sleep(500 * time.Millisecond) // a quarter of it
			kept, err := strconv.Atoi(w.projected())
			if most := 64 << 10; err != nil || d.keeps != (kept > most) {
				t.Errorf("%s: a reader keeps %d bytes, want more than %d: %v", d.name, kept, most, d.keeps)
			}
			a.conn.Close()
			synctest.Wait()
		}
	})
}
