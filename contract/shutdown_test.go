package contract_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// http1 is the client of all that follow. It is net/http as it comes.
var http1 = &http.Client{Transport: &http.Transport{}}

// open follows a session with net/http, up to the event that begins it.
func open(t *testing.T, url string) (*http.Response, *bufio.Reader) {
	t.Helper()
	answer, err := http1.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	body := bufio.NewReader(answer.Body)
	for line := ""; line != "event: session\n"; {
		if line, err = body.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return answer, body
}

// isBroken reports whether a body ended in a way that no client takes for the
// end of the stream.
func isBroken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

func TestEndIsClean(t *testing.T) {
	r := start(t)
	answer, body := open(t, r.url+r.textSession("the end", "rune", 0)+"/events")
	rest, err := io.ReadAll(body)
	if err != nil || !strings.Contains(string(rest), "event: done\n") {
		t.Errorf("rest of the body = %q, %v, want done and no error", rest, err)
	}
	// net/http had asked for gzip.
	if answer.ContentLength != -1 || answer.Uncompressed {
		t.Errorf("content length = %d, compressed = %v, want neither", answer.ContentLength, answer.Uncompressed)
	}
}

// A stream that stops before its terminal event is broken, not ended.
func TestShutdownBreaksStreamsOff(t *testing.T) {
	r := start(t, "--drain=100ms")
	generate := map[string]any{"type": "generate", "prompt": "a story", "seed": 1, "length": 100_000}
	running := r.create(map[string]any{"source": generate, "unit": "token", "rate": 500})
	paused := r.create(map[string]any{"source": generate, "unit": "token", "rate": 500})
	silent := r.create(map[string]any{"source": map[string]any{"type": "push"}, "unit": "token"})
	ended := r.textSession(strings.Repeat("it is over ", 100), "token", 0)
	if answer, body := r.ask("POST", paused+"/pause", ""); answer.StatusCode != http.StatusOK {
		t.Fatalf("pause: %s %s", answer.Status, body)
	}
	bodies := make(map[string]*bufio.Reader)
	for _, path := range []string{running, paused, silent} {
		_, bodies[path+"/events"] = open(t, r.url+path+"/events")
	}
	for _, path := range []string{running + "/events?pace=50", running + "/events?format=text", silent + "/events?ping=event", ended + "/events?pace=5"} {
		_, bodies[path] = open(t, r.url+path)
	}
	r.terminate()
	var reading sync.WaitGroup
	for path, body := range bodies {
		reading.Go(func() {
			if rest, err := io.ReadAll(body); !isBroken(err) {
				t.Errorf("%s: %d bytes, then %v, want unexpected EOF", path, len(rest), err)
			}
		})
	}
	reading.Wait()
}

// While streams are drained, those that can end well do, and those that come
// are told to come back: a browser would take any status but 200 for final.
func TestDrain(t *testing.T) {
	r := start(t, "--drain=1m")
	path := r.create(map[string]any{"source": map[string]any{"type": "push"}, "unit": "delta"})
	_, body := open(t, r.url+path+"/events")
	r.terminate()
	until(t, "draining", func() bool {
		answer, _ := r.ask("GET", "/readyz", "")
		return answer.StatusCode == http.StatusServiceUnavailable
	})

	for _, cursor := range []string{"", "1"} {
		request, _ := http.NewRequest(http.MethodGet, r.url+path+"/events", nil)
		if cursor != "" {
			request.Header.Set("Last-Event-ID", cursor)
		}
		answer, err := http1.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Errorf("reconnect while draining: %s, %s", answer.Status, answer.Header.Get("Content-Type"))
		}
		if string(rest) != "retry: 10\n" || !isBroken(err) {
			t.Errorf("reconnect while draining: %q, %v, want retry and unexpected EOF", rest, err)
		}
	}

	answer, problem := r.ask("POST", "/v1/sessions", `{"source":{"type":"push"},"unit":"delta"}`)
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || !strings.Contains(problem, `"shutting_down"`) {
		t.Errorf("create while draining: %s, Retry-After %q, %s", answer.Status, answer.Header.Get("Retry-After"), problem)
	}

	if answer, problem := r.ask("POST", path+"/append", `{"text":"last words"}`); answer.StatusCode != http.StatusOK {
		t.Errorf("append while draining: %s %s", answer.Status, problem)
	}
	if answer, problem := r.ask("POST", path+"/finish", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("finish while draining: %s %s", answer.Status, problem)
	}
	rest, err := io.ReadAll(body)
	if err != nil || !strings.Contains(string(rest), "last words") || !strings.Contains(string(rest), "event: done\n") {
		t.Errorf("stream that ends while draining: %q, %v, want last words, done and no error", rest, err)
	}
	select {
	case <-r.exited: // there is nothing left to wait for
	case <-time.After(limit):
		t.Error("the relay waits though no stream is left")
	}
}
