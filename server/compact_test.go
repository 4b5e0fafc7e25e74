package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tokenrelay/chunker"
	"tokenrelay/server"
	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
)

// wire returns a canonical stream as frames.
func wire(events []string) []session.Frame {
	var frames []session.Frame
	for f := range session.Wire(strings.Join(events, "")).Frames() {
		frames = append(frames, f)
	}
	return frames
}

// joined merges frames up to head as compact=true does, as slowly and plainly
// as can be.
func joined(t *testing.T, frames []session.Frame, head session.FrameID) []session.Frame {
	t.Helper()
	type fields = map[string]any
	parse := func(f session.Frame) (v fields) {
		if err := json.Unmarshal(f.Data, &v); err != nil {
			t.Fatalf("frame %d: %s: %v", f.ID, f.Data, err)
		}
		return v
	}
	var merged []session.Frame
	for _, f := range frames {
		n := len(merged)
		if n == 0 || f.ID > head || f.Kind != merged[n-1].Kind {
			merged = append(merged, f)
			continue
		}
		before, this := parse(merged[n-1]), parse(f)
		field := "text"
		switch {
		case f.Kind == session.KindText || f.Kind == session.KindReasoning:
		case f.Kind == session.KindToolCall && this["id"] == nil && this["index"] == before["index"]:
			field = "arguments"
		default:
			merged = append(merged, f)
			continue
		}
		before[field] = before[field].(string) + this[field].(string)
		data, _ := json.Marshal(before)
		if len(data) > 50<<10 {
			t.Fatal("this test is for texts that one event holds")
		}
		merged[n-1] = session.Frame{ID: f.ID, Kind: f.Kind, Data: data}
	}
	return merged
}

// same fails unless two runs of frames say the same.
func same(t *testing.T, what string, got, want []session.Frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d events, want %d", what, len(got), len(want))
	}
	for i, f := range got {
		var a, b any
		if json.Unmarshal(f.Data, &a) != nil || json.Unmarshal(want[i].Data, &b) != nil {
			t.Fatalf("%s: event %d is %s", what, f.ID, f.Data)
		}
		if f.ID != want[i].ID || f.Kind != want[i].Kind || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%s: event %d %q %s, want %d %q %s", what, f.ID, f.Kind, f.Data, want[i].ID, want[i].Kind, want[i].Data)
		}
	}
}

// Of a text that is there, what follows any id comes in few events, from each
// of which a reader goes on with exactly the rest.
func TestCompactFinished(t *testing.T) {
	for _, unit := range chunker.Units() {
		t.Run(string(unit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, options{})
				path := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":%q}`, quote(hard), unit))
				events := split(canonical(t, r.ask("GET", path+"/events", "").Body))
				frames := wire(events)
				head := frames[len(frames)-1].ID
				for k := range events {
					for name, cursor := range cursors {
						query, header := cursor(k)
						got := canonical(t, r.ask("GET", path+"/events"+strings.TrimSuffix("?"+strings.TrimPrefix(query, "?")+"&compact=true", "&"), "", header).Body)
						few := wire(split(got))
						same(t, fmt.Sprintf("%s, after %d", name, k), few, joined(t, frames[k:], head))
						if k == 0 && len(few) != 3 {
							t.Errorf("%s: the whole in %d events, want session, text and done", name, len(few))
						}
						if k == len(events)-1 && got != events[k] {
							t.Errorf("the terminal event is %q, want %q", got, events[k])
						}
					}
				}
				checkText(t, canonical(t, r.ask("GET", path+"/events?compact=true", "").Body), hard)
				if status, _ := r.do("GET", fmt.Sprintf("%s/events?compact=true&after=%d", path, head), ""); status != 204 {
					t.Errorf("at the terminal id: %d, want 204", status)
				}
				// In the other form it is what the merged events are in it: nothing is
				// lost between them.
				plain := canonical(t, r.ask("GET", path+"/events?format=text&compact=true", "").Body)
				text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(hard)
				want := fmt.Sprintf("id: %d\ndata: %s\n\n", head-1, strings.ReplaceAll(text, "\n", "\ndata: "))
				if got := strings.Join(split(plain)[1:2], ""); got != want {
					t.Errorf("format=text: %q, want %q", got, want)
				}
			})
		})
	}
}

