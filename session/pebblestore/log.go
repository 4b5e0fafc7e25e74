package pebblestore

import (
	"context"
	"log/slog"
	"sync"
)

// logQueue is how many log records may wait to be written.
const logQueue = 256

// A queue is a handler that never waits for where the log goes: run writes what
// it takes, and what finds it full is lost. So this package and Pebble may log
// with their locks held.
type queue struct {
	slog.Handler
	*writer
}

type writer struct {
	queued  chan queued
	stop    chan struct{} // closed by close
	running sync.WaitGroup
}

type queued struct {
	slog.Handler
	slog.Record
}

// newQueue returns a queue to h, which is to be closed.
func newQueue(h slog.Handler) queue {
	w := &writer{queued: make(chan queued, logQueue), stop: make(chan struct{})}
	w.running.Go(w.run)
	return queue{h, w}
}

func (q queue) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.queued <- queued{q.Handler, r.Clone()}:
	default:
	}
	return nil
}

func (q queue) WithAttrs(attrs []slog.Attr) slog.Handler {
	return queue{q.Handler.WithAttrs(attrs), q.writer}
}

func (q queue) WithGroup(name string) slog.Handler {
	return queue{q.Handler.WithGroup(name), q.writer}
}

func (w *writer) run() {
	for {
		select {
		case r := <-w.queued:
			r.Handle(context.Background(), r.Record)
		case <-w.stop:
			for {
				select {
				case r := <-w.queued:
					r.Handle(context.Background(), r.Record)
				default:
					return
				}
			}
		}
	}
}

// close writes what waits. What comes later is lost.
func (w *writer) close() {
	close(w.stop)
	w.running.Wait()
}
