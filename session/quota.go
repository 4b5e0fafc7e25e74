package session

import (
	"sync/atomic"
	"time"
)

// limits are those that a pump keeps.
type limits struct {
	session int64  // bytes of frames
	hold    int    // bytes of deltas
	held    *quota // bytes of deltas, of all sessions
	total   *quota // bytes

	unread     *quota // upstreams that run on unread
	unreadTime time.Duration
	idle       time.Duration
}

// A quota counts the use of something that all sessions share.
type quota struct {
	used    atomic.Int64
	max     int64
	crowded chan struct{} // gets one when ended sessions are to make room
}

func (q *quota) over() bool { return q.used.Load() >= q.max }

func (q *quota) add(n int64) {
	q.used.Add(n)
	if n > 0 && q.above(crowdedAbove) {
		select {
		case q.crowded <- struct{}{}:
		default:
		}
	}
}

// above reports whether more than this part of the quota is used.
func (q *quota) above(part float64) bool { return float64(q.used.Load()) > part*float64(q.max) }

// take adds n if that stays within the quota.
func (q *quota) take(n int64) bool {
	if q.used.Add(n) > q.max {
		q.used.Add(-n)
		return false
	}
	return true
}
