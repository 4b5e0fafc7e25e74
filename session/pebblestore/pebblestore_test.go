package pebblestore_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
	"tokenrelay/session/pebblestore"
	"tokenrelay/session/sessiontest"
)

var (
	levels  = []session.Level{session.LevelPower, session.LevelProcess}
	created = time.UnixMilli(1_767_323_045_006).UTC()
)

func open(t testing.TB, dir string, o pebblestore.Options) *pebblestore.Store {
	t.Helper()
	st, err := pebblestore.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func TestStore(t *testing.T) {
	for _, level := range levels {
		t.Run(string(level), func(t *testing.T) {
			t.Run("memory", func(t *testing.T) {
				sessiontest.TestStore(t, func(t *testing.T) session.Store {
					return open(t, "data", pebblestore.Options{Level: level}.OnFS(vfs.NewMem()))
				})
			})
			t.Run("disk", func(t *testing.T) {
				sessiontest.TestStore(t, func(t *testing.T) session.Store {
					return open(t, t.TempDir(), pebblestore.Options{Level: level})
				})
			})
		})
	}
}

func TestDurable(t *testing.T) {
	for _, level := range levels {
		for name, flush := range map[string]bool{"from the log": false, "from tables": true} {
			t.Run(fmt.Sprint(level, " ", name), func(t *testing.T) {
				sessiontest.TestDurable(t, func(t *testing.T) func() session.Store {
					dir := t.TempDir()
					var st *pebblestore.Store
					return func() session.Store {
						if st != nil {
							if flush {
								if err := st.Flush(); err != nil {
									t.Fatal(err)
								}
							}
							if err := st.Close(); err != nil {
								t.Fatal(err)
							}
						}
						st = open(t, dir, pebblestore.Options{Level: level})
						return st
					}
				})
			})
		}
	}
}

func create(t testing.TB, st session.Store, r session.Record) session.Token {
	t.Helper()
	token, err := st.Create(t.Context(), r, sessiontest.Frames(0, 1))
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	return token
}

// batch is one whose checkpoint tells its last frame.
func batch(r session.Record, after, last session.FrameID) session.Batch {
	return session.Batch{
		ID: r.Info.ID, Token: 1, After: after, Last: last, Frames: sessiontest.Frames(after, last),
		State: session.Running, Checkpoint: session.Checkpoint{Position: int64(last)},
	}
}

// ended is batch for one that ends its session.
func ended(r session.Record, after, last session.FrameID) session.Batch {
	b := batch(r, after, last)
	b.State = session.Done
	return b
}

func appendOne(t testing.TB, st session.Store, b session.Batch) {
	t.Helper()
	if err := st.Append(t.Context(), []session.Batch{b})[0]; err != nil {
		t.Fatalf("Append = %v", err)
	}
}

// holds returns the last frame of a session after looking that its frames are
// those of the tests, dense, and in step with its checkpoint.
func holds(t testing.TB, st session.Store, id session.ID) session.FrameID {
	t.Helper()
	r, err := st.Load(t.Context(), id)
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	got, err := st.Read(t.Context(), id, 0, 1<<30)
	if want := sessiontest.Frames(0, r.Last); err != nil || string(got) != string(want) {
		t.Fatalf("Read = %d bytes, %v; want the %d bytes of frames 1 to %d", len(got), err, len(want), r.Last)
	}
	if r.Bytes != int64(len(got)) || r.Last > 1 && r.Checkpoint.Position != int64(r.Last) {
		t.Fatalf("%d frames of %d bytes come with the record %+v", r.Last, len(got), r)
	}
	return r.Last
}

func TestTombstones(t *testing.T) {
	sessiontest.TestTombstones(t, 3, func(t *testing.T, most int) session.Store {
		return open(t, "data", pebblestore.Options{}.Quick().OnFS(vfs.NewMem()).WithTombstones(uint64(most)))
	})
}

// The order of tombstones survives.
func TestTombstonesAreBounded(t *testing.T) {
	fs := vfs.NewMem()
	o := pebblestore.Options{}.Quick().OnFS(fs).WithTombstones(5)
	var ids []session.ID
	for i := range 12 {
		st := open(t, "data", o)
		r := sessiontest.Record("a", created)
		create(t, st, r)
		if err := st.Remove(t.Context(), r.Info.ID, session.Expired); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Info.ID)
		for j, id := range ids {
			_, err := st.Load(t.Context(), id)
			_, gone := errors.AsType[*session.GoneError](err)
			if want := i-j < 5; gone != want || !gone && !errors.Is(err, session.ErrNotFound) {
				t.Errorf("after %d removals, Load of the %dth = %v; want gone: %v", i+1, j+1, err, want)
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Sessions that ended or went are not kept in memory.
func TestMemoryIsBoundedByLiveSessions(t *testing.T) {
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(vfs.NewMem()))
	var last session.Record
	for i := range 30 {
		last = sessiontest.Record("a", created)
		create(t, st, last)
		switch i % 3 {
		case 0:
			appendOne(t, st, ended(last, 1, 2))
			if _, err := st.Acquire(t.Context(), last.Info.ID); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := st.Remove(t.Context(), last.Info.ID, session.Deleted); err != nil {
				t.Fatal(err)
			}
		}
	}
	st.Append(t.Context(), []session.Batch{batch(sessiontest.Record("a", created), 1, 2)})
	if got, want := st.Live(), 10; got != want {
		t.Errorf("sessions in memory = %d, want %d", got, want)
	}
}

func TestOptions(t *testing.T) {
	for _, level := range []session.Level{session.LevelMemory, "lunch"} {
		if st, err := pebblestore.Open(t.Context(), filepath.Join(t.TempDir(), "data"), pebblestore.Options{Level: level}); err == nil {
			st.Close()
			t.Errorf("Open at level %q succeeds", level)
		}
	}
	if got := open(t, t.TempDir(), pebblestore.Options{}).Level(); got != session.LevelPower {
		t.Errorf("the default level = %q, want power", got)
	}
}

func TestClosed(t *testing.T) {
	st := open(t, t.TempDir(), pebblestore.Options{})
	r := sessiontest.Record("a", created)
	create(t, st, r)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, id := t.Context(), r.Info.ID
	_, createErr := st.Create(ctx, sessiontest.Record("a", created), sessiontest.Frames(0, 1))
	_, acquireErr := st.Acquire(ctx, id)
	_, loadErr := st.Load(ctx, id)
	_, readErr := st.Read(ctx, id, 0, 1)
	_, listErr := st.List(ctx, "a", session.Cursor{}, 1)
	_, bindErr := st.Bind(ctx, "a", "n", id)
	_, resolveErr := st.Resolve(ctx, "a", "n")
	var recordsErr error
	for _, recordsErr = range st.Records(ctx) {
	}
	for name, err := range map[string]error{
		"Create": createErr, "Acquire": acquireErr, "Load": loadErr, "Read": readErr, "List": listErr,
		"Bind": bindErr, "Resolve": resolveErr, "Records": recordsErr, "Close": st.Close(),
		"Append": st.Append(ctx, []session.Batch{batch(r, 1, 2)})[0], "Remove": st.Remove(ctx, id, session.Expired),
	} {
		if !errors.Is(err, session.ErrStore) {
			t.Errorf("%s of a closed store = %v, want ErrStore", name, err)
		}
	}
}

// files returns what stands below dir, by path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func match(t *testing.T, dir, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "pebble", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	return paths[len(paths)-1]
}

// A directory that cannot be used is refused, and stays as it is.
func TestRefusedDirectories(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string // in the error
	}{
		"foreign": {func(t *testing.T, dir string) {
			os.RemoveAll(dir)
			os.MkdirAll(filepath.Join(dir, "photos"), 0o755)
			os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o644)
		}, "not empty"},
		"without its marker": {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "tokenrelay.format")) }, "not empty"},
		"newer": {func(t *testing.T, dir string) {
			os.WriteFile(filepath.Join(dir, "tokenrelay.format"), []byte("tokenrelay data directory, format 2\n"), 0o600)
		}, "format 2"},
		"damaged marker": {func(t *testing.T, dir string) {
			os.WriteFile(filepath.Join(dir, "tokenrelay.format"), []byte("\x00\x00"), 0o600)
		}, "damaged"},
		"no database":      {func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "pebble")) }, "restore"},
		"no manifest":      {func(t *testing.T, dir string) { os.Remove(match(t, dir, "MANIFEST-*")) }, "restore"},
		"no pebble marker": {func(t *testing.T, dir string) { os.Remove(match(t, dir, "marker.manifest.*")) }, "restore"},
		"empty manifest":   {func(t *testing.T, dir string) { os.Truncate(match(t, dir, "MANIFEST-*"), 0) }, "restore"},
		"damaged manifest": {func(t *testing.T, dir string) {
			path := match(t, dir, "MANIFEST-*")
			data, _ := os.ReadFile(path)
			data[20] ^= 0xff
			os.WriteFile(path, data, 0o600)
		}, "restore"},
		"no table":  {func(t *testing.T, dir string) { os.Remove(match(t, dir, "*.sst")) }, "restore"},
		"cut table": {func(t *testing.T, dir string) { os.Truncate(match(t, dir, "*.sst"), 100) }, "restore"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			st := open(t, dir, pebblestore.Options{})
			r := sessiontest.Record("a", created)
			create(t, st, r)
			appendOne(t, st, batch(r, 1, 9))
			if err := st.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			test.spoil(t, dir)
			before := files(t, dir)
			st, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{})
			if err == nil {
				st.Close()
				t.Fatal("Open succeeds")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Open = %v; want an error with %q and the directory", err, test.want)
			}
			t.Log(err)
			after := files(t, dir)
			for path, data := range before {
				if got, ok := after[path]; !ok || got != data {
					t.Errorf("%s was changed or removed", filepath.Base(path))
				}
			}
		})
	}
}

