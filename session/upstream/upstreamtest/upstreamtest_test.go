package upstreamtest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"tokenrelay/session/upstream/upstreamtest"
)

func TestText(t *testing.T) {
	a, b := upstreamtest.Text("a"), upstreamtest.Text("b")
	if a == b || a != upstreamtest.Text("a") || !utf8.ValidString(a) {
		t.Error("the text is not one of its own for each prompt")
	}
	for _, part := range []string{"é", "日本", "\u200d", "\"", "\n\n"} {
		if !strings.Contains(a+b+upstreamtest.Text("c"), part) {
			t.Errorf("three texts lack %q", part)
		}
	}
}

// All that is asked without a script is the whole text, however it is cut.
func TestWhole(t *testing.T) {
	units := map[string]upstreamtest.Behavior{
		"default":  {},
		"runes":    {Size: 1},
		"bytes":    {Size: 3, Unit: upstreamtest.Bytes},
		"halves":   {Size: 1, Unit: upstreamtest.UTF16},
		"thinking": {Reasoning: "First, let me think."},
	}
	for _, d := range dialects {
		for name, b := range units {
			t.Run(string(d)+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := upstreamtest.New(upstreamtest.Options{Default: b})
					c := overPipe(t, p)
					status, got, err := c.generate(d, user("Hi"))
					if status != http.StatusOK || err != nil {
						t.Fatalf("status %d, error %v, %s", status, err, got)
					}
					if text := textOf(t, got); text != upstreamtest.Text("Hi") {
						t.Errorf("text = %q", text)
					}
					if halves := strings.Contains(got, `\ud83d"`) || strings.Contains(got, `\ud83c"`); halves != (name == "halves") {
						t.Errorf("halves of characters: %v", halves)
					}
					r := p.Requests()[0]
					<-r.Done
					if _, left := r.LeftAt(); left || r.Tokens() == 0 || r.Dialect != d || r.Model != "m" || r.Key() != "sk-1" || r.Prompt != "Hi" || !r.Stream || r.Status() != 200 {
						t.Errorf("request = %+v", r)
					}
				})
			})
		}
	}
}

// A client's leaving is told at once, whatever the handler waits for.
func TestLeave(t *testing.T) {
	gate := make(chan struct{})
	behaviors := map[string]upstreamtest.Behavior{
		"between tokens": {Gate: gate},
		"in a delay":     {First: time.Hour},
		"in silence":     {Fault: upstreamtest.Silent, After: 3},
		"with no answer": {Fault: upstreamtest.NoAnswer},
		"before a head":  {Headers: time.Hour},
	}
	for _, d := range dialects {
		for name, b := range behaviors {
			t.Run(string(d)+"/"+name, func(t *testing.T) {
				p := upstreamtest.New(upstreamtest.Options{Default: b})
				c := overTCP(t, p)
				ctx, leave := context.WithCancel(t.Context())
				path, body := request(d, user("Hi"))
				go c.do(ctx, "POST", path, body)
				r, err := p.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond)
				if _, left := r.LeftAt(); left {
					t.Error("left before it did")
				}
				left := time.Now()
				leave()
				select {
				case <-r.Done:
				case <-time.After(5 * time.Second):
					t.Fatal("the handler has not ended")
				}
				at, ok := r.LeftAt()
				if late := at.Sub(left); !ok || late > 50*time.Millisecond {
					t.Errorf("left = %v, %v late", ok, late)
				}
			})
		}
	}
}
