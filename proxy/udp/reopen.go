package udp

import (
	"slices"

	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// reopen opens a flow that another process had, at its NAT address and port, or returns noFlow and why it cannot go on.
// The free ports of blocks are the caller's to put right, by takeFree.
func (w *worker) reopen(nat, upstream *sock.Addr, r *route.Route, f flow) (flowID, stats.Reason) {
	id := w.flows.place(nat)
	owner := w.flows.ownerOf(id)
	if owner < 0 || w.flows.flows[id].state != unused || w.flows.find(&f.key) != noFlow {
		return noFlow, stats.NoSource
	}
	client := f.key.client.AddrPort().Addr()
	if why, ok := w.admit(r, client); !ok {
		return noFlow, why
	}
	e := r.Upstreams.Claim(upstream.AddrPort(), f.key.dst.Port)
	if e == nil {
		w.dismiss(r, client)
		return noFlow, stats.NoUpstream
	}
	w.insertFlow(id, w.flows.blocks[owner], r, e, f)
	w.noteOwn(&f.key)
	w.shared.addOwner(&f.key, w)
	return id, stats.Done
}

// ownerOf returns the number of the block that a place in the table belongs to, or -1.
func (t *flowTable) ownerOf(id flowID) int {
	return slices.IndexFunc(t.blocks, func(b *natBlock) bool { return b.owns(id) })
}

// takeFree takes the ports that flows have been reopened on, and those that rest, out of the free ones.
func (t *flowTable) takeFree() {
	for _, b := range t.blocks {
		b.free = slices.DeleteFunc(b.free, func(offset uint16) bool { return t.flows[b.base+flowID(offset)].state != unused })
	}
}

// setState gives an open flow the state that it had in another process.
func (t *flowTable) setState(id flowID, state flowState) {
	f := &t.flows[id]
	t.listOf(f).remove(t.flows, id)
	f.state = state
	t.listOf(f).push(t.flows, id)
}
