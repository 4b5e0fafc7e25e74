package sessiontest

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"tokenrelay/session"
)

// changeable is what of a record a caller can change where it stands.
func changeable(r *session.Record) {
	r.Info.Spec.Metadata = map[string]string{"chat": "42"}
	r.Info.Spec.Source.Messages, r.Info.Spec.Source.Parameters = []byte(`[1]`), []byte(`{}`)
	r.Info.Spec.Projection.Recorded = []byte(`{"a":1}`)
	r.Checkpoint = session.Checkpoint{
		Producers: map[string]uint64{"p": 7}, Usage: session.Usage{Input: new(int64(5)), Output: new(int64(6)), Source: session.UsageReported},
	}
}

func change(r session.Record) {
	r.Info.Spec.Metadata["chat"], r.Info.Spec.Metadata["more"] = "changed", "x"
	for _, raw := range [...][]byte{r.Info.Spec.Source.Messages, r.Info.Spec.Source.Parameters, r.Info.Spec.Projection.Recorded} {
		if len(raw) > 0 {
			raw[1] = '9'
		}
	}
	r.Checkpoint.Producers["p"], r.Checkpoint.Producers["q"] = 100, 100
	*r.Checkpoint.Usage.Input, *r.Checkpoint.Usage.Output = 100, 100
}

// What a caller does with what it gave, or was given, is nobody else's affair.
func testNotShared(t *testing.T, st session.Store) {
	ctx := t.Context()
	r := Record("a", created)
	changeable(&r)
	token := create(t, st, r)
	want := r.Clone()
	want.Token, want.Bytes = token, int64(len(Frames(0, 1)))
	change(r)
	same := func(after string) {
		t.Helper()
		loaded, err := st.Load(ctx, r.Info.ID)
		if err != nil || !reflect.DeepEqual(loaded, want.WithoutGiven()) {
			t.Errorf("Load after a change of %s = %+v, %v; want %+v", after, loaded, err, want.WithoutGiven())
		}
		change(loaded)
	}
	same("what Create was given")
	same("what Load returned")
	page, err := st.List(ctx, "a", session.Cursor{}, 1)
	if err != nil || len(page) != 1 {
		t.Fatalf("List = %v, %v", page, err)
	}
	change(page[0])
	same("what List returned")
	for r, err := range st.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		change(r)
	}
	same("what Records yielded")
	taken, err := st.Acquire(ctx, r.Info.ID)
	want.Token++
	if err != nil || !reflect.DeepEqual(taken, want) {
		t.Errorf("Acquire = %+v, %v; want %+v", taken, err, want)
	}
	change(taken)
	if taken, err = st.Acquire(ctx, r.Info.ID); err != nil || string(taken.Info.Spec.Source.Messages) != string(want.Info.Spec.Source.Messages) {
		t.Errorf("Acquire = %+v, %v; want %+v", taken, err, want)
	}
	want.Token++
	same("what Acquire returned")

	for range 2 { // the second after a change of what the first returned
		given, err := st.Given(ctx, r.Info.ID)
		if err != nil || !reflect.DeepEqual(given, want.Info.Spec.Source) {
			t.Errorf("Given = %+v, %v; want %+v", given, err, want.Info.Spec.Source)
		}
		given.Messages[1], given.Parameters[1] = '9', '9'
	}

	changeable(&r)
	b := batch(r, want.Token, 1, 2)
	b.Checkpoint = r.Checkpoint
	batches := []session.Batch{b}
	if err := st.Append(ctx, batches)[0]; err != nil {
		t.Fatal(err)
	}
	want.Last, want.Bytes, want.Checkpoint = 2, int64(len(Frames(0, 2))), r.Checkpoint.Clone()
	change(r)
	batches[0] = session.Batch{}
	same("what Append was given")
	same("what Load returned")
}

// Batches of one session in one call are taken one after the other.
func testSeveralBatches(t *testing.T, st session.Store) {
	r, other := Record("a", created), Record("a", created)
	token := create(t, st, r)
	otherToken := create(t, st, other)
	end := batch(r, token, 4, 5)
	end.State = session.Done
	cases := []struct {
		batch session.Batch
		want  error
	}{
		{batch(r, token, 1, 3), nil},
		{batch(other, otherToken, 1, 2), nil},
		{batch(r, token, 1, 3), session.ErrConflict},
		{batch(r, token, 4, 6), session.ErrConflict},
		{batch(r, token, 3, 4), nil},
		{batch(r, token+1, 4, 5), session.ErrFenced},
		{end, nil},
		{batch(r, token, 5, 6), session.ErrConflict},
		{batch(other, otherToken, 2, 4), nil},
	}
	var batches []session.Batch
	for _, c := range cases {
		batches = append(batches, c.batch)
	}
	for i, err := range st.Append(t.Context(), batches) {
		if !errors.Is(err, cases[i].want) {
			t.Errorf("batch %d = %v, want %v", i, err, cases[i].want)
		}
	}
	wantFrames(t, st, r.Info.ID, 0, 5)
	wantFrames(t, st, other.Info.ID, 0, 4)
	if errs := st.Append(t.Context(), nil); len(errs) != 0 {
		t.Errorf("Append of no batch = %v, want no errors", errs)
	}
}

