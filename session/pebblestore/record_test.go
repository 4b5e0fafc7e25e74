package pebblestore_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// What can be read is written again as what reads the same.
func FuzzState(f *testing.F) {
	now := time.UnixMilli(1_700_000_000_123)
	f.Add(pebblestore.SomeState(session.Checkpoint{}))
	f.Add(pebblestore.SomeState(session.Checkpoint{
		Position: -1, Held: "\xff", HeldKind: session.KindReasoning, Units: 2,
		Producers: map[string]uint64{"p": 1, "q": 1 << 63}, FirstText: now, Ended: now,
		Usage: session.Usage{Input: new(int64(4)), Output: new(int64(-5)), Source: session.UsageReported},
	}))
	f.Add(pebblestore.SomeState(session.Checkpoint{Cursor: "c", Released: true, PausedUnread: true, Output: 3, Earlier: -2, FirstToken: 1, Streaming: 2}))
	f.Add([]byte{1, 1 << 2, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, value []byte) { recode(t, pebblestore.RecodeState, value) })
}

func FuzzInfo(f *testing.F) {
	f.Add(pebblestore.SomeInfo(sessiontest.Record("a", time.UnixMilli(1))))
	f.Add([]byte("\x01\x01a{}"))
	f.Add([]byte("\x03\x01a\x01\x02{}{}"))
	f.Fuzz(func(t *testing.T, value []byte) { recode(t, pebblestore.RecodeInfo, value) })
}

func recode(t *testing.T, again func([]byte) ([]byte, error), value []byte) {
	first, err := again(value)
	if err != nil {
		return
	}
	second, err := again(first)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("%q is written as %q, and that as %q, %v", value, first, second, err)
	}
}

// A key is read only if it is exactly what is written.
func FuzzKey(f *testing.F) {
	for _, key := range pebblestore.SomeKeys(session.NewID()) {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if got, ok := pebblestore.RecodeKey(key); ok && !bytes.Equal(got, key) {
			t.Errorf("key %q is read as %q", key, got)
		}
	})
}

// What an earlier version wrote is read as it was meant.
func TestFormat1(t *testing.T) {
	now := pebblestore.SomeState(session.Checkpoint{Position: 5, Held: "held", Units: 3, Usage: session.Usage{Output: new(int64(9)), Source: session.UsageReported}})
	then := bytes.Clone(now)
	then[0] = 1
	if got, err := pebblestore.RecodeState(then); err != nil || !bytes.Equal(got, now) {
		t.Errorf("a state is read as %q, %v; want %q", got, err, now)
	}
	upstream := pebblestore.SomeState(session.Checkpoint{Cursor: "c"})
	upstream[0] = 1
	if got, err := pebblestore.RecodeState(upstream); err == nil {
		t.Errorf("a state with what its format does not have is read as %q", got)
	}
	for value, want := range map[string]session.SourceSpec{
		"\x01\x04text\x00":               {Text: "text"},
		"\x01\x00\x06prompt":             {Prompt: "prompt"},
		"\x01\x00\x00\x03[1]":            {Messages: json.RawMessage("[1]")},
		"\x02\x00\x00\x01\x02[]\x00\x00": {Messages: json.RawMessage("[]")},
	} {
		if got, err := pebblestore.ParseGiven([]byte(value)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v; want %+v", value, got, err, want)
		}
	}
}

// What a version wrote that knew of no projections is read as what has none.
func TestFormat2(t *testing.T) {
	const text = `{"Created":5,"Spec":{"Source":{"Type":"upstream","Text":"","Prompt":"","Seed":0,"Length":0,"Model":"m","Messages":null,"Parameters":null},"Unit":"word"},"Size":7}`
	for _, value := range []string{"\x01\x01a" + text, "\x02\x01a" + text} {
		got, err := pebblestore.ParseInfo([]byte(value))
		want := session.Info{
			Principal: "a", Created: time.UnixMilli(5).UTC(), Size: 7,
			Spec: session.Spec{Unit: "word", Source: session.SourceSpec{Type: session.SourceUpstream, Model: "m"}},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v; want %+v", value, got, err, want)
		}
	}
}

// Each value that is cut or has something behind it is refused.
func TestStateCut(t *testing.T) {
	value := pebblestore.SomeState(session.Checkpoint{
		Held: "held", Producers: map[string]uint64{"p": 300}, FirstText: time.UnixMilli(5), Cursor: "c", Output: 300, PausedUnread: true,
		Usage: session.Usage{Output: new(int64(9)), Source: session.UsageReported},
	})
	if got, err := pebblestore.RecodeState(value); err != nil || !bytes.Equal(got, value) {
		t.Errorf("the whole value = %q, %v; want %q", got, err, value)
	}
	for n := range value {
		if _, err := pebblestore.RecodeState(value[:n]); err == nil {
			t.Errorf("the first %d bytes of %d are read without an error", n, len(value))
		}
	}
	if _, err := pebblestore.RecodeState(append(value, 0)); err == nil {
		t.Error("a value with a byte too many is read without an error")
	}
}

// A value of a later format is not taken for a damaged one.
func TestLaterValue(t *testing.T) {
	state, info := pebblestore.SomeState(session.Checkpoint{}), pebblestore.SomeInfo(sessiontest.Record("a", time.UnixMilli(1)))
	for _, c := range []struct {
		again  func([]byte) ([]byte, error)
		value  []byte
		format byte
		want   string
	}{
		{pebblestore.RecodeState, state, pebblestore.Format + 1, "later version"},
		{pebblestore.RecodeState, state, 0, "damaged"},
		{pebblestore.RecodeInfo, info, pebblestore.Format + 1, "later version"},
		{pebblestore.RecodeInfo, info, 0, "damaged"},
	} {
		c.value[0] = c.format
		if _, err := c.again(c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a value of format %d = %v, want %q", c.format, err, c.want)
		}
	}
}