// While a text comes, what is behind the head at the time of the request is
// merged, and what follows comes as it does for everybody.
func TestCompactLive(t *testing.T) {
	for _, unit := range chunker.Units() {
		t.Run(string(unit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, options{})
				path := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":%q,"rate":10}`, quote(hard), unit))
				var readers sync.WaitGroup
				var mu sync.Mutex
				type asked struct{ k, head session.FrameID }
				got := make(map[asked]string)
				for {
					synctest.Wait()
					state := r.state(path)
					if state.State != "running" {
						break
					}
					head := state.LastEventID
					for _, k := range []session.FrameID{0, 1, head / 2, head - 1, head} {
						body := r.ask("GET", fmt.Sprintf("%s/events?compact=true&after=%d", path, k), "").Body
						readers.Go(func() {
							text := canonical(t, body)
							mu.Lock()
							defer mu.Unlock()
							got[asked{k, head}] = text
						})
					}
					synctest.Wait()
					time.Sleep(100 * time.Millisecond)
				}
				readers.Wait()
				frames := wire(split(canonical(t, r.ask("GET", path+"/events", "").Body)))
				if unit != chunker.Delta && len(got) < len(frames) { // a text is one delta
					t.Errorf("%d requests while %d frames came", len(got), len(frames))
				}
				for at, text := range got {
					same(t, fmt.Sprintf("after %d at %d", at.k, at.head), wire(split(text)), joined(t, frames[at.k:], at.head))
				}
			})
		})
	}
}

// A scripted model gives its deltas at once and, unless it is to go on for ever,
// its end.
type scripted struct {
	deltas []session.Delta
	open   bool
}

func (m scripted) Open(session.SourceSpec) (session.Source, error) { return m, nil }

func (m scripted) Deltas(ctx context.Context, _ session.Position) iter.Seq2[session.Delta, error] {
	return func(yield func(session.Delta, error) bool) {
		for _, d := range m.deltas {
			if !yield(d, nil) {
				return
			}
		}
		if m.open {
			<-ctx.Done()
			yield(session.Delta{}, ctx.Err())
			return
		}
		yield(session.Delta{Kind: session.DeltaFinish, Reason: "stop"}, nil)
	}
}

// Only what is of one kind, and of one call, is merged.
func TestCompactKinds(t *testing.T) {
	think := func(s string) session.Delta { return session.Delta{Kind: session.DeltaReasoning, Text: s} }
	say := func(s string) session.Delta { return session.Delta{Text: s} }
	call := func(index int, id, arguments string) session.Delta {
		name := ""
		if id != "" {
			name = "look,\"up\""
		}
		return session.Delta{Kind: session.DeltaToolCall, Call: session.ToolCall{Index: index, ID: id, Name: name, Arguments: arguments}}
	}
	model := scripted{deltas: []session.Delta{
		think("hm "), think("\"so\" "), say("a\\ "), say("b\n"), think("again"), say("c "), say("d"),
		call(0, "c0", ""), call(0, "", `{"q":"`), call(0, "", `x,"arguments":"`), call(1, "c1", "{"), call(1, "", "}"), call(0, "", `"}`), call(0, "", " "),
		call(12, "c12", "{}"), call(1, "", "1"), say("e "), say("f"),
	}}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{session: session.Options{Upstreams: model}})
		path := r.create(`{"source":{"type":"upstream","model":"m","messages":[]},"unit":"delta"}`)
		events := split(canonical(t, r.ask("GET", path+"/events", "").Body))
		frames := wire(events)
		for k := range events {
			few := wire(split(canonical(t, r.ask("GET", fmt.Sprintf("%s/events?compact=true&after=%d", path, k), "").Body)))
			same(t, fmt.Sprint("after ", k), few, joined(t, frames[k:], frames[len(frames)-1].ID))
			if k > 0 {
				continue
			}
			var kinds []string
			for _, f := range few {
				kinds = append(kinds, string(f.Kind))
			}
			want := "session reasoning  reasoning  tool_call tool_call tool_call tool_call tool_call  done"
			if got := strings.Join(kinds, " "); got != want {
				t.Errorf("events = %q, want %q", got, want)
			}
		}
	})
	// Events of clients, and pauses, stay as they are, and part what is around them.
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		path := r.create(`{"source":{"type":"push"},"unit":"rune"}`)
		for range 2 {
			r.do("POST", path+"/append", `{"text":"abc"}`)
			r.do("POST", path+"/append", `{"event":"note","data":{"text":"x"}}`)
			r.do("POST", path+"/append", `{"event":"note","data":{"text":"y"}}`)
			r.do("POST", path+"/append", `{"text":"de"}`)
			r.do("POST", path+"/pause", "")
			r.do("POST", path+"/resume", "")
		}
		r.do("POST", path+"/finish", "")
		few := wire(split(canonical(t, r.ask("GET", path+"/events?compact=true", "").Body)))
		var kinds []string
		for _, f := range few {
			kinds = append(kinds, string(f.Kind)+f.Text())
		}
		if got, want := strings.Join(kinds, " "), "session abc note note de paused resumed abc note note de paused resumed done"; got != want {
			t.Errorf("events = %q, want %q", got, want)
		}
	})
}

