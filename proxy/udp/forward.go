package udp

import (
	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// fromClients forwards what waits on the clients' socket to upstreams, a batch of it.
func (w *worker) fromClients() {
	n, err := w.batch.Recv(w.clients)
	if err != nil {
		w.complain("receive from clients", err)
	}
	for i := range n {
		w.toUpstream(i)
	}
	w.raw.Flush()
}

func (w *worker) toUpstream(i int) {
	client, original, ok := w.addresses(i)
	if !ok {
		return
	}
	key := flowKey{client, original}
	id := w.flows.find(&key)
	if id == noFlow {
		if id = w.openFlow(&key); id == noFlow {
			w.drop(stats.DropNoFlow)
			return
		}
	}
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	payload, head := w.batch.Payload(i), w.header(i, id)
	if len(head)+len(payload) > sock.MaxPayload(t.upstream) {
		w.drop(stats.DropTooBig)
		return
	}
	f.introduced = true
	w.flows.fromClient(id, w.now)
	w.countIn(id, t.shard, len(payload))
	src := sock.Addr{IP: t.key.block.addr.IP, Port: t.key.block.port(id)}
	dst := sock.Addr{IP: t.upstream.IP, Port: f.upstreamPort}
	w.raw.Queue(&src, &dst, head, payload)
}

// header returns what goes to the upstream before datagram i, which is of a flow.
func (w *worker) header(i int, id flowID) []byte {
	f := &w.flows.flows[id]
	kind := w.flows.targets.list[f.target].key.route.ProxyProtocol
	if kind == conf.ProxyNone || kind == conf.ProxyV2First && f.introduced {
		return nil
	}
	return appendClientHeader(w.headers[i][:0], kind, &f.key)
}

// addresses returns where datagram i came from and where it was sent to, and false if it must be dropped.
func (w *worker) addresses(i int) (from, to sock.Addr, ok bool) {
	if w.batch.Truncated(i) {
		w.drop(stats.DropTruncated)
		return from, to, false
	}
	if to, ok = w.batch.OriginalDst(i); !ok {
		w.drop(stats.DropNoDst)
	}
	return w.batch.Source(i), to, ok
}

// fromUpstreams forwards what waits on the replies' socket to clients, a batch of it.
func (w *worker) fromUpstreams() {
	n, err := w.batch.Recv(w.replies)
	if err != nil {
		w.complain("receive from upstreams", err)
	}
	for i := range n {
		w.toClient(i)
	}
	w.raw.Flush()
}

func (w *worker) toClient(i int) {
	upstream, nat, ok := w.addresses(i)
	if !ok {
		return
	}
	id := w.flows.findNAT(&nat)
	if id == noFlow || !w.isUpstream(id, &upstream) {
		w.drop(stats.DropStray)
		return
	}
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	payload := w.batch.Payload(i)
	if t.key.route.ProxyProtocol == conf.ProxySPP {
		if payload, ok = trimSPP(payload, &f.key); !ok {
			w.drop(stats.DropBadHeader)
			return
		}
	}
	if len(payload) > sock.MaxPayload(f.key.client) {
		w.drop(stats.DropTooBig)
		return
	}
	w.flows.fromUpstream(id, w.now)
	w.countOut(id, t.shard, len(payload))
	w.raw.Queue(&f.key.dst, &f.key.client, nil, payload)
}

// isUpstream reports whether a flow's upstream is at addr.
func (w *worker) isUpstream(id flowID, addr *sock.Addr) bool {
	f := &w.flows.flows[id]
	return f.upstreamPort == addr.Port && w.flows.targets.list[f.target].upstream.IP == addr.IP
}

func (w *worker) drop(why stats.Drop) { w.registry.Drops[w.number].N[why].Add(1) }
