package udp

import "anyport/proxy/stats"

// FollowUpstreams makes open flows follow a change of upstreams: those to one that is closing end, as UpstreamRemoved, and
// those to one that is out, as UpstreamDown, so that the client's next datagram opens a flow to another. As long as every
// upstream of a route is out, its flows stay where they are.
func (e *Engine) FollowUpstreams() {
	w := e.w
	w.mu.Lock()
	for i := range w.flows.targets.list {
		if t := &w.flows.targets.list[i]; t.flows > 0 {
			t.look()
		}
	}
	w.mu.Unlock()
	e.inBatches(w.leaveLost)
}

// look sees how the target's upstream does.
func (t *target) look() {
	member := t.key.member
	t.closing = member.IsClosing()
	t.out = member.IsOut() && t.key.route.Upstreams.AnyIn()
}

func (w *worker) leaveLost(first, end flowID) {
	for id := first; id < end; id++ {
		f := &w.flows.flows[id]
		if !f.state.isOpen() {
			continue
		}
		switch t := &w.flows.targets.list[f.target]; {
		case t.closing:
			w.endFlow(id, stats.UpstreamRemoved)
		case t.out:
			w.endFlow(id, stats.UpstreamDown)
		}
	}
}
