// Package sessiontest holds implementations of the session package's
// interfaces to what those interfaces say.
package sessiontest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"tokenrelay/session"
)

// TestStore runs the conformance suite of session.Store. open returns an empty
// store, and is called once for each test.
func TestStore(t *testing.T, open func(t *testing.T) session.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, session.Store)
	}{
		{"create", testCreate},
		{"append and read from every id", testReadEveryID},
		{"append commits each batch by itself", testAppendMany},
		{"refused batches change nothing", testRefused},
		{"repeated batch", testRepeated},
		{"nothing after the terminal frame", testTerminal},
		{"stale token is fenced", testFenced},
		{"checkpoint comes back", testCheckpoint},
		{"frames are not kept", testFramesNotKept},
		{"memory is not shared", testNotShared},
		{"batches of one session", testSeveralBatches},
		{"a context that is done", testContext},
		{"list", testList},
		{"records", testRecords},
		{"remove leaves a tombstone", testRemove},
		{"aliases", testAliases},
		{"aliases of a new session", testCreateAliases},
		{"an alias moves", testMoves},
		{"reading while appending", testReading},
		{"all at once", testConcurrent},
		{"one alias, many new sessions", testConcurrentAlias},
		{"an alias that moves while sessions go", testConcurrentMoves},
		{"level", testLevel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

var created = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)

// Record returns a record of a new session, as session.Manager makes it.
func Record(who session.Principal, at time.Time) session.Record {
	return session.Record{
		Info: session.Info{
			ID: session.NewID(), Principal: who, Created: at,
			Spec: session.Spec{
				Source: session.SourceSpec{
					Type: session.SourceUpstream, Text: "naïve\x00", Prompt: "why", Seed: 1 << 63, Length: 9,
					Model: "m", Dialect: session.DialectChat, Messages: []byte(`[{"role":"user"}]`),
				},
				Unit: "token", Encoding: "o200k_base", Rate: 0.1, Retain: time.Hour,
				Metadata:   map[string]string{"chat": "42"},
				Projection: session.Projection{Version: 2, Recorded: []byte(`{ "user": "<é>" }`)},
				Digest:     "sha256",
			},
			EncodingSource: session.EncodingOfModel, Unicode: "15.0.0", Generator: 3, Size: 77,
		},
		State: session.Running,
		Last:  1,
	}
}

// Frames returns the frames after+1 to last of a log of text frames.
func Frames(after, last session.FrameID) session.Wire {
	var w session.Wire
	for id := after + 1; id <= last; id++ {
		w = session.Frame{ID: id, Data: fmt.Appendf(nil, `{"text":"%d\n"}`, id)}.AppendWire(w)
	}
	return w
}

func batch(r session.Record, token session.Token, after, last session.FrameID) session.Batch {
	return session.Batch{ID: r.Info.ID, Token: token, After: after, Last: last, Frames: Frames(after, last), State: session.Running}
}

func create(t *testing.T, st session.Store, r session.Record) session.Token {
	t.Helper()
	token, err := st.Create(t.Context(), r, Frames(0, 1))
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	return token
}

func appendOne(t *testing.T, st session.Store, b session.Batch) error {
	t.Helper()
	errs := st.Append(t.Context(), []session.Batch{b})
	if len(errs) != 1 {
		t.Fatalf("Append of 1 batch gave %d errors", len(errs))
	}
	return errs[0]
}

func wantFrames(t *testing.T, st session.Store, id session.ID, after, last session.FrameID) {
	t.Helper()
	got, err := st.Read(t.Context(), id, after, 1<<30)
	if want := Frames(after, last); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Read after %d = %q, %v; want %q", after, got, err, want)
	}
}

