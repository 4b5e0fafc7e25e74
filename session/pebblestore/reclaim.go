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

// A hole is a range of frames keys in which sessions were removed.
type hole struct {
	low, high []byte
	bytes     int64 // of frames that were removed
}

// join makes h the range of both.
func (h *hole) join(other hole) {
	if h.low == nil || bytes.Compare(other.low, h.low) < 0 {
		h.low = other.low
	}
	if bytes.Compare(other.high, h.high) > 0 {
		h.high = other.high
	}
	h.bytes += other.bytes
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
		h := st.hole
		st.mu.Unlock()
		if h.bytes < reclaimAtLeast || st.shield.err() != nil {
			continue
		}
		used, err := st.db.EstimateDiskUsage(h.low, h.high)
		if err != nil || uint64(h.bytes)*reclaimWorth < used {
			continue
		}
		st.mu.Lock()
		h, st.hole = st.hole, hole{}
		st.mu.Unlock()
		began := time.Now()
		if err := st.db.Compact(ctx, h.low, h.high, false); err != nil {
			st.mu.Lock()
			st.hole.join(h)
			st.mu.Unlock()
		}
		wait = max(every, reclaimPart*time.Since(began))
	}
}
