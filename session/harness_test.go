package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/memstore"
)

const me session.Principal = "me"

// start runs a manager until the test ends.
func start(t *testing.T, o session.Options) *session.Manager {
	t.Helper()
	return startOn(t, memstore.New(), o)
}

func startOn(t *testing.T, st session.Store, o session.Options) *session.Manager {
	t.Helper()
	m, stop := run(t, st, o)
	t.Cleanup(stop)
	return m
}

// run runs a manager until stop is called.
func run(t *testing.T, st session.Store, o session.Options) (m *session.Manager, stop func()) {
	t.Helper()
	m, err := session.NewManager(st, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- m.Run(ctx) }()
	return m, func() {
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want context.Canceled", err)
		}
	}
}

func create(t *testing.T, m *session.Manager, spec session.Spec) *session.Session {
	t.Helper()
	s, err := m.Create(t.Context(), me, spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(text string) session.SourceSpec {
	return session.SourceSpec{Type: session.SourceText, Text: text}
}

var push = session.SourceSpec{Type: session.SourcePush}

// readAll reads past after until the session's end.
func readAll(t *testing.T, s *session.Session, after session.FrameID) []session.Frame {
	t.Helper()
	frames, err := read(t, s, after, func(session.Frame) bool { return false })
	if err != io.EOF {
		t.Fatalf("reading session %v ended with %v", s.Info().ID, err)
	}
	return frames
}

// read reads past after until a frame is enough, or reading ends.
func read(t *testing.T, s *session.Session, after session.FrameID, enough func(session.Frame) bool) (frames []session.Frame, err error) {
	t.Helper()
	r, err := s.Read(after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		w, more, err := r.Next(context.Background(), 0)
		if err != nil {
			return frames, err
		}
		if more != nil {
			<-more
			continue
		}
		for f := range w.Frames() {
			if f.ID != after+1 {
				t.Fatalf("frame %d came after %d", f.ID, after)
			}
			after = f.ID
			if frames = append(frames, f); enough(f) {
				return frames, nil
			}
		}
	}
}

func join(frames []session.Frame) string {
	var text strings.Builder
	for _, f := range frames {
		if f.Kind == session.KindText {
			text.WriteString(f.Text())
		}
	}
	return text.String()
}

func kinds(frames []session.Frame) string {
	var names []string
	for _, f := range frames {
		name := string(f.Kind)
		if f.Kind == session.KindText {
			name = f.Text()
		}
		names = append(names, name)
	}
	return strings.Join(names, "|")
}

func endOf(t *testing.T, frames []session.Frame) (session.Kind, session.End) {
	t.Helper()
	last := frames[len(frames)-1]
	var end session.End
	if err := json.Unmarshal(last.Data, &end); err != nil || !last.Kind.Terminal() {
		t.Fatalf("last frame is %q %s", last.Kind, last.Data)
	}
	return last.Kind, end
}

// A script is a source, and the opener of it, that yields what a test sends.
type script struct {
	deltas chan session.Delta
	fail   chan error
	left   chan struct{} // closed when nobody reads the source any more
}

func newScript() *script {
	return &script{deltas: make(chan session.Delta), fail: make(chan error), left: make(chan struct{})}
}

func (s *script) Open(session.SourceSpec) (session.Source, error) { return s, nil }

func (s *script) Deltas(ctx context.Context, _ session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		defer close(s.left)
		for {
			select {
			case d := <-s.deltas:
				if !yield(d, nil) || d.Kind == session.DeltaFinish {
					return
				}
			case err := <-s.fail:
				yield(session.Delta{}, err)
				return
			case <-ctx.Done():
				yield(session.Delta{}, ctx.Err())
				return
			}
		}
	}
}

func (s *script) text(text string) { s.deltas <- session.Delta{Text: text} }

func (s *script) finish() {
	s.deltas <- session.Delta{Kind: session.DeltaFinish, Reason: "length"}
}

var upstreamSpec = session.SourceSpec{Type: session.SourceUpstream, Model: "m", Messages: json.RawMessage(`[{}]`)}

// elapsed returns how long f took.
func elapsed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// frame returns the first frame of a kind.
func frame(t *testing.T, frames []session.Frame, kind session.Kind) session.Frame {
	t.Helper()
	for _, f := range frames {
		if f.Kind == kind {
			return f
		}
	}
	t.Fatalf("no %s in %s", kind, kinds(frames))
	return session.Frame{}
}

func payload[T any](t *testing.T, f session.Frame) (v T) {
	t.Helper()
	if err := json.Unmarshal(f.Data, &v); err != nil {
		t.Fatalf("%s %s: %v", f.Kind, f.Data, err)
	}
	return v
}
