package udp

import (
	"net/netip"

	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// admit counts a flow more with its route and its source, and makes room for it. If it may not be, it says which limit
// keeps it out.
func (w *worker) admit(r *route.Route, client netip.Addr) (why stats.Reason, ok bool) {
	if !w.sources.Enter(client) {
		return stats.SourceLimit, false
	}
	gate := &r.Stats.OpenUDP
	if !gate.Enter(r.MaxFlows) && !(w.evict(scope{route: r.Stats}) && gate.Enter(r.MaxFlows)) {
		w.sources.Leave(client)
		return stats.RouteLimit, false
	}
	if w.flows.open >= w.flows.max && !w.evict(scope{}) {
		w.dismiss(r, client)
		return stats.Limit, false
	}
	return 0, true
}

// dismiss undoes admit.
func (w *worker) dismiss(r *route.Route, client netip.Addr) {
	r.Stats.OpenUDP.Leave()
	w.sources.Leave(client)
}
