package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// commitFloor is the least time from the start of one commit to that of the
// next. A commit that takes longer gathers by itself; without a floor, one that
// does not would be made for every event.
const commitFloor = 500 * time.Microsecond

// A committer hands the batches of all sessions to the store: all that wait,
// in one commit, as soon as the last commit has returned.
type committer struct {
	store Store
	floor time.Duration
	told  func(batches int, took time.Duration)

	began atomic.Int64 // when the append that runs began, in Unix nanoseconds; 0 if none runs

	mu      sync.Mutex // guards waiting
	waiting []*pending
	wake    chan struct{} // holds one if there may be some waiting
}

// A pending is a batch on its way to the store.
type pending struct {
	batch Batch
	done  chan error // buffered
}

func newCommitter(store Store, told func(int, time.Duration)) *committer {
	c := &committer{store: store, floor: commitFloor, told: told, wake: make(chan struct{}, 1)}
	if store.Level() == LevelMemory {
		c.floor = 0 // nothing to gain
	}
	return c
}

// write returns at once. The channel gives the outcome.
func (c *committer) write(b Batch) <-chan error {
	f := &pending{batch: b, done: make(chan error, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, f)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return f.done
}

// waits returns how long the append that runs has been running; 0 if none does.
func (c *committer) waits() time.Duration {
	began := c.began.Load()
	if began == 0 {
		return 0
	}
	return time.Since(time.Unix(0, began))
}

// run commits until stop closes. Nobody may wait for a commit by then.
func (c *committer) run(stop <-chan struct{}) {
	var batches []Batch
	var taken []*pending
	floor := time.NewTimer(c.floor)
	defer floor.Stop()
	for {
		select {
		case <-c.wake:
		case <-stop:
			return
		}
		if c.floor > 0 {
			<-floor.C
			floor.Reset(c.floor)
		}
		c.mu.Lock()
		taken, c.waiting = c.waiting, taken[:0]
		c.mu.Unlock()
		if len(taken) == 0 {
			continue // they went with the commit before
		}
		batches = batches[:0]
		for _, f := range taken {
			batches = append(batches, f.batch)
		}
		began := time.Now()
		c.began.Store(began.UnixNano())
		errs := c.store.Append(context.Background(), batches)
		c.began.Store(0)
		c.told(len(batches), time.Since(began))
		for i, err := range errs {
			taken[i].done <- err
		}
		clear(batches) // lets go of their frames
		clear(taken)
	}
}