func testCreate(t *testing.T, st session.Store) {
	r := Record("a", created)
	if token := create(t, st, r); token != 1 {
		t.Errorf("token of a new session = %d, want 1", token)
	}
	got, err := st.Load(t.Context(), r.Info.ID)
	r.Token, r.Bytes = 1, int64(len(Frames(0, 1)))
	if err != nil || !reflect.DeepEqual(got, r.WithoutGiven()) {
		t.Errorf("Load = %+v, %v; want %+v", got, err, r.WithoutGiven())
	}
	if given, err := st.Given(t.Context(), r.Info.ID); err != nil || !reflect.DeepEqual(given, r.Info.Spec.Source) {
		t.Errorf("Given = %+v, %v; want %+v", given, err, r.Info.Spec.Source)
	}
	taken, err := st.Acquire(t.Context(), r.Info.ID)
	r.Token++ // by Acquire alone
	if err != nil || !reflect.DeepEqual(taken, r) {
		t.Errorf("Acquire = %+v, %v; want %+v", taken, err, r)
	}
	wantFrames(t, st, r.Info.ID, 0, 1)
	if _, err := st.Create(t.Context(), r, Frames(0, 1)); !errors.Is(err, session.ErrExists) {
		t.Errorf("second Create = %v, want ErrExists", err)
	}
	ignored := Record("a", created)
	ignored.Token, ignored.Bytes = 9, 1000
	if token := create(t, st, ignored); token != 1 {
		t.Errorf("token of a new session = %d, want 1", token)
	}
	if got, err := st.Load(t.Context(), ignored.Info.ID); err != nil || got.Token != 1 || got.Bytes != r.Bytes {
		t.Errorf("Load = token %d, %d bytes, %v; want 1, %d", got.Token, got.Bytes, err, r.Bytes)
	}
	for name, first := range map[string]session.Wire{"none": nil, "too many": Frames(0, 2), "not the first": Frames(1, 2), "torn": Frames(0, 1)[1:]} {
		refused := Record("a", created)
		if _, err := st.Create(t.Context(), refused, first); !errors.Is(err, session.ErrConflict) {
			t.Errorf("Create with %s of its frames = %v, want ErrConflict", name, err)
		}
		if _, err := st.Load(t.Context(), refused.Info.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Load of a session that was refused = %v, want ErrNotFound", err)
		}
	}
	if _, err := st.Load(t.Context(), session.NewID()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Load of no session = %v, want ErrNotFound", err)
	}
	if _, err := st.Given(t.Context(), session.NewID()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Given of no session = %v, want ErrNotFound", err)
	}
	if _, err := st.Read(t.Context(), session.NewID(), 0, 1); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Read of no session = %v, want ErrNotFound", err)
	}
}

// Records of one, of several and of many frames: every id inside and between.
func testReadEveryID(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	last := session.FrameID(1)
	for _, n := range []session.FrameID{1, 1, 3, 20, 1, 200} {
		if err := appendOne(t, st, batch(r, token, last, last+n)); err != nil {
			t.Fatal(err)
		}
		last += n
	}
	for after := range last + 1 {
		wantFrames(t, st, r.Info.ID, after, last)
		for _, size := range []int{0, 1, 60, 500} {
			want, _, _ := Frames(after, last).First(size)
			if got, err := st.Read(t.Context(), r.Info.ID, after, size); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("Read of %d bytes after %d = %q, %v; want %q", size, after, got, err, want)
			}
		}
	}
	_, err := st.Read(t.Context(), r.Info.ID, last+1, 1)
	if ahead, ok := errors.AsType[*session.AheadError](err); !ok || ahead.Last != last {
		t.Errorf("Read past the end = %v, want an AheadError with last %d", err, last)
	}
}

func testAppendMany(t *testing.T, st session.Store) {
	var batches []session.Batch
	var records []session.Record
	for range 50 {
		r := Record("a", created)
		batches = append(batches, batch(r, create(t, st, r), 1, 4))
		records = append(records, r)
	}
	batches[7].Token++
	batches[9].After, batches[9].Frames = 2, Frames(2, 4)
	batches[11].ID = session.NewID()
	want := map[int]error{7: session.ErrFenced, 9: session.ErrConflict, 11: session.ErrNotFound}
	for i, err := range st.Append(t.Context(), batches) {
		last := session.FrameID(4)
		if want[i] != nil {
			last = 1
		}
		if !errors.Is(err, want[i]) {
			t.Errorf("batch %d = %v, want %v", i, err, want[i])
		}
		wantFrames(t, st, records[i].Info.ID, 0, last)
	}
}

