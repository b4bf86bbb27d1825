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

// Adopt has the engines of a proxy take flows over that their Offloader has, which UseOffloader has named: those of
// current's routes, by name, whose upstream is still one of the route's and whose NAT port is one of an engine's and free.
// It returns how many were taken, and how many not.
func Adopt(engines []*Engine, left Leftover, current map[string]*route.Route) (kept, refused int) {
	for _, e := range engines {
		e.w.mu.Lock()
		defer e.w.mu.Unlock()
	}
	left.Adopt(func(slot uint32, f *offload.Flow) bool {
		r := current[f.Route]
		adopts := func(e *Engine) bool { return e.w.adopt(slot, f, r) }
		if r == nil || offloadAfter(r) == 0 || !slices.ContainsFunc(engines, adopts) {
			refused++
			return false
		}
		kept++
		return true
	})
	for _, e := range engines {
		e.w.takeAdoptedPorts()
	}
	return kept, refused
}

// takeAdoptedPorts puts the free ports right.
func (w *worker) takeAdoptedPorts() {
	for _, b := range w.flows.blocks {
		b.free = slices.DeleteFunc(b.free, func(offset uint16) bool {
			return w.flows.flows[b.base+flowID(offset)].state != unused
		})
	}
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
	w.noteOwn(&key)
	for i, n := range (flowTotals{packetsIn: f.PacketsIn, bytesIn: f.BytesIn, packetsOut: f.PacketsOut, bytesOut: f.BytesOut}) {
		w.flows.count(id, i, n)
	}
	if f.PacketsOut > 0 {
		w.flows.fromUpstream(id, w.now)
	}
	return true
}
