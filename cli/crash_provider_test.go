package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A provider speaks OpenAI's chat completions, slowly.
type provider struct {
	*httptest.Server
	seed  uint64
	mu    sync.Mutex // guards asked
	asked map[string]int
}

func newProvider(t *testing.T, seed uint64) *provider {
	p := &provider{seed: seed, asked: make(map[string]int)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// pieces is the answer to a message.
func (p *provider) pieces(message string) []string {
	var n, try uint64
	fmt.Sscanf(message, "%d/%d", &n, &try)
	random := rand.New(rand.NewPCG(p.seed, n<<8+try<<32))
	return cut(random, prose(random, 200+random.IntN(3000)), 12)
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Messages) != 1 {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	message := request.Messages[0].Content
	p.mu.Lock()
	p.asked[message]++
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(v any) {
		data, _ := json.Marshal(v)
		fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
	}
	choice := func(delta map[string]string, finish any) any {
		return map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}}
	}
	for _, piece := range p.pieces(message) {
		send(choice(map[string]string{"content": piece}, nil))
		select {
		case <-time.After(3 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	send(choice(map[string]string{}, "stop"))
	io.WriteString(w, "data: [DONE]\n\n")
}

// verify finds that nothing was asked twice.
func (p *provider) verify(h *harness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for message, n := range p.asked {
		if n > 1 {
			h.t.Errorf("upstream: asked %d times for %s", n, message)
		}
	}
}
