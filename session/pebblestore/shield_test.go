package pebblestore_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

// eventually waits, for a bounded time, until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A book counts what is logged.
type book struct {
	mu    sync.Mutex
	count map[string]int
}

func (b *book) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (b *book) WithAttrs([]slog.Attr) slog.Handler           { return b }
func (b *book) WithGroup(string) slog.Handler                { return b }
func (b *book) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count[r.Message]++
	return nil
}

func (b *book) of(message string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count[message]
}

func newBook() *book { return &book{count: make(map[string]int)} }

// A disk that fails for a while stops writers and loses nothing.
func TestFailingDisk(t *testing.T) {
	for _, test := range []struct {
		name string
		op   string
		file string // a part of its name
		errs []error
	}{
		{"write of a log", "write", ".log", []error{syscall.EIO, syscall.ENOSPC}},
		{"sync of a log", "sync", ".log", []error{syscall.EIO, syscall.ENOSPC}},
		{"creation of a log", "create", ".log", []error{syscall.EIO, syscall.ENOSPC}},
		{"sync of the directory", "syncdir", "pebble", []error{syscall.EIO}},
		{"write of the manifest", "write", "MANIFEST", []error{syscall.EIO, syscall.ENOSPC}},
		{"sync of the manifest", "sync", "MANIFEST", []error{syscall.EIO}},
		{"creation of a table", "create", ".sst", []error{syscall.EIO, syscall.ENOSPC}},
		{"write of a table", "write", ".sst", []error{syscall.EIO, syscall.ENOSPC}},
		{"sync of a table", "sync", ".sst", []error{syscall.EIO}},
		{"everything", "", "", []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS}},
	} {
		for _, errno := range test.errs {
			t.Run(test.name+" "+errno.Error(), func(t *testing.T) {
				t.Parallel()
				mem := vfs.NewCrashableMem()
				disk := &faults{FS: mem, drop: true}
				said := newBook()
				st := open(t, "data", pebblestore.Options{Logger: slog.New(said)}.Quick().OnFS(disk))
				l := start(t, st, 2)
				shown, _ := l.snapshot()
				disk.setBefore(func(op, name string) error {
					if (test.op == "" || op == test.op) && strings.Contains(name, test.file) && !strings.Contains(name, "lock") {
						return errno
					}
					return nil
				})
				eventually(t, "health goes down", func() bool { return errors.Is(st.Stat().Err, session.ErrStore) })
				if err := st.Stat().Err; !errors.Is(err, errno) {
					t.Errorf("Stat = %v, want %v in it", err, errno)
				}
				id := l.removed[0].Info.ID
				_, createErr := st.Create(t.Context(), sessiontest.Record("a", created), sessiontest.Frames(0, 1))
				_, acquireErr := st.Acquire(t.Context(), id)
				_, bindErr := st.Bind(t.Context(), "b", "chat", id)
				for name, err := range map[string]error{
					"Create": createErr, "Acquire": acquireErr, "Bind": bindErr, "Remove": st.Remove(t.Context(), id, session.Deleted),
				} {
					if !errors.Is(err, session.ErrStore) {
						t.Errorf("%s while the disk is down = %v, want ErrStore at once", name, err)
					}
				}
				for i, r := range l.records { // readers see what is committed, and go on
					w, err := st.Read(t.Context(), r.Info.ID, 0, 1<<30)
					if last, _, checkErr := w.Check(0); err != nil || checkErr != nil || last < shown[i] {
						t.Errorf("session %d shows %d frames, %v, and showed %d", i, last, cmp.Or(err, checkErr), shown[i])
					}
				}
				if disk.hits.Load() == 0 {
					t.Error("nothing failed")
				}
				disk.setBefore(nil)
				eventually(t, "health comes back", func() bool { return st.Stat().Err == nil })
				down, _ := l.snapshot()
				eventually(t, "appends go on", func() bool {
					now, _ := l.snapshot()
					return now[0] > down[0]+5
				})
				create(t, st, sessiontest.Record("a", created))
				l.wait()
				acked, _ := l.snapshot()
				after := crash(mem, 0, rand.New(rand.NewPCG(1, 2)))
				l.check(t, open(t, "data", pebblestore.Options{}.Quick().OnFS(after)), acked, 0, true)
				if err := st.Close(); err != nil {
					t.Error(err)
				}
				const down1, up = "the disk of the store does not take writes: new sessions are refused, and those that write wait", "the disk of the store takes writes again"
				if said.of(down1) == 0 || said.of(down1) != said.of(up) {
					t.Errorf("%q was logged %d times, %q %d times", down1, said.of(down1), up, said.of(up))
				}
				l.check(t, open(t, "data", pebblestore.Options{}.Quick().OnFS(mem)), acked, 0, true)
			})
		}
	}
}

