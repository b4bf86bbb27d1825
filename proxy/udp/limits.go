package udp

import (
	"net/netip"

	"anyport/proxy/limit"
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// admit counts a flow more with its source, its route and all, and makes room for it. If it may not be, it says which
// limit keeps it out.
func (w *worker) admit(r *route.Route, client netip.Addr) (why stats.Reason, ok bool) {
	if !w.sources.Enter(client) {
		return stats.SourceLimit, false
	}
	if !w.enter(&r.Stats.OpenUDP, r.MaxFlows, scope{route: r.Stats}) {
		w.sources.Leave(client)
		return stats.RouteLimit, false
	}
	if !w.enter(&w.shared.flows, w.flows.max, scope{}) {
		r.Stats.OpenUDP.Leave()
		w.sources.Leave(client)
		return stats.Limit, false
	}
	return 0, true
}

// enter counts a flow more with a gate that all workers share. At the limit another flow makes room: its place is taken
// before it ends, so that no other worker gets it. Where the limit has been lowered, places are not filled again.
func (w *worker) enter(gate *limit.Gate, most int, room scope) bool {
	if gate.Enter(most) {
		return true
	}
	gate.Enter(0)
	workers := w.shared.all()
	if (w.evict(room) || w.evictElsewhere(workers, room)) && gate.Open() < most+len(workers) {
		return true
	}
	gate.Leave()
	return false
}

// evictElsewhere has another worker end a flow, one that is not busy just now: who waited for each other would wait for
// ever. It reports whether one has.
func (w *worker) evictElsewhere(workers []*worker, of scope) bool {
	for _, other := range workers {
		if other == w || !other.mu.TryLock() {
			continue
		}
		other.readClock()
		done := other.evict(of)
		other.mu.Unlock()
		if done {
			return true
		}
	}
	return false
}

// dismiss undoes admit.
func (w *worker) dismiss(r *route.Route, client netip.Addr) {
	w.shared.flows.Leave()
	r.Stats.OpenUDP.Leave()
	w.sources.Leave(client)
}
