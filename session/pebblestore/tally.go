package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tokenrelay/session"
)

const (
	tallyName = "tokenrelay.commits"
	tallyText = "trc1"
	tallySize = len(tallyText) + 8 + 8 + 4 // bytes
)

// A tally says, beside the database, how many commits it must hold. Pebble
// takes some damage in the middle of its last log for the torn end of one, and
// drops what is behind it without a word; the number of the last commit, which
// each commit writes, and the tally tell that it did.
//
// The tally is never synced, and written only behind what it counts, in place,
// as one sector: so it may be older than the database, and is never newer.
// When it cannot be written, that is all that comes of it. One that is torn or
// damaged is as good as none.
//
// Its file is the text, both numbers and a checksum of these, big endian.
type tally struct {
	fs    vfs.FS // the disk itself, no shield
	path  string
	power bool // whether a commit that is acknowledged is synced

	last atomic.Uint64 // the highest number that is acknowledged

	mu      sync.Mutex // guards the fields below; held while the file is written
	file    vfs.File   // nil if there is none
	durable uint64     // commits up to this one survive the loss of power
	written uint64     // commits up to this one were acknowledged
}

// read takes the numbers from the file. They are 0 if there is none.
func (t *tally) read() {
	t.durable, t.written = 0, 0
	f, err := t.fs.Open(t.path)
	if err != nil {
		return
	}
	defer f.Close()
	var buf [tallySize]byte
	if _, err := io.ReadFull(f, buf[:]); err != nil {
		return
	}
	rest := buf[:tallySize-4]
	if string(rest[:len(tallyText)]) != tallyText || crc32.ChecksumIEEE(rest) != binary.BigEndian.Uint32(buf[len(rest):]) {
		return
	}
	rest = rest[len(tallyText):]
	t.durable, t.written = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
}

// check returns why a database that holds so many commits must not be used.
func (t *tally) check(dir string, holds uint64, logger *slog.Logger) error {
	switch {
	case holds < t.durable:
		return fmt.Errorf("the data directory %s has lost commits that were safe on its disk: it holds %d of %d, the last %d are missing; nothing was changed: restore it from a backup, or remove %s to go on with what is left",
			dir, holds, t.durable, t.durable-holds, t.path)
	case holds < t.written:
		logger.Warn("the last commits before a loss of power are missing, which the durability \"process\" allows",
			"holds", holds, "acknowledged", t.written)
	}
	return nil
}

// begin starts to count behind what the database, which was just opened, holds:
// all that is in tables, and synced.
func (t *tally) begin(holds uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last.Store(holds)
	t.durable = holds
	t.file, _ = t.fs.OpenReadWrite(t.path, vfs.WriteCategoryUnspecified)
	t.write(holds)
}

// acknowledge takes note that the commits up to n are done. At the level
// process that is all: the number only serves to warn, and note writes it.
func (t *tally) acknowledge(n uint64) {
	for {
		last := t.last.Load()
		if n <= last {
			return
		}
		if t.last.CompareAndSwap(last, n) {
			break
		}
	}
	if t.power {
		t.note()
	}
}

// note writes the highest number, if it is not in the file. Whoever finds
// another at it leaves it to that one.
func (t *tally) note() {
	for t.mu.TryLock() {
		n := t.last.Load()
		if n != t.written {
			t.write(n)
		}
		t.mu.Unlock()
		if t.last.Load() == n {
			return
		}
	}
}

// write needs mu.
func (t *tally) write(n uint64) {
	if t.file == nil {
		return
	}
	t.written = n
	if t.power {
		t.durable = n
	}
	var buf [tallySize]byte
	b := append(buf[:0], tallyText...)
	b = binary.BigEndian.AppendUint64(b, t.durable)
	b = binary.BigEndian.AppendUint64(b, t.written)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	t.file.WriteAt(b, 0)
}

func (t *tally) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil {
		t.write(t.last.Load())
		t.file.Close()
		t.file = nil
	}
}

// appendCount makes the value under countKey.
func appendCount(dst []byte, n uint64) []byte {
	return binary.AppendUvarint(append(dst, format), n)
}

// readCount returns the number of the last commit in db, 0 if none was numbered.
func readCount(db *pebble.DB) (uint64, error) {
	value, closer, err := db.Get(countKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	d := newDecoder(value)
	n := d.uvarint()
	if err := d.end(); err != nil {
		return 0, fmt.Errorf("the number of its last commit: %w", err)
	}
	return n, nil
}

// verify looks, without changing anything, whether the database holds all that
// the tally says.
func (st *Store) verify(dir, path string, o Options) error {
	st.tally.read()
	if st.tally.written == 0 {
		return nil
	}
	p := st.options(false, o)
	p.ReadOnly = true
	db, err := pebble.Open(path, p)
	if err != nil {
		return damaged(dir, err)
	}
	holds, err := readCount(db)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	switch {
	case errors.Is(err, errLater):
		return nil // recover says more
	case err != nil:
		return damaged(dir, err)
	}
	return st.tally.check(dir, holds, st.logger)
}

func newTally(under vfs.FS, dir string, level session.Level) tally {
	return tally{fs: under, path: under.PathJoin(dir, tallyName), power: level == session.LevelPower}
}
