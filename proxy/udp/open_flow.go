package udp

import (
	"net/netip"

	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// openFlow begins a flow, or returns noFlow and counts why there is none.
func (w *worker) openFlow(key *flowKey) flowID {
	client, dst := key.client.AddrPort(), key.dst.AddrPort()
	r := w.routes.Lookup(rule.UDP, client.Addr(), dst)
	if r == nil {
		return w.refuse(w.registry.Unrouted, stats.NoRoute)
	}
	if w.draining {
		return w.refuse(r.Stats, stats.Drained)
	}
	if w.isEcho(key) {
		return w.refuse(r.Stats, stats.Loop)
	}
	choice := r.Upstreams.Begin(client, dst)
	e := r.Upstreams.Next(&choice)
	if e == nil {
		return w.refuse(r.Stats, stats.NoUpstream)
	}
	id, block, why := w.place(r, e, client.Addr())
	if id == noFlow {
		e.Member().Release()
		return w.refuse(r.Stats, why)
	}
	w.insertFlow(id, block, r, e, flow{key: *key, start: w.sinceStart, seen: w.now})
	w.noteOwn(key)
	return id
}

// place finds a place for a flow of a route and a client to an endpoint, or returns noFlow and why there is none.
func (w *worker) place(r *route.Route, e *upstream.Endpoint, client netip.Addr) (flowID, *natBlock, stats.Reason) {
	if w.routes.Serves(e.Addr) {
		return noFlow, nil, stats.Loop
	}
	if why, ok := w.admit(r, client); !ok {
		return noFlow, nil, why
	}
	id, block := w.takePort(e)
	if id == noFlow {
		w.dismiss(r, client)
	}
	return id, block, stats.NoSource
}

// isEcho reports whether a datagram is, or would become, our own answer to a client whose address is one of ours. IPv6
// lets a forged source in that is an address of the host, and its flow and that of the answers would feed each other
// for ever. A program of the host that is connected from such an address gets its answers before we see them.
func (w *worker) isEcho(key *flowKey) bool {
	return key.client == key.dst || w.shared.isOwn(&flowKey{client: key.dst, dst: key.client})
}

// noteOwn remembers a flow whose client has an address of ours, for isEcho.
func (w *worker) noteOwn(key *flowKey) {
	if w.routes.Serves(key.client.AddrPort().Addr()) {
		w.shared.addOwn(key)
	}
}

// refuse counts a flow that began and ended at once. It has no access log line: a flood of datagrams that nobody
// wants must not become a flood of lines.
func (w *worker) refuse(r *stats.Route, why stats.Reason) flowID {
	shard := &r.UDP[w.number]
	shard.Opened.Add(1)
	shard.Ended[why].Add(1)
	return noFlow
}

// takePort takes a NAT port towards an endpoint. Where ports run short, asking for one evicts a flow, whose port will be
// free when its quarantine is over: soon ports come back as fast as they are asked for.
func (w *worker) takePort(e *upstream.Endpoint) (flowID, *natBlock) {
	block := w.blockFor(e)
	if block == nil {
		return noFlow, nil
	}
	if block.short(w.now) {
		w.evict(scope{block: block})
	}
	return block.take(), block
}

// insertFlow makes the flow, which has been admitted. It takes over the claim on its endpoint.
func (w *worker) insertFlow(id flowID, block *natBlock, r *route.Route, e *upstream.Endpoint, f flow) {
	f.upstreamPort = e.Dial(f.key.dst.Port).Port()
	f.target = w.flows.targets.get(targetKey{r, e.Member(), e.Addr.As16(), block}, func(t *target) {
		t.shard = &r.Stats.UDP[w.number]
		t.class = w.flows.class(r, block)
		t.offloadAfter = offloadAfter(r)
	})
	w.flows.insert(id, f)
	w.flows.targets.list[f.target].shard.Opened.Add(1)
}
