package udp

import (
	"anyport/conf"
	"anyport/proxy/offload"
	"anyport/proxy/route"
)

// Offloader forwards flows in the engine's place, as [offload.Table] has the kernel do. Its methods must be quick, and
// safe for concurrent use.
type Offloader interface {
	// Offer takes a flow over. The slot that it returns stands for the flow until Withdraw. It returns false where it
	// cannot.
	Offer(f *offload.Flow) (slot uint32, ok bool)
	// Count adds what of the flow has come to the engine all the same, and so keeps it from being idle.
	Count(slot uint32, u offload.Usage)
	// Usage returns all that the flow has carried, what it was offered with and what was counted included.
	Usage(slot uint32) offload.Usage
	// Withdraw gives the flow back. It returns what Usage would.
	Withdraw(slot uint32) offload.Usage
}

// UseOffloader gives established flows to o from now on, those of the routes that want it.
func (e *Engine) UseOffloader(o Offloader) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.offloader = o
	e.w.flows.slots = make([]uint32, len(e.w.flows.flows))
}

// slot returns the slot that a flow has been given in the engine's Offloader, and false if the engine forwards it.
func (t *flowTable) slot(id flowID) (uint32, bool) {
	if t.slots == nil || t.slots[id] == 0 {
		return 0, false
	}
	return t.slots[id] - 1, true
}

// passed notes that datagrams of a flow pass through the engine. From the route's number of them on it offers the flow.
func (w *worker) passed(id flowID, u offload.Usage) {
	if w.offloader == nil {
		return
	}
	if slot, ok := w.flows.slot(id); ok {
		w.offloader.Count(slot, u)
		return
	}
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	after := f.counters[packetsIn] + f.counters[packetsOut]
	before := after - uint32(u.PacketsIn+u.PacketsOut)
	if t.offloadAfter > 0 && offerDue(before, after, uint32(t.offloadAfter)) {
		w.offer(id)
	}
}

// offerEvery is after how many datagrams a flow that was not taken is offered again. A power of two.
const offerEvery = 64

// offerDue reports whether a flow is to be offered as its count of datagrams goes from before to after: when it reaches
// first, and then every offerEvery.
func offerDue(before, after, first uint32) bool {
	return after >= first && (before < first || before/offerEvery != after/offerEvery)
}

func (w *worker) offer(id flowID) {
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	all := w.flows.totals(id)
	slot, ok := w.offloader.Offer(&offload.Flow{
		Client:   f.key.client,
		Original: f.key.dst,
		NAT:      w.natOf(id),
		Upstream: w.upstreamOf(id),
		Route:    t.key.route.Name,
		Idle:     t.key.route.UDPIdle,
		Age:      w.sinceStart - f.start,

		MaxDatagram: t.key.route.MaxDatagram,
		Usage: offload.Usage{PacketsIn: all[packetsIn], BytesIn: all[bytesIn], PacketsOut: all[packetsOut],
			BytesOut: all[bytesOut]},
	})
	if ok {
		w.flows.slots[id] = slot + 1
	}
}

// withdraw takes a flow back that was given away.
func (w *worker) withdraw(id flowID) {
	if slot, ok := w.flows.slot(id); ok {
		w.absorb(id, w.offloader.Withdraw(slot))
		w.flows.slots[id] = 0
	}
}

// offloadAfter returns from how many datagrams on a route's flows are offered, 0 for never. Only the engine writes the
// headers that go before every datagram.
func offloadAfter(r *route.Route) int {
	if r.ProxyProtocol == conf.ProxyNone || r.ProxyProtocol == conf.ProxyV2First {
		return r.OffloadAfter
	}
	return 0
}
