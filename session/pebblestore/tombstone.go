package pebblestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"tokenrelay/session"
)

// maxTombstones bounds how many removed sessions are remembered.
const maxTombstones = 100_000

// tombstones are those that there are: their numbers run from first to next,
// and each new one beyond most drops the first.
type tombstones struct {
	first, next, most uint64
}

// recover reads the numbers from the database.
func (t *tombstones) recover(db *pebble.DB) error {
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixOrder}, UpperBound: []byte{prefixOrder + 1}})
	if err != nil {
		return err
	}
	defer iter.Close()
	if iter.First() {
		var ok1, ok2 bool
		t.first, ok1 = parseOrderKey(iter.Key())
		iter.Last()
		t.next, ok2 = parseOrderKey(iter.Key())
		if !ok1 || !ok2 {
			return fmt.Errorf("%w: the order of its tombstones", errCorrupt)
		}
		t.next++
	}
	return iter.Error()
}

// put adds a tombstone to b, and the end of the oldest if there are too many.
func (t *tombstones) put(db *pebble.DB, b *pebble.Batch, id session.ID, gone *session.GoneError) error {
	first := t.first
	for ; t.next-first >= t.most; first++ {
		key := appendOrderKey(nil, first)
		value, closer, err := db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		b.Delete(key, nil)
		b.Delete(append([]byte{prefixTombstone}, value...), nil)
		closer.Close()
	}
	b.Set(appendIDKey(nil, prefixTombstone, id), appendTombstone(nil, gone), nil)
	b.Set(appendOrderKey(nil, t.next), id[:], nil)
	t.first = first
	t.next++
	return nil
}