func testRefused(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	good := batch(r, token, 1, 3)
	for name, c := range map[string]struct {
		spoil func(*session.Batch)
		want  error
	}{
		"gap":                     {func(b *session.Batch) { b.After, b.Last, b.Frames = 2, 4, Frames(2, 4) }, session.ErrConflict},
		"overlap":                 {func(b *session.Batch) { b.After, b.Frames = 0, Frames(0, 3) }, session.ErrConflict},
		"wrong last":              {func(b *session.Batch) { b.Last = 4 }, session.ErrConflict},
		"too few":                 {func(b *session.Batch) { b.Frames = Frames(1, 2) }, session.ErrConflict},
		"hole inside":             {func(b *session.Batch) { b.Frames = append(Frames(1, 2), Frames(3, 4)...) }, session.ErrConflict},
		"torn frame":              {func(b *session.Batch) { b.Frames = b.Frames[:len(b.Frames)-1] }, session.ErrConflict},
		"not a frame":             {func(b *session.Batch) { b.Frames = session.Wire("data: 1\n\n") }, session.ErrConflict},
		"a later token":           {func(b *session.Batch) { b.Token++ }, session.ErrFenced},
		"no token":                {func(b *session.Batch) { b.Token = 0 }, session.ErrFenced},
		"a later token and a gap": {func(b *session.Batch) { b.Token++; b.After = 2 }, session.ErrFenced},
		"no session, no token":    {func(b *session.Batch) { b.ID, b.Token = session.NewID(), 0 }, session.ErrNotFound},
	} {
		spoilt := good
		spoilt.Frames = slices.Clone(good.Frames)
		c.spoil(&spoilt)
		if err := appendOne(t, st, spoilt); !errors.Is(err, c.want) {
			t.Errorf("%s: Append = %v, want %v", name, err, c.want)
		}
		wantFrames(t, st, r.Info.ID, 0, 1)
	}
	if err := appendOne(t, st, good); err != nil {
		t.Errorf("the good batch after the refused ones = %v", err)
	}
}

// Who does not know whether a batch was committed sends it again.
func testRepeated(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	b := batch(r, token, 1, 3)
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	if err := appendOne(t, st, b); !errors.Is(err, session.ErrConflict) {
		t.Errorf("the same batch again = %v, want ErrConflict", err)
	}
	wantFrames(t, st, r.Info.ID, 0, 3)
	empty := session.Batch{ID: r.Info.ID, Token: token, After: 3, Last: 3, State: session.Running}
	for range 2 {
		if err := appendOne(t, st, empty); err != nil {
			t.Errorf("batch without frames = %v", err)
		}
	}
}

func testTerminal(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	b := batch(r, token, 1, 2)
	b.State = session.Done
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	if err := appendOne(t, st, batch(r, token, 2, 3)); !errors.Is(err, session.ErrConflict) {
		t.Errorf("Append after the end = %v, want ErrConflict", err)
	}
	if got, err := st.Load(t.Context(), r.Info.ID); err != nil || got.State != session.Done || got.Last != 2 {
		t.Errorf("Load = %v %d, %v; want done 2", got.State, got.Last, err)
	}
	if got, err := st.Acquire(t.Context(), r.Info.ID); err != nil || got.State != session.Done || got.Token != token+1 {
		t.Errorf("Acquire of an ended session = %v token %d, %v; want done %d", got.State, got.Token, err, token+1)
	}
}

