package sessiontest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"tokenrelay/session"
)

// TestDurable runs the suite of a session.Store that outlives its process.
// place is called once for each test, and returns what opens the store of that
// test: empty at first, and later with what was committed before. Each open
// closes the store that the one before it returned.
func TestDurable(t *testing.T, place func(t *testing.T) (open func() session.Store)) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, func() session.Store)
	}{
		{"no field is lost", testEveryField},
		{"everything is there again", testReopen},
		{"tokens only grow", testReopenTokens},
		{"repeated batch after reopening", testReopenRepeated},
		{"removal survives", testReopenRemoved},
		{"aliases survive", testReopenAliases},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, place(t)) })
	}
}

// A record and a checkpoint with something in each field, those included that
// came after this test.
func testEveryField(t *testing.T, open func() session.Store) {
	var r session.Record
	n := 0
	fill(t, reflect.ValueOf(&r).Elem(), &n)
	r.State, r.Last = session.Running, 1
	first := r
	first.Checkpoint = session.Checkpoint{}
	st := open()
	token := create(t, st, first)
	b := batch(r, token, 1, 2)
	b.Checkpoint = r.Checkpoint
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	st = open()
	r.Token, r.Last, r.Bytes = token, 2, int64(len(Frames(0, 2)))
	if got, err := st.Load(t.Context(), r.Info.ID); err != nil || !reflect.DeepEqual(got, r.WithoutGiven()) {
		t.Errorf("Load = %+v, %v; want %+v", got, err, r.WithoutGiven())
	}
	if given, err := st.Given(t.Context(), r.Info.ID); err != nil || !reflect.DeepEqual(given, r.Info.Spec.Source) {
		t.Errorf("Given = %+v, %v; want %+v", given, err, r.Info.Spec.Source)
	}
	r.Token++
	if got, err := st.Acquire(t.Context(), r.Info.ID); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("Acquire = %+v, %v; want %+v", got, err, r)
	}
}

// fill sets v and all in it to values of their own.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(created.Add(time.Duration(*n) * time.Millisecond)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, n)
			fill(t, value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("value %d", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("the suite cannot fill a %v: teach it", v.Type())
	}
}

func testReopen(t *testing.T, open func() session.Store) {
	st := open()
	want := make(map[session.ID]session.Record)
	var order []session.ID
	for i := range 12 {
		r := Record("a", created.Add(time.Duration(i*7%12)*time.Second))
		token := create(t, st, r)
		last := session.FrameID(1)
		for n := range session.FrameID(i + 1) {
			b := batch(r, token, last, last+n)
			b.Checkpoint = session.Checkpoint{Position: int64(last + n), Held: "\xc3", Units: int64(n), FirstText: created}
			if i%3 == 0 && int(n) == i {
				b.State = session.Done
				b.Checkpoint.Ended = created.Add(time.Minute)
			}
			if err := appendOne(t, st, b); err != nil {
				t.Fatal(err)
			}
			last, r.State, r.Checkpoint = last+n, b.State, b.Checkpoint
		}
		if _, err := st.Bind(t.Context(), "a", fmt.Sprint("chat-", i), r.Info.ID); err != nil {
			t.Fatal(err)
		}
		r.Token, r.Last, r.Bytes = token, last, int64(len(Frames(0, last)))
		want[r.Info.ID] = r.WithoutGiven()
	}
	page, err := st.List(t.Context(), "a", session.Cursor{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page {
		order = append(order, r.Info.ID)
	}
	for range 2 { // what a reopening does must survive the next
		st = open()
		got := make(map[session.ID]session.Record)
		for r, err := range st.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got[r.Info.ID] = r
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("Records = %+v, want %+v", got, want)
		}
		var listed []session.ID
		for at := (session.Cursor{}); ; {
			page, err := st.List(t.Context(), "a", at, 5)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				listed = append(listed, r.Info.ID)
				at = session.Cursor{Created: r.Info.Created, ID: r.Info.ID}
			}
		}
		if !slices.Equal(listed, order) {
			t.Errorf("List = %v, want %v", listed, order)
		}
		for id, r := range want {
			for after := range r.Last + 1 {
				wantFrames(t, st, id, after, r.Last)
			}
		}
	}
	bound := make(map[session.ID]bool)
	for i := range 12 {
		id, err := st.Resolve(t.Context(), "a", fmt.Sprint("chat-", i))
		if err != nil {
			t.Errorf("Resolve = %v", err)
		}
		bound[id] = true
		if other, err := st.Bind(t.Context(), "a", fmt.Sprint("chat-", i), order[0]); !errors.Is(err, session.ErrExists) || other != id {
			t.Errorf("Bind of a bound name = %v, %v; want %v and ErrExists", other, err, id)
		}
	}
	if len(bound) != 12 {
		t.Errorf("12 names resolve to %d sessions", len(bound))
	}
}