// A store closes though its disk does not take writes. What it acknowledged
// is there when it is opened again.
func TestCloseWhileFailing(t *testing.T) {
	for _, file := range []string{".log", ".sst", "MANIFEST", ""} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewCrashableMem()
			disk := &faults{FS: mem, drop: true}
			said := newBook()
			st := open(t, "data", pebblestore.Options{Logger: slog.New(said)}.Quick().OnFS(disk))
			l := start(t, st, 2)
			disk.setBefore(func(op, name string) error {
				if strings.Contains(name, file) {
					return syscall.EIO
				}
				return nil
			})
			eventually(t, "health goes down", func() bool { return st.Stat().Err != nil })
			closed := make(chan error)
			go func() { closed <- st.Close() }()
			select {
			case err := <-closed:
				if !errors.Is(err, session.ErrStore) || !errors.Is(err, syscall.EIO) {
					t.Errorf("Close = %v, want ErrStore and %v", err, syscall.EIO)
				}
				if want := "the data directory data was closed while its disk did not take writes (input/output error): what was not acknowledged may be missing"; err.Error() != want {
					t.Errorf("Close = %q, want %q", err, want)
				}
				if got := said.of("the disk of the store takes writes again"); got > 0 {
					t.Errorf("the log says %d times that the disk takes writes again", got)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("Close does not return")
			}
			l.wait()
			acked, _ := l.snapshot()
			disk.setBefore(nil)
			for _, left := range []vfs.FS{mem, crash(mem, 0, rand.New(rand.NewPCG(1, 2)))} {
				l.check(t, open(t, "data", pebblestore.Options{}.Quick().OnFS(left)), acked, 0, true)
			}
		})
	}
}

// A call that is on its way when the disk begins to fail honours its context.
func TestContextWhileFailing(t *testing.T) {
	disk := &faults{FS: vfs.NewMem()}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
	r, other := sessiontest.Record("a", created), sessiontest.Record("a", created)
	create(t, st, r)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	disk.setBefore(func(op, name string) error { // a sync that hangs
		if op == "sync" && strings.HasSuffix(name, ".log") {
			once.Do(func() { close(entered) })
			<-release
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 4)
	go func() { _, err := st.Create(ctx, other, sessiontest.Frames(0, 1)); errs <- err }()
	go func() { _, err := st.Acquire(ctx, r.Info.ID); errs <- err }()
	go func() { _, err := st.Bind(ctx, "a", "chat", r.Info.ID); errs <- err }()
	<-entered
	go func() { errs <- st.Remove(ctx, r.Info.ID, session.Deleted) }()
	cancel()
	for range 4 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a call whose context is done = %v, want context.Canceled", err)
		}
	}
	close(release)
	disk.setBefore(nil)
	if err := st.Close(); err != nil { // it waits for what is on its way
		t.Error(err)
	}
}

