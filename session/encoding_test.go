package session_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tokenrelay/chunker"
	"tokenrelay/session"
)

// The encoding is settled at creation: asked for, or the model's, or the default.
func TestEncoding(t *testing.T) {
	upstream := func(model string) session.SourceSpec {
		return session.SourceSpec{Type: session.SourceUpstream, Model: model, Messages: json.RawMessage(`[{}]`)}
	}
	for _, test := range []struct {
		spec     session.Spec
		encoding string
		from     session.EncodingSource
	}{
		{session.Spec{Source: push}, "o200k_base", session.EncodingDefault},
		{session.Spec{Source: push, Encoding: "o200k_base"}, "o200k_base", session.EncodingRequested},
		{session.Spec{Source: push, Encoding: "cl100k_base"}, "cl100k_base", session.EncodingRequested},
		{session.Spec{Source: push, Encoding: "o200k_harmony"}, "o200k_harmony", session.EncodingRequested},
		{session.Spec{Source: push, Unit: chunker.Line}, "", ""},
		{session.Spec{Source: upstream("gpt-4o")}, "o200k_base", session.EncodingOfModel},
		{session.Spec{Source: upstream("openai/gpt-4"), Unit: chunker.Token}, "cl100k_base", session.EncodingOfModel},
		{session.Spec{Source: upstream("local/gpt-oss:20b")}, "o200k_harmony", session.EncodingOfModel},
		{session.Spec{Source: upstream("openai/gpt-4"), Encoding: "o200k_base"}, "o200k_base", session.EncodingRequested},
		{session.Spec{Source: upstream("openai/gpt-4"), Unit: chunker.Word}, "", ""},
		{session.Spec{Source: upstream("meta/llama-3.3")}, "o200k_base", session.EncodingDefault},
		{session.Spec{Source: upstream("openai/text-davinci-003")}, "o200k_base", session.EncodingDefault},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := start(t, session.Options{Upstreams: newScript()})
			s := create(t, m, test.spec)
			info := s.Info()
			if info.Spec.Encoding != test.encoding || info.EncodingSource != test.from {
				t.Errorf("%+v has %q from %q, want %q from %q", test.spec, info.Spec.Encoding, info.EncodingSource, test.encoding, test.from)
			}
			frames, err := read(t, s, 0, func(session.Frame) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			var first struct {
				Unit     chunker.Unit
				Encoding string
				From     session.EncodingSource `json:"encoding_source"`
				Unicode  string
			}
			if err := json.Unmarshal(frames[0].Data, &first); err != nil {
				t.Fatal(err)
			}
			if first.Unit != info.Spec.Unit || first.Encoding != test.encoding || first.From != test.from || first.Unicode != chunker.UnicodeVersion(info.Spec.Unit) {
				t.Errorf("the first frame of %+v is %s", test.spec, frames[0].Data)
			}
		})
	}
}

// An upstream's text is cut into its model's own tokens.
func TestEncodingOfModelCuts(t *testing.T) {
	for model, want := range map[string]string{
		"gpt-4":  "session| Bon|jour|done", // cl100k_base
		"gpt-4o": "session| Bonjour|done",  // o200k_base
	} {
		synctest.Test(t, func(t *testing.T) {
			source := newScript()
			m := start(t, session.Options{Upstreams: source})
			s := create(t, m, session.Spec{Source: session.SourceSpec{Type: session.SourceUpstream, Model: model, Messages: json.RawMessage(`[{}]`)}})
			source.text(" Bonjour")
			source.finish()
			if got := kinds(readAll(t, s, 0)); got != want {
				t.Errorf("%s: %s, want %s", model, got, want)
			}
		})
	}
}

// The log tells the encoding of a session, and of a unit that was capped, if
// there is one.
func TestEncodingLogged(t *testing.T) {
	for _, test := range []struct {
		spec session.Spec
		want []string // in any order
	}{
		{
			session.Spec{Source: text("亚洲" + strings.Repeat("AV", 2000)), Encoding: "o200k_harmony"},
			[]string{
				`msg="session created" session=ID source=text unit=token encoding=o200k_harmony encoding_source=request`,
				`msg="unit cut at its longest length" session=ID unit=token encoding=o200k_harmony`,
			},
		},
		{
			session.Spec{Source: text(strings.Repeat("x", 5000)), Unit: chunker.Line},
			[]string{
				`msg="session created" session=ID source=text unit=line`,
				`msg="unit cut at its longest length" session=ID unit=line`,
			},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
					return slog.Attr{}
				}
				return a
			}}))
			s := create(t, start(t, session.Options{Logger: logger}), test.spec)
			readAll(t, s, 0)
			synctest.Wait()
			got := strings.ReplaceAll(log.String(), s.Info().ID.String()[:8], "ID")
			for _, want := range test.want {
				if !slices.Contains(strings.Split(got, "\n"), want) {
					t.Errorf("logged\n%swant\n%s", got, want)
				}
			}
		})
	}
}

// The log tells which model is asked.
func TestModelLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		create(t, start(t, session.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Upstreams: gone{}}), session.Spec{
			Unit: chunker.Delta, Source: session.SourceSpec{Type: session.SourceUpstream, Model: "own/gpt-4o", Messages: []byte(`[{}]`)},
		})
		synctest.Wait() // nobody writes the log any more
		if want := `source=upstream model=own/gpt-4o unit=delta`; !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, log.String())
		}
	})
}
