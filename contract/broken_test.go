package contract_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A provider that breaks off is a typed event to whoever reads, and to whoever
// comes later: no short answer, and no end of the connection that a client would
// try to repair.
func TestNativeClientsSeeABrokenUpstream(t *testing.T) {
	random := newRand(t)
	text := newText(random, 400)
	p := newProvider(t, random, text)
	r := start(t, p.flag())
	source := map[string]any{"type": "upstream", "model": "own/broken", "messages": []any{map[string]any{"role": "user", "content": "x"}}}
	path := r.create(map[string]any{"source": source, "unit": "rune"})
	ways := map[string]func(url string, into *transcript){
		"go-sse": func(url string, into *transcript) {
			if err := followGoSSE(t, url, into); err == nil || !strings.Contains(err.Error(), "204") {
				t.Errorf("go-sse: connection ended with %v, want 204", err)
			}
		},
		"r3labs": func(url string, into *transcript) { followR3labs(t, url, into) },
	}
	for name, follow := range ways {
		var last string
		seen := transcript{onEnd: func(data string) { last = data }}
		follow(r.url+path+"/events", &seen)
		if seen.lost != 0 || seen.repeated != 0 || len(seen.malformed) != 0 || !slices.Equal(seen.kinds, []string{"session", "failed"}) {
			t.Errorf("%s: %d events, %d lost, %d repeated, kinds %q, malformed %q", name, seen.events, seen.lost, seen.repeated, seen.kinds, seen.malformed)
		}
		if got := seen.text.String(); !strings.HasPrefix(text, got) {
			t.Errorf("%s: text = %q, want a beginning of %q", name, got, text)
		}
		var end struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(last), &end); err != nil || end.Error.Code != "upstream_truncated" || end.Error.Message == "" {
			t.Errorf("%s: terminal event = %s, want upstream_truncated", name, last)
		}
	}
	if got := p.times("broken"); got != 1 {
		t.Errorf("the provider was asked %d times, want 1", got)
	}
}