// On a full disk the sessions that live come to their end.
func TestFullDisk(t *testing.T) {
	for _, test := range []struct {
		file string
		full error
	}{
		{".log", syscall.ENOSPC}, {".sst", syscall.ENOSPC},
		{".log", syscall.EDQUOT}, {".sst", syscall.EDQUOT}, {".log", syscall.EFBIG},
	} {
		file, full := test.file, test.full
		t.Run(file+" "+full.Error(), func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewCrashableMem()
			disk := &faults{FS: mem, usage: &vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30}}
			said := newBook()
			st := open(t, "data", pebblestore.Options{Logger: slog.New(said)}.Quick().OnFS(disk))
			l := start(t, st, 2)
			if _, err := mem.Stat("data/tokenrelay.ballast"); err != nil {
				t.Fatalf("the ballast: %v", err)
			}
			disk.setUsage(&vfs.DiskUsage{TotalBytes: 1 << 30})
			disk.setBefore(func(op, name string) error {
				_, err := mem.Stat("data/tokenrelay.ballast")
				if (op == "write" || op == "create") && (strings.HasSuffix(name, "ballast") || err == nil && strings.Contains(name, file)) {
					return full
				}
				return nil
			})
			eventually(t, "the store is full", func() bool { return errors.Is(st.Stat().Err, session.ErrNoSpace) })
			l.wait()
			if _, err := st.Create(t.Context(), sessiontest.Record("a", created), sessiontest.Frames(0, 1)); !errors.Is(err, session.ErrNoSpace) {
				t.Errorf("Create on a full disk = %v, want ErrNoSpace", err)
			}
			acked, _ := l.snapshot()
			errs := st.Append(t.Context(), []session.Batch{
				batch(l.records[0], acked[0], acked[0]+1), ended(l.records[1], acked[1], acked[1]+1), batch(l.records[2], acked[2]+1, acked[2]+2),
			})
			if !errors.Is(errs[0], session.ErrNoSpace) || errs[1] != nil || !errors.Is(errs[2], session.ErrConflict) {
				t.Errorf("Append on a full disk = %v, want ErrNoSpace, nil for the end, ErrConflict", errs)
			}
			if got := holds(t, st, l.records[1].Info.ID); got != acked[1]+1 {
				t.Errorf("the session that ended holds %d frames, want %d", got, acked[1]+1)
			}
			if err := st.Remove(t.Context(), l.records[3].Info.ID, session.Evicted); err != nil {
				t.Errorf("Remove on a full disk = %v", err)
			}
			disk.setBefore(nil)
			if err := st.Append(t.Context(), []session.Batch{batch(l.records[0], acked[0], acked[0]+1)})[0]; !errors.Is(err, session.ErrNoSpace) {
				t.Errorf("Append without a margin = %v, want ErrNoSpace", err)
			}
			disk.setUsage(&vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30})
			eventually(t, "there is room again", func() bool { return st.Stat().Err == nil })
			appendOne(t, st, batch(l.records[0], acked[0], acked[0]+1))
			create(t, st, sessiontest.Record("a", created))
			if _, err := mem.Stat("data/tokenrelay.ballast"); err != nil {
				t.Errorf("the ballast after the disk was full: %v", err)
			}
			if err := st.Close(); err != nil {
				t.Error(err)
			}
			for _, message := range []string{"the disk of the store is full: new sessions are refused, and those that write end", "the store gives up its reserve, so that sessions can still end", "the disk of the store has room again: new sessions are taken"} {
				if got := said.of(message); got != 1 {
					t.Errorf("%q was logged %d times, want once", message, got)
				}
			}
		})
	}
}

// A commit that would not leave enough of the disk is refused before it is
// made, and the ballast is there still.
func TestLargeCommits(t *testing.T) {
	const margin = 16 << 20
	mem := vfs.NewMem()
	disk := &faults{FS: mem, usage: &vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30}}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
	large, held, small, ends := sessiontest.Record("a", created), sessiontest.Record("a", created), sessiontest.Record("a", created), sessiontest.Record("a", created)
	for _, r := range []session.Record{large, held, small, ends} {
		create(t, st, r)
	}
	random := randomSource()
	batches := []session.Batch{batch(large, 1, 50), batch(held, 1, 2), batch(small, 1, 2), ended(ends, 1, 50)}
	batches[0].Frames, batches[3].Frames = randomFrames(random, 1, 50, 100<<10), randomFrames(random, 1, 50, 100<<10)
	batches[1].Checkpoint.Held = string(randomFrames(random, 1, 2, 5<<20))
	text, list := sessiontest.Record("a", created), sessiontest.Record("a", created)
	text.Info.Spec.Source.Text = strings.Repeat("x", 4<<20)
	list.Info.Spec.Metadata["list"] = text.Info.Spec.Source.Text
	for _, r := range []session.Record{text, list} {
		disk.setUsage(&vfs.DiskUsage{AvailBytes: margin + 4<<20, TotalBytes: 1 << 30})
		if _, err := st.Create(t.Context(), r, sessiontest.Frames(0, 1)); !errors.Is(err, session.ErrNoSpace) {
			t.Errorf("Create of a large session = %v, want ErrNoSpace", err)
		}
		disk.setUsage(&vfs.DiskUsage{AvailBytes: margin + 5<<20, TotalBytes: 1 << 30})
		create(t, st, r)
	}
	disk.setUsage(&vfs.DiskUsage{AvailBytes: margin + 4<<20, TotalBytes: 1 << 30})
	for i, err := range st.Append(t.Context(), batches) {
		if want := []error{session.ErrNoSpace, session.ErrNoSpace, nil, nil}[i]; !errors.Is(err, want) {
			t.Errorf("batch %d = %v, want %v", i, err, want)
		}
	}
	if err := st.Stat().Err; err != nil {
		t.Errorf("Stat = %v, want nil: there is room for smaller ones", err)
	}
	disk.setUsage(&vfs.DiskUsage{AvailBytes: margin + 11<<20, TotalBytes: 1 << 30})
	for i, err := range st.Append(t.Context(), batches[:2]) {
		if err != nil {
			t.Errorf("batch %d = %v, want nil: there is room", i, err)
		}
	}
	disk.setUsage(&vfs.DiskUsage{AvailBytes: margin - 1, TotalBytes: 1 << 30})
	b := batch(large, 50, 99)
	b.Frames = randomFrames(random, 50, 99, 100<<10)
	if err := st.Append(t.Context(), []session.Batch{b})[0]; !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("Append without a margin = %v, want ErrNoSpace", err)
	}
	if err := st.Stat().Err; !errors.Is(err, session.ErrNoSpace) {
		t.Errorf("Stat without a margin = %v, want ErrNoSpace", err)
	}
	if _, err := mem.Stat("data/tokenrelay.ballast"); err != nil {
		t.Errorf("the ballast: %v", err)
	}
	disk.setUsage(&vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 1 << 30})
	eventually(t, "there is room again", func() bool { return st.Stat().Err == nil })
	appendOne(t, st, b)
}