func testReopenTokens(t *testing.T, open func() session.Store) {
	st := open()
	r := Record("a", created)
	token := create(t, st, r)
	// The latest token stays good, and no other.
	st = open()
	if err := appendOne(t, st, batch(r, token, 1, 2)); err != nil {
		t.Errorf("Append with the latest token after reopening = %v", err)
	}
	for want := token + 1; want < token+4; want++ {
		st = open()
		taken, err := st.Acquire(t.Context(), r.Info.ID)
		if err != nil || taken.Token != want {
			t.Fatalf("Acquire = token %d, %v; want %d", taken.Token, err, want)
		}
		st = open()
		if err := appendOne(t, st, batch(r, want-1, 2, 3)); !errors.Is(err, session.ErrFenced) {
			t.Errorf("Append of the owner before = %v, want ErrFenced", err)
		}
	}
	wantFrames(t, st, r.Info.ID, 0, 2)
}

func testReopenRepeated(t *testing.T, open func() session.Store) {
	st := open()
	r := Record("a", created)
	token := create(t, st, r)
	b := batch(r, token, 1, 4)
	if err := appendOne(t, st, b); err != nil {
		t.Fatal(err)
	}
	st = open()
	if err := appendOne(t, st, b); !errors.Is(err, session.ErrConflict) {
		t.Errorf("the same batch again = %v, want ErrConflict", err)
	}
	if err := appendOne(t, st, batch(r, token, 2, 5)); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a batch that overlaps = %v, want ErrConflict", err)
	}
	if err := appendOne(t, st, batch(r, token, 5, 6)); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a batch behind a gap = %v, want ErrConflict", err)
	}
	end := batch(r, token, 4, 5)
	end.State = session.Stopped
	if err := appendOne(t, st, end); err != nil {
		t.Errorf("the batch that follows = %v", err)
	}
	st = open()
	if err := appendOne(t, st, batch(r, token, 5, 6)); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a batch after the end = %v, want ErrConflict", err)
	}
	if got, err := st.Read(t.Context(), r.Info.ID, 0, 1<<30); err != nil || !bytes.Equal(got, Frames(0, 5)) {
		t.Errorf("Read = %q, %v; want frames 1 to 5", got, err)
	}
}

func testReopenRemoved(t *testing.T, open func() session.Store) {
	st := open()
	reasons := []session.GoneReason{session.Expired, session.Deleted, session.Evicted}
	var removed []session.Record
	for i, why := range reasons {
		r := Record("a", created.Add(time.Duration(i)*time.Second))
		token := create(t, st, r)
		if err := appendOne(t, st, batch(r, token, 1, 5)); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Bind(t.Context(), "a", string(why), r.Info.ID); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			st = open() // some of it is removed after another opening
		}
		if err := st.Remove(t.Context(), r.Info.ID, why); err != nil {
			t.Fatal(err)
		}
		removed = append(removed, r)
	}
	st = open()
	for i, r := range removed {
		_, loadErr := st.Load(t.Context(), r.Info.ID)
		_, givenErr := st.Given(t.Context(), r.Info.ID)
		_, readErr := st.Read(t.Context(), r.Info.ID, 0, 1)
		for name, err := range map[string]error{"Load": loadErr, "Given": givenErr, "Read": readErr} {
			gone, ok := errors.AsType[*session.GoneError](err)
			if !ok || gone.Reason != reasons[i] || gone.Principal != "a" {
				t.Errorf("%s of a removed session = %v, want gone: %s", name, err, reasons[i])
			}
		}
		if _, err := st.Create(t.Context(), r, Frames(0, 1)); !errors.Is(err, session.ErrExists) {
			t.Errorf("Create with a removed session's id = %v, want ErrExists", err)
		}
		if _, err := st.Resolve(t.Context(), "a", string(reasons[i])); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Resolve of a removed session's name = %v, want ErrNotFound", err)
		}
	}
	if page, err := st.List(t.Context(), "a", session.Cursor{}, 10); err != nil || len(page) != 0 {
		t.Errorf("List = %v, %v; want none", page, err)
	}
	for r, err := range st.Records(t.Context()) {
		t.Errorf("Records yields %v, %v; want none", r.Info.ID, err)
	}
}
