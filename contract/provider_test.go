package contract_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A provider speaks OpenAI's chat completions: its models say the texts that
// they are given, cut anywhere, and break then (reset) or end well.
type provider struct {
	url    string
	text   string // what the models say: whole, and broken, which is reset behind it
	random *rand.Rand

	mu    sync.Mutex // guards the field below
	asked map[string]int
}

// newProvider starts one that lasts until the end of the test.
func newProvider(t *testing.T, random *rand.Rand, text string) *provider {
	t.Helper()
	p := &provider{text: text, random: rand.New(rand.NewPCG(random.Uint64(), 1)), asked: make(map[string]int)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(t, w, r) }))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// flag names the provider to a relay as own.
func (p *provider) flag() string {
	return "--upstream=name=own,base_url=" + p.url + "/v1,retries=0,model=whole,model=broken"
}

// times says how often a model has been asked.
func (p *provider) times(model string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[model]
}

func (p *provider) answer(t *testing.T, w http.ResponseWriter, r *http.Request) {
	var asked struct{ Model string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		t.Errorf("the provider is asked with %q: %v", body, err)
		return
	}
	p.mu.Lock()
	p.asked[asked.Model]++
	sizes := rand.New(rand.NewPCG(p.random.Uint64(), 1))
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	say := func(format string, args ...any) {
		fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-up\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":%q,%s}\n\n", asked.Model, fmt.Sprintf(format, args...))
		w.(http.Flusher).Flush()
	}
	for rest := []rune(p.text); len(rest) > 0; {
		n := min(1+sizes.IntN(12), len(rest))
		content, _ := json.Marshal(string(rest[:n]))
		say(`"choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]`, content)
		if rest = rest[n:]; sizes.IntN(4) == 0 {
			time.Sleep(time.Millisecond) // it thinks
		}
	}
	if asked.Model == "broken" {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		return
	}
	say(`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]`)
	say(`"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1234,"total_tokens":1241}`)
	fmt.Fprint(w, "data: [DONE]\n\n")
}
