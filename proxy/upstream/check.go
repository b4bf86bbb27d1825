package upstream

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"time"

	"anyport/conf"
)

// checkKey is a check that one or more routes want. Those that want the same share it.
type checkKey struct {
	conf.HealthCheck
	target netip.AddrPort
	source netip.Addr // to send from; invalid: the one that routing chooses
}

// check is a health check of one address and port.
type check struct {
	key      checkKey
	watchers []*Member // whose health it is
	due      time.Time
	place    int // in the queue; notQueued while it runs
	gone     bool
	known    bool // there has been a result
	down     bool
	row      int    // results in a row that say something else than down does
	cause    string // of the last failure
}

const notQueued = -1

// take takes a result, nil for a success, and reports whether down has changed. The first one counts at once.
func (c *check) take(err error) (changed bool) {
	failed, needed := err != nil, c.key.Rise
	if failed {
		c.cause, needed = "health check: "+err.Error(), c.key.Fall
	}
	first := !c.known
	c.known = true
	if failed == c.down {
		c.row = 0
		return false
	}
	if c.row++; c.row < needed && !first {
		return false
	}
	c.down, c.row = failed, 0
	return true
}

// firstCheckWithin is how long the first check of an upstream takes to begin, at random, so that a start does not check
// thousands in one moment and still knows soon.
const firstCheckWithin = time.Second

func (c *check) firstDue() time.Time {
	return time.Now().Add(rand.N(min(c.key.Interval, firstCheckWithin)))
}

// nextDue is the interval from now, give or take a tenth, so that checks which began together do not stay so.
func (c *check) nextDue() time.Time {
	return time.Now().Add(c.key.Interval*9/10 + rand.N(c.key.Interval/5))
}

// checkQueue is a heap of checks, the one that is due first on top (container/heap).
type checkQueue []*check

func (q checkQueue) Len() int           { return len(q) }
func (q checkQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q checkQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *checkQueue) Push(x any) {
	c := x.(*check)
	c.place = len(*q)
	*q = append(*q, c)
}

// Pop implements heap.Interface.
func (q *checkQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last], *q = nil, (*q)[:last]
	c.place = notQueued
	return c
}

var _ heap.Interface = (*checkQueue)(nil)
