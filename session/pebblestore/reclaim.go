package pebblestore

import (
	"bytes"
	"context"
	"time"
)

// Pebble drops a table by itself when one removal covers it, and compacts
// others when it comes to them. Sessions are smaller than tables; so the store
// has the range compacted in which many were removed.
const (
	// reclaimAtLeast is how much must have been removed, in bytes of frames.
	reclaimAtLeast = 4 << 20
	// reclaimWorth bounds what a compaction writes again: it must remove a
	// reclaimWorth-th of its range.
	reclaimWorth = 4
	// reclaimEvery is how many looks at the disk pass between two compactions
	// at least. They take at most a reclaimPart-th of the time.
	reclaimEvery = 5
	reclaimPart  = 4
)

// A removedSpan is a range of frames keys in which sessions were removed.
type removedSpan struct {
	low, high []byte
	bytes     int64 // of frames that were removed
}

// join makes r the range of both.
func (r *removedSpan) join(other removedSpan) {
	if r.low == nil || bytes.Compare(other.low, r.low) < 0 {
		r.low = other.low
	}
	if bytes.Compare(other.high, r.high) > 0 {
		r.high = other.high
	}
	r.bytes += other.bytes
}

// reclaim gives the room of removed sessions back until ctx is done.
func (st *Store) reclaim(ctx context.Context) {
	every := reclaimEvery * st.watch
	wait := every
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = every
		st.mu.Lock()
		span := st.removed
		st.mu.Unlock()
		if span.bytes < reclaimAtLeast || st.shield.down() != nil {
			continue
		}
		used, err := st.db.EstimateDiskUsage(span.low, span.high)
		if err != nil || uint64(span.bytes)*reclaimWorth < used {
			continue
		}
		st.mu.Lock()
		span, st.removed = st.removed, removedSpan{}
		st.mu.Unlock()
		began := time.Now()
		if err := st.db.Compact(ctx, span.low, span.high, false); err != nil {
			st.mu.Lock()
			st.removed.join(span)
			st.mu.Unlock()
		}
		wait = max(every, reclaimPart*time.Since(began))
	}
}
