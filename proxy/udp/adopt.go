package udp

import (
	"slices"

	"anyport/proxy/offload"
	"anyport/proxy/route"
)

// Leftover is flows that a process before this one has left with an Offloader. [offload.Table] is one.
type Leftover interface {
	// Adopt calls keep for each, and ends those that it returns false for.
	Adopt(keep func(slot uint32, f *offload.Flow) bool)
}

// Adopt takes flows over that the engine's Offloader has, which UseOffloader has named: those of current's routes, by
// name, whose upstream is still one of the route's and whose NAT port is one of ours and free. It returns how many it has
// taken, and how many not.
func (e *Engine) Adopt(left Leftover, current map[string]*route.Route) (kept, refused int) {
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	left.Adopt(func(slot uint32, f *offload.Flow) bool {
		if r := current[f.Route]; r == nil || offloadAfter(r) == 0 || !w.adopt(slot, f, r) {
			refused++
			return false
		}
		kept++
		return true
	})
	for _, b := range w.flows.blocks {
		b.free = slices.DeleteFunc(b.free, func(offset uint16) bool {
			return w.flows.flows[b.base+flowID(offset)].state != unused
		})
	}
	return kept, refused
}

// adopt makes a flow of f, and reports whether it could. The free ports of blocks are the caller's to put right.
func (w *worker) adopt(slot uint32, f *offload.Flow, r *route.Route) bool {
	key := flowKey{f.Client, f.Original}
	id := w.flows.place(&f.NAT)
	owner := slices.IndexFunc(w.flows.blocks, func(b *natBlock) bool { return b.owns(id) })
	if owner < 0 || w.flows.flows[id].state != unused || w.flows.find(&key) != noFlow {
		return false
	}
	client := key.client.AddrPort().Addr()
	if _, ok := w.admit(r, client); !ok {
		return false
	}
	e := r.Upstreams.Claim(f.Upstream.AddrPort(), f.Original.Port)
	if e == nil {
		w.dismiss(r, client)
		return false
	}
	w.insertFlow(id, w.flows.blocks[owner], r, e, flow{key: key, introduced: true, start: w.sinceStart - f.Age, seen: w.now})
	w.flows.slots[id] = slot + 1
	for i, n := range (flowTotals{packetsIn: f.PacketsIn, bytesIn: f.BytesIn, packetsOut: f.PacketsOut, bytesOut: f.BytesOut}) {
		w.flows.count(id, i, n)
	}
	if f.PacketsOut > 0 {
		w.flows.fromUpstream(id, w.now)
	}
	return true
}
