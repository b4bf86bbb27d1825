package udp

import (
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// FollowRoutes makes open flows follow a change of routes, given by name: those of a route that has gone end, as
// RouteRemoved, and those of a route that does not want them offloaded any more go on through the engine.
func (e *Engine) FollowRoutes(current map[string]*route.Route) {
	w := e.w
	w.mu.Lock()
	for i := range w.flows.targets.list {
		if t := &w.flows.targets.list[i]; t.flows > 0 {
			t.follow(current[t.key.route.Name])
		}
	}
	w.mu.Unlock()
	e.inBatches(w.followTargets)
}

// inBatches calls visit with the worker's lock held for all places of flows, sweepBatch of them at a time. Datagrams pass
// in between.
func (e *Engine) inBatches(visit func(first, end flowID)) {
	for first, n := 0, 1; first < n; first += sweepBatch {
		e.w.mu.Lock()
		n = len(e.w.flows.flows)
		visit(flowID(first), flowID(min(first+sweepBatch, n)))
		e.w.mu.Unlock()
	}
}

func (t *target) follow(r *route.Route) {
	t.removed, t.offloadAfter = r == nil, 0
	if r != nil {
		t.offloadAfter = offloadAfter(r)
	}
}

func (w *worker) followTargets(first, end flowID) {
	for id := first; id < end; id++ {
		f := &w.flows.flows[id]
		if !f.state.isOpen() {
			continue
		}
		t := &w.flows.targets.list[f.target]
		switch {
		case t.removed:
			w.endFlow(id, stats.RouteRemoved)
		case t.offloadAfter == 0:
			w.withdraw(id)
		}
	}
}
