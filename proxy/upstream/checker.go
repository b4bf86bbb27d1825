package upstream

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// checksAtOnce bounds how many checks run at the same time, each with a goroutine and a socket. At the default timeout
// of 2 s it lets 128 upstreams that say nothing be checked each second, and those that answer as fast as they do.
const checksAtOnce = 256

// probeFunc makes one check, until ctx is done at the latest.
type probeFunc func(ctx context.Context, key checkKey) error

// checker makes the health checks of all routes, one goroutine that keeps the time and one for each check that runs.
type checker struct {
	probe probeFunc
	wake  chan struct{} // gets a value when there may be something to start

	mu      sync.Mutex // guards the fields below and the checks
	checks  map[checkKey]*check
	queue   checkQueue
	running int
}

func newChecker(probe probeFunc) *checker {
	return &checker{probe: probe, wake: make(chan struct{}, 1), checks: make(map[checkKey]*check)}
}

// run makes checks until ctx is done.
func (c *checker) run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(c.startDue(ctx, &probes))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-c.wake:
		}
	}
}

// startDue starts what is due, as far as there is room, and returns when to look again if nothing happens before.
func (c *checker) startDue(ctx context.Context, probes *sync.WaitGroup) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 && c.running < checksAtOnce {
		if wait := time.Until(c.queue[0].due); wait > 0 {
			return wait
		}
		next := heap.Pop(&c.queue).(*check)
		c.running++
		probes.Go(func() { c.make(ctx, next) })
	}
	return time.Hour
}

// make makes one check and puts it into the queue again.
func (c *checker) make(ctx context.Context, one *check) {
	probing, cancel := context.WithTimeout(ctx, one.key.Timeout)
	defer cancel()
	err := c.probe(probing, one.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.nudge()
	if one.gone || ctx.Err() != nil {
		return
	}
	if one.take(err) {
		for _, m := range one.watchers {
			m.roster.checked(m, one.down, one.cause)
		}
	}
	one.due = one.nextDue()
	heap.Push(&c.queue, one)
}

func (c *checker) nudge() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// want makes the checks those that are wanted, each with the members whose health it is. The results of those that are
// there already count on, also for members that are new to them; members that have no check any more are up.
func (c *checker) want(wanted map[checkKey][]*Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	watched := make(map[*Member]bool)
	for key, members := range wanted {
		one := c.checks[key]
		if one == nil {
			one = &check{key: key}
			one.due = one.firstDue()
			c.checks[key] = one
			heap.Push(&c.queue, one)
		}
		for _, m := range members {
			watched[m] = true
			m.roster.checked(m, one.down, one.cause)
		}
	}
	for key, one := range c.checks {
		for _, m := range one.watchers {
			if !watched[m] {
				m.roster.checked(m, false, "")
			}
		}
		one.watchers = wanted[key]
		if one.watchers == nil {
			c.forget(one)
		}
	}
	c.nudge()
}

func (c *checker) forget(one *check) {
	one.gone = true
	delete(c.checks, one.key)
	if one.place != notQueued {
		heap.Remove(&c.queue, one.place)
	}
}