// A log that memory does not keep, of many pages: few events, none too large,
// and from each of them exactly the rest.
func TestCompactLarge(t *testing.T) {
	st, err := pebblestore.Open(t.Context(), filepath.Join(t.TempDir(), "data"), pebblestore.Options{Level: session.LevelProcess})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	text := strings.Repeat(hard, 900)
	r := start(t, options{store: st, session: session.Options{MaxLog: 1, MaxBytes: 64 << 20}, server: server.Options{Drain: time.Millisecond}})
	defer r.stop()
	path := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":"grapheme"}`, quote(text)))
	whole := canonical(t, r.ask("GET", path+"/events", "").Body)
	events := split(whole)
	compact := canonical(t, r.ask("GET", path+"/events?compact=true", "").Body)
	checkText(t, compact, text)
	few := split(compact)
	t.Logf("%d events of %d KiB become %d of %d KiB", len(events), len(whole)>>10, len(few), len(compact)>>10)
	if most := len(compact)/(session.MaxFrame-1<<10) + 4; len(few) > most {
		t.Errorf("%d events, want at most %d", len(few), most)
	}
	had := ""
	for i, event := range few {
		f := wire([]string{event})[0]
		if len(event) > session.MaxFrame {
			t.Errorf("event %d has %d bytes, want at most %d", f.ID, len(event), session.MaxFrame)
		}
		had += f.Text()
		if i == len(few)-1 {
			break
		}
		rest := canonical(t, r.ask("GET", path+"/events", "", "Last-Event-ID: "+strconv.Itoa(int(f.ID))).Body)
		if want := strings.Join(events[f.ID:], ""); rest != want {
			t.Fatalf("behind event %d come %d bytes, want %d", f.ID, len(rest), len(want))
		}
		if got := canonical(t, r.ask("GET", path+"/events?compact=true", "", "Last-Event-ID: "+strconv.Itoa(int(f.ID))).Body); got != strings.Join(few[i+1:], "") {
			t.Errorf("behind event %d, merged: %d bytes, want %d", f.ID, len(got), len(strings.Join(few[i+1:], "")))
		}
		if !strings.HasPrefix(text, had) {
			t.Fatalf("event %d has text that does not follow", f.ID)
		}
	}
}

// A frame as large as one may be stays what it is.
func TestCompactLargeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options{})
		text := strings.Repeat("x", 20_000) + "\n" + strings.Repeat("\x01", 9000) + "\n" + strings.Repeat("y", 40_000) + "\n" + strings.Repeat("z", 61_000) + "\nend"
		path := r.create(fmt.Sprintf(`{"source":{"type":"text","text":%s},"unit":"line"}`, quote(text)))
		compact := canonical(t, r.ask("GET", path+"/events?compact=true", "").Body)
		checkText(t, compact, text)
		for _, event := range split(compact) {
			if len(event) > session.MaxFrame {
				t.Errorf("an event has %d bytes, want at most %d", len(event), session.MaxFrame)
			}
		}
	})
}

// BenchmarkCompact merges the answer of a model, 2,000 tokens long.
func BenchmarkCompact(b *testing.B) {
	r := start(b, options{})
	path := r.create(`{"source":{"type":"generate","prompt":"a long answer","seed":1,"length":1500},"unit":"token"}`)
	body := canonical(b, r.ask("GET", path+"/events", "").Body)
	events := split(body)[:2002]
	frames := session.Wire(strings.Join(events, ""))
	var merged []byte
	b.SetBytes(int64(len(frames)))
	b.ReportAllocs()
	for b.Loop() {
		merged = server.Compact(frames, 2002)
	}
	b.ReportMetric(float64(len(events)), "events")
	b.ReportMetric(float64(len(frames)), "bytes")
	b.ReportMetric(float64(len(split(string(merged)))), "merged-events")
	b.ReportMetric(float64(len(merged)), "merged-bytes")
}
