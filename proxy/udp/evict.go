package udp

import (
	"time"

	"anyport/proxy/stats"
)

// How long a flow must have been idle before it may make room for a new one. A client with a forged address does not
// see an answer and seldom speaks again, so a flood of forged ones evicts its own flows first, and established ones
// only after they have been silent for long.
const (
	evictFresh       = 1 * time.Second
	evictEstablished = 10 * time.Second
)

var (
	evictFreshTicks       = ticksIn(evictFresh)
	evictEstablishedTicks = ticksIn(evictEstablished)
)

// scope is which flows may make room; the zero value is all.
type scope struct {
	block *natBlock    // those of this one; nil: of any
	route *stats.Route // those of this one, which has a limit of its own; nil: of any
}

func (s scope) contains(c *idleClass) bool {
	return (s.block == nil || s.block == c.block) && (s.route == nil || s.route == c.route)
}

// evictable returns the flow that should make room: the one that has been idle longest among those not established, or
// else among the established, if that was long enough. It returns noFlow if there is none.
func (t *flowTable) evictable(of scope, now tick) flowID {
	oldestFresh, freshAge := noFlow, evictFreshTicks
	oldest, age := noFlow, evictEstablishedTicks
	for _, c := range t.classes {
		if of.contains(c) {
			oldestFresh, freshAge = t.older(c.fresh.head, oldestFresh, freshAge, now)
			oldest, age = t.older(c.established.head, oldest, age, now)
		}
	}
	if oldestFresh != noFlow {
		return oldestFresh
	}
	return oldest
}

// older returns the flow id and its idle time if that is age or more, and otherwise what it was given.
func (t *flowTable) older(id, oldest flowID, age, now tick) (flowID, tick) {
	if id != noFlow && now-t.flows[id].seen >= age {
		return id, now - t.flows[id].seen
	}
	return oldest, age
}

// evict ends a flow, so that there is room for another. It reports whether one could be ended.
func (w *worker) evict(of scope) bool {
	if w.keepFlows {
		return false
	}
	for range evictTries {
		id := w.flows.evictable(of, w.now)
		if id == noFlow {
			return false
		}
		if !w.catchUp(id) {
			w.endFlow(id, stats.Evicted)
			return true
		}
	}
	return false
}

// evictTries bounds how many flows that only look idle, because they are forwarded elsewhere, evict passes over.
const evictTries = 16
