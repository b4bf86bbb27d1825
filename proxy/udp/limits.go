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

// enter counts a flow more with a gate that all workers share. At the limit it makes room by flows of this worker, of
// which another worker may take one's place first.
func (w *worker) enter(gate *limit.Gate, most int, room scope) bool {
	for !gate.Enter(most) {
		if !w.evict(room) {
			return false
		}
	}
	return true
}

// dismiss undoes admit.
func (w *worker) dismiss(r *route.Route, client netip.Addr) {
	w.shared.flows.Leave()
	r.Stats.OpenUDP.Leave()
	w.sources.Leave(client)
}