// Nothing is shown before it is committed, and nothing is gone before its
// removal is.
func TestNotShownBeforeCommitted(t *testing.T) {
	disk := &faults{FS: vfs.NewMem()}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(disk))
	ctx := t.Context()
	grows, leaves, done, taken, fresh := sessiontest.Record("a", created), sessiontest.Record("a", created), sessiontest.Record("a", created),
		sessiontest.Record("a", created), sessiontest.Record("a", created)
	for _, r := range []session.Record{grows, leaves, done, taken} {
		create(t, st, r)
	}
	for _, r := range []session.Record{leaves, done} {
		appendOne(t, st, ended(r, 1, 5))
	}
	if _, err := st.Bind(ctx, "a", "old", leaves.Info.ID); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	disk.setBefore(func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, ".log") {
			<-release
		}
		return nil
	})
	var calls sync.WaitGroup
	fail := func(what string, err error) {
		if err != nil {
			t.Errorf("%s = %v", what, err)
		}
	}
	calls.Go(func() { fail("Append", st.Append(ctx, []session.Batch{batch(grows, 1, 4)})[0]) })
	calls.Go(func() { fail("Remove", st.Remove(ctx, leaves.Info.ID, session.Deleted)) })
	calls.Go(func() { _, err := st.Acquire(ctx, taken.Info.ID); fail("Acquire", err) })
	calls.Go(func() { _, err := st.Create(ctx, fresh, sessiontest.Frames(0, 1)); fail("Create", err) })
	calls.Go(func() { _, err := st.Bind(ctx, "a", "new", done.Info.ID); fail("Bind", err) })
	eventually(t, "four changes of sessions and two of names are on their way", func() bool { return st.OnTheirWay() == 6 })
	second := make(chan error, 1)
	go func() {
		_, err := st.Bind(ctx, "a", "new", grows.Info.ID)
		second <- err
	}()

	if got := holds(t, st, grows.Info.ID); got != 1 {
		t.Errorf("a session shows %d frames while 2 to 4 are not committed", got)
	}
	if got := holds(t, st, leaves.Info.ID); got != 5 {
		t.Errorf("a session whose removal is not committed shows %d frames, want 5", got)
	}
	if id, err := st.Resolve(ctx, "a", "old"); err != nil || id != leaves.Info.ID {
		t.Errorf("Resolve of a name that is to go = %v, %v; want %v", id, err, leaves.Info.ID)
	}
	if id, err := st.Resolve(ctx, "a", "new"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Resolve of a name that is not committed = %v, %v; want ErrNotFound", id, err)
	}
	if r, err := st.Load(ctx, taken.Info.ID); err != nil || r.Token != 1 {
		t.Errorf("Load = token %d, %v; want 1", r.Token, err)
	}
	if _, err := st.Load(ctx, fresh.Info.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Load of a session that is not committed = %v, want ErrNotFound", err)
	}
	want := map[session.ID]bool{grows.Info.ID: true, leaves.Info.ID: true, done.Info.ID: true, taken.Info.ID: true}
	sees := func(what string, r session.Record) {
		t.Helper()
		if !want[r.Info.ID] || r.Token != 1 || r.Info.ID == grows.Info.ID && r.Last != 1 {
			t.Errorf("%s has %+v", what, r)
		}
	}
	n := 0
	for r, err := range st.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		sees("Records", r)
		n++
	}
	var listed []session.Record
	for at := (session.Cursor{}); ; {
		page, err := st.List(ctx, "a", at, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		sees("List", page[0])
		listed = append(listed, page[0])
		at = session.Cursor{Created: page[0].Info.Created, ID: page[0].Info.ID}
	}
	if n != len(want) || len(listed) != len(want) {
		t.Errorf("Records has %d sessions and List %d, want %d", n, len(listed), len(want))
	}
	select {
	case err := <-second:
		t.Errorf("Bind of a name that is not committed = %v before it is", err)
	default:
	}

	disk.setBefore(nil)
	close(release)
	calls.Wait()
	if err := <-second; !errors.Is(err, session.ErrExists) {
		t.Errorf("second Bind = %v, want ErrExists", err)
	}
	if got := holds(t, st, grows.Info.ID); got != 4 {
		t.Errorf("a session shows %d frames after the commit, want 4", got)
	}
	if _, err := st.Read(ctx, leaves.Info.ID, 0, 1); err == nil {
		t.Error("a removed session is there")
	}
	holds(t, st, fresh.Info.ID)
}

