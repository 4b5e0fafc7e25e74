package cli

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"tokenrelay/session"
	"tokenrelay/session/upstream"
)

// An answer that broke off says how to go on, and what it says works.
func TestContinue(t *testing.T) {
	cleanEnv(t)
	const chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n"
	const call = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"get_weather\",\"arguments\":\"{\"}}]}}]}\n\n"
	const end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	var asked atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		switch asked.Add(1) {
		case 1: // breaks off
			fmt.Fprintf(w, chunk, "The moon ")
		case 2:
			fmt.Fprintf(w, chunk+end, "pulls.")
		default:
			fmt.Fprintf(w, chunk+call, "I ask. ")
		}
	}))
	t.Cleanup(provider.Close)
	set, err := upstream.New([]upstream.Config{{Name: "a", BaseURL: provider.URL, Models: []string{"m"}}}, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	manager := newRelayOf(t, l, set)
	address := "http://" + l.Addr().String()
	command := func(args ...string) (status int, out, notes string) {
		var o, e screen
		status = run(t.Context(), append(args, "--server", address), streams{out: &o, err: &e})
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		return status, o.String(), e.String()
	}

	status, out, notes := command("ask", "Why tides?", "--model=a/m")
	advice := regexp.MustCompile(`\(upstream_truncated\)\nGo on from what it wrote:\n  ` + regexp.QuoteMeta(os.Args[0]) + ` continue (\S+) --server ` + regexp.QuoteMeta(address) + `\n$`)
	found := advice.FindStringSubmatch(notes)
	if status != 1 || out != "The moon " || found == nil {
		t.Fatalf("ask: status %d, %q and %q, want 1 and %v", status, out, notes, advice)
	}
	id := found[1]
	if status, _, notes := command("follow", id); status != 1 || !advice.MatchString(notes) {
		t.Errorf("follow: status %d and %q, want 1 and %v", status, notes, advice)
	}
	status, out, notes = command("continue", id)
	if want := "The moon pulls."; status != 0 || out != want || !strings.Contains(notes, "[the model goes on from here") {
		t.Errorf("continue: status %d, %q and %q, want 0 and %q", status, out, notes, want)
	}

	// The relay continues no calls, and nothing but answers of models.
	status, _, notes = command("ask", "Why tides?", "--model=a/m")
	if status != 1 || !strings.Contains(notes, "[calls get_weather]\n") || strings.Contains(notes, "continue") {
		t.Errorf("call that broke off: status %d and %q, want 1, its name and no advice", status, notes)
	}
	s := newSession(t, manager, session.Spec{Source: session.SourceSpec{Type: session.SourcePush}})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _, notes := command("follow", s.Info().ID.String()); status != 1 || strings.Contains(notes, "continue") {
		t.Errorf("push session: status %d and %q, want 1 and no advice", status, notes)
	}
	for id, want := range map[string]string{
		s.Info().ID.String():     "(not_an_upstream_session)",
		session.NewID().String(): "(session_not_found)",
		"nonsense":               `"nonsense" is not a session's id`,
	} {
		if status, out, notes := command("continue", id); status != 1 || out != "" || !strings.Contains(notes, want) {
			t.Errorf("continue %s: status %d, %q and %q, want 1 and %s", id, status, out, notes, want)
		}
	}
}