func testFenced(t *testing.T, st session.Store) {
	r := Record("a", created)
	old := create(t, st, r)
	taken, err := st.Acquire(t.Context(), r.Info.ID)
	if err != nil || taken.Token != old+1 || taken.Last != 1 {
		t.Fatalf("Acquire = token %d last %d, %v; want %d 1", taken.Token, taken.Last, err, old+1)
	}
	if err := appendOne(t, st, batch(r, taken.Token, 1, 2)); err != nil {
		t.Fatal(err)
	}
	// A zombie that sends on without waiting for its refusal: the ids of the
	// second batch would fit.
	errs := st.Append(t.Context(), []session.Batch{batch(r, old, 1, 2), batch(r, old, 2, 3)})
	for i, err := range errs {
		if !errors.Is(err, session.ErrFenced) {
			t.Errorf("batch %d of a former owner = %v, want ErrFenced", i, err)
		}
	}
	wantFrames(t, st, r.Info.ID, 0, 2)
	if _, err := st.Acquire(t.Context(), session.NewID()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Acquire of no session = %v, want ErrNotFound", err)
	}
}

func testCheckpoint(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	five := int64(5)
	want := session.Checkpoint{
		Position: 17, Held: "Hel\xc3", HeldKind: session.KindReasoning, Units: 12,
		Producers: map[string]uint64{"p1": 3, "p2": 9},
		Usage:     session.Usage{Output: &five, Source: session.UsageReported},
		FirstText: created.Add(time.Millisecond), Ended: created.Add(time.Hour),
		Cursor: "resp_1 17", Released: true, PausedUnread: true, Output: 14, Earlier: 9,
		FirstToken: 312 * time.Millisecond, Streaming: 5*time.Second + 1,
	}
	filled(t, want)
	b := batch(r, token, 1, 2)
	b.Checkpoint = want
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	// Held text moves on though no frame came of it.
	want.Held, want.HeldKind = want.Held+"\xa9lo", session.KindText
	b = session.Batch{ID: r.Info.ID, Token: token, After: 2, Last: 2, State: session.Paused, Checkpoint: want}
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	got, err := st.Acquire(t.Context(), r.Info.ID)
	if err != nil || !reflect.DeepEqual(got.Checkpoint, want) || got.State != session.Paused {
		t.Errorf("Acquire = %+v %v, %v; want %+v paused", got.Checkpoint, got.State, err, want)
	}
}

// filled fails for a struct with a field that is zero: one that was forgotten.
func filled(t *testing.T, v any) {
	t.Helper()
	for field, value := range reflect.ValueOf(v).Fields() {
		if value.IsZero() {
			t.Errorf("the test forgets %T.%s", v, field.Name)
		}
	}
}

func testFramesNotKept(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	b := batch(r, token, 1, 3)
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	for i := range b.Frames {
		b.Frames[i] = 'x' // the pump uses its buffer again
	}
	got, _ := st.Read(t.Context(), r.Info.ID, 0, 1<<30)
	_ = append(got, "junk"...)
	if err := appendOne(t, st, batch(r, token, 3, 4)); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, st, r.Info.ID, 0, 4)
}

func testList(t *testing.T, st session.Store) {
	var want []session.ID
	for i := range 10 {
		// Two each in one millisecond; and not in the order of creation.
		r := Record("a", created.Add(time.Duration((i*7%10)/2)*time.Millisecond))
		create(t, st, r)
		create(t, st, Record("b", created))
	}
	all, err := st.List(t.Context(), "a", session.Cursor{}, 100)
	if err != nil || len(all) != 10 {
		t.Fatalf("List = %d records, %v; want 10", len(all), err)
	}
	if !slices.IsSortedFunc(all, func(a, b session.Record) int {
		return cmp.Or(b.Info.Created.Compare(a.Info.Created), bytes.Compare(b.Info.ID[:], a.Info.ID[:]))
	}) {
		t.Errorf("List is not newest first, and of equal ones the greatest id first")
	}
	for _, limit := range []int{0, -1} {
		if page, err := st.List(t.Context(), "a", session.Cursor{}, limit); err != nil || len(page) != 0 {
			t.Errorf("List of %d = %d records, %v; want none", limit, len(page), err)
		}
	}
	for _, r := range all {
		want = append(want, r.Info.ID)
	}
	for size := 1; size <= 11; size++ {
		var got []session.ID
		for at := (session.Cursor{}); ; {
			page, err := st.List(t.Context(), "a", at, size)
			if err != nil || len(page) > size {
				t.Fatalf("List of %d = %d records, %v", size, len(page), err)
			}
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				got = append(got, r.Info.ID)
			}
			last := page[len(page)-1].Info
			at = session.Cursor{Created: last.Created, ID: last.ID}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d hold %v, want %v", size, got, want)
		}
	}
	// A cursor stays good when its session goes.
	at := session.Cursor{Created: all[3].Info.Created, ID: all[3].Info.ID}
	if err := st.Remove(t.Context(), at.ID, session.Deleted); err != nil {
		t.Fatal(err)
	}
	if page, err := st.List(t.Context(), "a", at, 1); err != nil || len(page) != 1 || page[0].Info.ID != want[4] {
		t.Errorf("List after a removed session = %v, %v; want %v", page, err, want[4])
	}
	if page, err := st.List(t.Context(), "nobody", session.Cursor{}, 10); err != nil || len(page) != 0 {
		t.Errorf("List of nobody = %v, %v; want none", page, err)
	}
}