// Damage that is found while reading is an error, and no frames.
func TestCorruptTable(t *testing.T) {
	mem := vfs.NewMem()
	st := open(t, "data", pebblestore.Options{}.OnFS(mem))
	r := sessiontest.Record("a", created)
	create(t, st, r)
	appendOne(t, st, ended(r, 1, 3000))
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := mem.List("data/pebble")
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			data := readAll(t, mem, "data/pebble/"+name)
			for i := range min(len(data)/2, 3000) {
				data[i] ^= 0x55
			}
			writeAll(t, mem, "data/pebble/"+name, data)
		}
	}
	// Opening reads no frames: the damage shows when they are read.
	var said strings.Builder
	st = open(t, "data", pebblestore.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}.OnFS(mem))
	if got, err := st.Read(t.Context(), r.Info.ID, 0, 1<<30); err == nil || len(got) > 0 || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("Read of damaged frames = %d bytes, %v; want an error of their checksum", len(got), err)
	}
	if got, err := st.Load(t.Context(), r.Info.ID); err != nil || got.Last != 3000 {
		t.Errorf("Load = last %d, %v; want 3000: the record is not damaged", got.Last, err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if got := said.String(); !strings.Contains(got, "the store is damaged: the sessions in this file cannot be read") || strings.Contains(got, ".go:") || strings.Contains(got, `\n`) {
		t.Errorf("the log says\n%s\nwant that the store is damaged, in one line without stacks", got)
	} else {
		t.Log(got)
	}
}

// A table that disappears while the store runs is an error for those who need
// it, and not the end of the process.
func TestMissingTable(t *testing.T) {
	disk := &faults{FS: vfs.NewMem()}
	st := open(t, "data", pebblestore.Options{}.OnFS(disk))
	r := sessiontest.Record("a", created)
	create(t, st, r)
	appendOne(t, st, ended(r, 1, 3000))
	disk.setMissing(".sst")
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	_, loadErr := st.Load(t.Context(), r.Info.ID)
	got, readErr := st.Read(t.Context(), r.Info.ID, 0, 1<<30)
	_, listErr := st.List(t.Context(), "a", session.Cursor{}, 10)
	_, acquireErr := st.Acquire(t.Context(), r.Info.ID)
	var recordsErr error
	for _, recordsErr = range st.Records(t.Context()) {
	}
	for name, err := range map[string]error{"Load": loadErr, "Read": readErr, "List": listErr, "Acquire": acquireErr, "Records": recordsErr} {
		if err == nil || errors.Is(err, session.ErrNotFound) || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s without the table = %v, want an error that says so", name, err)
		}
	}
	if len(got) > 0 {
		t.Errorf("Read without the table = %d bytes, want none", len(got))
	}
	disk.setMissing("")
	holds(t, st, r.Info.ID)
}
