package cli

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A data directory has one relay at a time, and is no other directory.
func TestDataDirectory(t *testing.T) {
	cleanEnv(t)
	refused := func(want string, args ...string) {
		t.Helper()
		l := serve(t, append(args, "--listen=127.0.0.1:0")...)
		select {
		case <-l.ended:
		case <-time.After(stuck):
			t.Fatal("it runs")
		}
		if code := l.process.ProcessState.ExitCode(); code != 1 || !strings.Contains(l.log.String(), want) {
			t.Errorf("exit status %d, told %q, want 1 and %q", code, l.log.String(), want)
		}
	}
	ready := func(address, want string) {
		t.Helper()
		response, err := http.Get(address + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("/readyz: %s %s, %v, want %s", response.Status, body, err, want)
		}
	}
	create := func(address string) (id string) {
		t.Helper()
		id, err := newClient(address).create(t.Context(), map[string]any{"source": map[string]string{"type": "push"}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}

	t.Run("in use", func(t *testing.T) {
		data := t.TempDir()
		first := serve(t, "--data", data, "--listen=127.0.0.1:0", "--durability=process")
		address := first.ready(t)
		id := create(address)
		refused("in use by another relay", "--data", data)
		ready(address, `"durability":"process"`)
		response, err := http.Post(address+"/v1/sessions/"+id+"/append", "application/json", strings.NewReader(`{"text":"abc"}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("append to the first: %s", response.Status)
		}
	})

	t.Run("foreign", func(t *testing.T) {
		data := t.TempDir()
		file := filepath.Join(data, "thesis.txt")
		if err := os.WriteFile(file, []byte("years of work"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused("not empty", "--data", data)
		names, err := os.ReadDir(data)
		if err != nil || len(names) != 1 {
			t.Errorf("the directory holds %v, %v", names, err)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != "years of work" {
			t.Errorf("the file holds %q, %v", text, err)
		}
	})

	t.Run("memory", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "data")
		args := []string{"--data", data, "--listen=127.0.0.1:0", "--durability=memory"}
		relay := serve(t, args...)
		address := relay.ready(t)
		ready(address, `"durability":"memory"`)
		id := create(address)
		relay.end(t, syscall.SIGTERM)
		relay = serve(t, args...)
		response, err := http.Get(relay.ready(t) + "/v1/sessions/" + id)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("the session of before: %s, want 404", response.Status)
		}
		relay.end(t, syscall.SIGTERM)
		if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the data directory: %v, want none", err)
		}
	})
}