// A store that a later version has opened is refused, whatever it holds.
func TestLaterFormat(t *testing.T) {
	dir := t.TempDir()
	st := open(t, dir, pebblestore.Options{})
	create(t, st, sessiontest.Record("a", created))
	if err := st.RaiseFormat(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if st, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{}); err == nil {
			st.Close()
			t.Error("Open of a store with newer values succeeds")
		} else if !strings.Contains(err.Error(), "later version") || strings.Contains(err.Error(), "damaged") {
			t.Errorf("Open = %v; want that a later version wrote it", err)
		}
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	st := open(t, dir, pebblestore.Options{})
	for range 2 {
		_, err := pebblestore.Open(t.Context(), dir, pebblestore.Options{})
		if !errors.Is(err, pebblestore.ErrLocked) || !strings.Contains(err.Error(), dir) {
			t.Errorf("second Open = %v, want ErrLocked with the directory", err)
		}
	}
	r := sessiontest.Record("a", created)
	create(t, st, r)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, open(t, dir, pebblestore.Options{}), r.Info.ID)
}

func TestNewDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	open(t, dir, pebblestore.Options{})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("Stat = %v, %v; want mode 0700", info, err)
	}
}

// A crash after any step of the first opening leaves what the next one takes.
func TestCrashWhileCreating(t *testing.T) {
	var clones []*vfs.MemFS
	disk := vfs.NewCrashableMem()
	random := rand.New(rand.NewPCG(1, 2))
	stepping := &faults{FS: disk}
	stepping.before = func(op, name string) error {
		if op != "write" || !strings.HasSuffix(name, "ballast") {
			for _, percent := range []int{0, 50, 100} {
				clones = append(clones, crash(disk, percent, random))
			}
		}
		return nil
	}
	st := open(t, "data", pebblestore.Options{}.Quick().OnFS(stepping))
	r := sessiontest.Record("a", created)
	stepping.setBefore(nil)
	create(t, st, r)
	if len(clones) < 50 {
		t.Fatalf("saw %d moments, want at least 50", len(clones))
	}
	for i, clone := range clones {
		st, err := pebblestore.Open(t.Context(), "data", pebblestore.Options{}.Quick().OnFS(clone))
		if err != nil {
			t.Errorf("Open after a crash at moment %d = %v", i, err)
			continue
		}
		create(t, st, r)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readAll(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeAll(t *testing.T, fs vfs.FS, path string, data []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(slices.Clone(data)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
