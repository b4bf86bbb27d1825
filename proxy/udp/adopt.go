package udp

import (
	"slices"

	"anyport/proxy/offload"
	"anyport/proxy/route"
)

// Leftover is flows that a process before this one has left with an Offloader. [offload.Table] is one.
type Leftover interface {
	// Adopt calls keep for each, and ends those that it returns false for. keep may change MaxDatagram.
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
		e.w.flows.takeFree()
	}
	return kept, refused
}

// adopt makes a flow of f, and reports whether it could. The free ports of blocks are the caller's to put right.
func (w *worker) adopt(slot uint32, f *offload.Flow, r *route.Route) bool {
	id, _ := w.reopen(&f.NAT, &f.Upstream, r, flow{key: flowKey{f.Client, f.Original}, introduced: true,
		start: w.sinceStart - f.Age, seen: w.now})
	if id == noFlow {
		return false
	}
	f.MaxDatagram = r.MaxDatagram // it may have been another route's
	w.flows.slots[id] = slot + 1
	for i, n := range (flowTotals{packetsIn: f.PacketsIn, bytesIn: f.BytesIn, packetsOut: f.PacketsOut, bytesOut: f.BytesOut}) {
		w.flows.count(id, i, n)
	}
	if f.PacketsOut > 0 {
		w.flows.fromUpstream(id, w.now)
	}
	return true
}
