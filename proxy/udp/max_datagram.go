package udp

import (
	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// A route's max_datagram stands for the MTU of the ways to its clients, where a router's "packet too big" may reach another
// node of the anycast set than this one. What is longer leaves in packets that small, and its sender is told what a router
// would have told it, so that a sender that can will send shorter datagrams or fragments.

// isTooLong reports whether one of the datagrams, which have no header any more, is longer than a route wants to send.
func isTooLong(limit int, train sock.Train) bool { return limit > 0 && train.Longest() > limit }

// warnUpstream tells a flow's upstream that datagram i, the first of which has come whole, is longer than its route sends
// as one packet.
func (w *worker) warnUpstream(i int, id flowID, limit int) {
	if w.batch.Fragmented(i) {
		return
	}
	if !w.icmpBudget.spend(w.now) {
		w.countICMP(stats.ICMPLimited)
		return
	}
	first, _ := w.batch.Train(i).Cut()
	upstream, nat := w.upstreamOf(id), w.natOf(id)
	e := sock.TooBig(&upstream, &nat, first, limit+len(w.replyHeader(id)))
	w.tell(&e)
}

// sendCut sends datagrams to a client in packets for no more than limit bytes of content.
func (w *worker) sendCut(id flowID, train sock.Train, limit int) {
	f := &w.flows.flows[id]
	cut := &w.flows.targets.list[f.target].shard.PacketsCut
	for n := train.Count(); n > 0; n-- {
		var first []byte
		first, train = train.Cut()
		if len(first) > limit {
			cut.Add(1)
		}
		w.raw.QueueCut(&f.key.dst, &f.key.client, first, sock.PacketSize(&f.key.client, limit))
	}
}

// clientError acts on an error about a datagram that may have been sent to a client, and reports whether it was. The
// kernel has noted the path's MTU before, and cuts what follows; the upstream is told, as by a router.
func (w *worker) clientError(e *sock.ICMPError) bool {
	id := w.flows.find(&flowKey{client: e.Dst, dst: e.Src})
	if id == noFlow {
		return false
	}
	if e.Kind != sock.ICMPTooBig {
		return true
	}
	if !w.icmpBudget.spend(w.now) {
		w.countICMP(stats.ICMPLimited)
		return true
	}
	told, upstream, nat := *e, w.upstreamOf(id), w.natOf(id)
	told.Readdress(&upstream, &nat, nil, w.replyHeader(id))
	w.tell(&told)
	w.countICMP(stats.ICMPClientTooBig)
	return true
}

// replyHeader returns what goes before a flow's datagrams from its upstream.
func (w *worker) replyHeader(id flowID) []byte {
	f := &w.flows.flows[id]
	if w.flows.targets.list[f.target].key.route.ProxyProtocol != conf.ProxySPP {
		return nil
	}
	return appendSPP(make([]byte, 0, sppBytes), &f.key)
}

func (w *worker) upstreamOf(id flowID) sock.Addr {
	f := &w.flows.flows[id]
	return sock.Addr{IP: w.flows.targets.list[f.target].upstream.IP, Port: f.upstreamPort}
}

func (w *worker) natOf(id flowID) sock.Addr {
	block := w.flows.targets.list[w.flows.flows[id].target].key.block
	return sock.Addr{IP: block.addr.IP, Port: block.port(id)}
}