// A call whose context is done does nothing and says why.
func testContext(t *testing.T, st session.Store) {
	r, other := Record("a", created), Record("a", created)
	token := create(t, st, r)
	id := r.Info.ID
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, createErr := st.Create(ctx, other, Frames(0, 1), session.Alias{Name: "chat"})
	_, acquireErr := st.Acquire(ctx, id)
	_, loadErr := st.Load(ctx, id)
	_, givenErr := st.Given(ctx, id)
	_, readErr := st.Read(ctx, id, 0, 1)
	_, listErr := st.List(ctx, "a", session.Cursor{}, 1)
	_, bindErr := st.Bind(ctx, "a", "chat", id)
	_, resolveErr := st.Resolve(ctx, "a", "chat")
	var yielded []error
	for _, err := range st.Records(ctx) {
		yielded = append(yielded, err)
	}
	if len(yielded) != 1 {
		t.Fatalf("Records yields %v, want one error", yielded)
	}
	for name, err := range map[string]error{
		"Create": createErr, "Acquire": acquireErr, "Load": loadErr, "Given": givenErr, "Read": readErr, "List": listErr, "Bind": bindErr,
		"Resolve": resolveErr, "Records": yielded[0], "Remove": st.Remove(ctx, id, session.Deleted),
		"Append": st.Append(ctx, []session.Batch{batch(r, token, 1, 2)})[0],
	} {
		if !errors.Is(err, cause) {
			t.Errorf("%s = %v, want %v", name, err, cause)
		}
	}
	if got, err := st.Load(t.Context(), id); err != nil || got.Token != token || got.Last != 1 {
		t.Errorf("Load = token %d last %d, %v; want %d 1", got.Token, got.Last, err, token)
	}
	if _, err := st.Load(t.Context(), other.Info.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Load of what was not created = %v, want ErrNotFound", err)
	}
	if _, err := st.Resolve(t.Context(), "a", "chat"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Resolve of what was not bound = %v, want ErrNotFound", err)
	}
}

// TestTombstones holds a session.Store that remembers only some removed
// sessions to what its interface says of the others. open returns an empty
// store that remembers most of them.
func TestTombstones(t *testing.T, most int, open func(t *testing.T, most int) session.Store) {
	st := open(t, most)
	ctx := t.Context()
	var removed []session.Record
	for i := range 2*most + 2 {
		r := Record("a", created)
		token := create(t, st, r)
		if _, err := st.Bind(ctx, "a", "chat", r.Info.ID); err != nil {
			t.Fatal(err)
		}
		if err := st.Remove(ctx, r.Info.ID, session.Expired); err != nil {
			t.Fatal(err)
		}
		removed = append(removed, r)
		for j, r := range removed {
			_, loadErr := st.Load(ctx, r.Info.ID)
			_, givenErr := st.Given(ctx, r.Info.ID)
			_, readErr := st.Read(ctx, r.Info.ID, 0, 1)
			_, acquireErr := st.Acquire(ctx, r.Info.ID)
			_, bindErr := st.Bind(ctx, "a", "chat", r.Info.ID)
			for name, err := range map[string]error{
				"Load": loadErr, "Given": givenErr, "Read": readErr, "Acquire": acquireErr, "Bind": bindErr,
				"Append": appendOne(t, st, batch(r, token, 1, 2)), "Remove": st.Remove(ctx, r.Info.ID, session.Deleted),
			} {
				_, gone := errors.AsType[*session.GoneError](err)
				if want := i-j < most; gone != want || !gone && !errors.Is(err, session.ErrNotFound) {
					t.Errorf("after %d removals, %s of the %dth = %v; want gone: %v", i+1, name, j+1, err, want)
				}
			}
		}
	}
	// A forgotten id is a new one, and a remembered one is not.
	if _, err := st.Create(ctx, removed[len(removed)-most], Frames(0, 1)); !errors.Is(err, session.ErrExists) {
		t.Errorf("Create with the id of a tombstone = %v, want ErrExists", err)
	}
	again := removed[len(removed)-most-1]
	if token := create(t, st, again); token != 1 {
		t.Errorf("token of a session whose tombstone was dropped = %d, want 1", token)
	}
	wantFrames(t, st, again.Info.ID, 0, 1)
}