func testRecords(t *testing.T, st session.Store) {
	want := make(map[session.ID]session.Record)
	for i := range 20 {
		r := Record(session.Principal(fmt.Sprint(i%3)), created.Add(time.Duration(i)*time.Second))
		token := create(t, st, r)
		b := batch(r, token, 1, session.FrameID(2+i))
		b.Checkpoint.Position = int64(i)
		if i%2 == 0 {
			b.State = session.Done
		}
		if err := appendOne(t, st, b); err != nil {
			t.Fatal(err)
		}
		r.Token, r.State, r.Last, r.Bytes, r.Checkpoint = token, b.State, b.Last, int64(len(Frames(0, b.Last))), b.Checkpoint
		want[r.Info.ID] = r.WithoutGiven()
		if i == 7 {
			if err := st.Remove(t.Context(), r.Info.ID, session.Expired); err != nil {
				t.Fatal(err)
			}
			delete(want, r.Info.ID)
		}
	}
	got := make(map[session.ID]session.Record)
	for r, err := range st.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got[r.Info.ID] = r
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Records = %+v, want %+v", got, want)
	}
	for range st.Records(t.Context()) {
		break // must not panic
	}
}

func testRemove(t *testing.T, st session.Store) {
	r := Record("a", created)
	token := create(t, st, r)
	id := r.Info.ID
	if err := st.Remove(t.Context(), id, session.Expired); err != nil {
		t.Fatal(err)
	}
	_, loadErr := st.Load(t.Context(), id)
	_, givenErr := st.Given(t.Context(), id)
	_, readErr := st.Read(t.Context(), id, 0, 1)
	_, acquireErr := st.Acquire(t.Context(), id)
	for name, err := range map[string]error{
		"Load": loadErr, "Given": givenErr, "Read": readErr, "Acquire": acquireErr,
		"Append": appendOne(t, st, batch(r, token, 1, 2)),
		"Remove": st.Remove(t.Context(), id, session.Deleted),
	} {
		gone, ok := errors.AsType[*session.GoneError](err)
		if !ok || gone.Reason != session.Expired || gone.Principal != "a" {
			t.Errorf("%s of a removed session = %v, want gone: expired", name, err)
		}
	}
	if _, err := st.Create(t.Context(), r, Frames(0, 1)); !errors.Is(err, session.ErrExists) {
		t.Errorf("Create with a removed session's id = %v, want ErrExists", err)
	}
	if page, err := st.List(t.Context(), "a", session.Cursor{}, 10); err != nil || len(page) != 0 {
		t.Errorf("List = %v, %v; want none", page, err)
	}
	if err := st.Remove(t.Context(), session.NewID(), session.Expired); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Remove of no session = %v, want ErrNotFound", err)
	}
}

func testLevel(t *testing.T, st session.Store) {
	switch st.Level() {
	case session.LevelMemory, session.LevelProcess, session.LevelPower:
	default:
		t.Errorf("Level = %q", st.Level())
	}
	if stat := st.Stat(); stat.Err != nil || stat.Disk < 0 {
		t.Errorf("Stat = %+v", stat)
	}
}
