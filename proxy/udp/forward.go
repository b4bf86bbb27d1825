package udp

import (
	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// fromClients forwards what waits on the clients' socket to upstreams, a batch of it, and returns how much that was.
func (w *worker) fromClients() (n int) {
	n, err := w.batch.Recv(w.clients)
	if err != nil {
		w.complain("receive from clients", err)
	}
	for i := range n {
		w.toUpstream(i)
	}
	w.raw.Flush()
	return n
}

func (w *worker) toUpstream(i int) {
	client, original, ok := w.addresses(i)
	if !ok {
		return
	}
	train := w.batch.Train(i)
	key := flowKey{client, original}
	id := w.flows.find(&key)
	if id == noFlow {
		if owner := w.shared.ownerOf(&key); owner != nil {
			w.strays = append(w.strays, stray{owner, key, i})
			return
		}
		if id = w.openFlow(&key); id == noFlow {
			w.dropAll(stats.DropNoFlow, train.Count())
			return
		}
	}
	w.flowToUpstream(id, &w.headers[i], train)
}

// flowToUpstream sends datagrams of a flow's client, for whose headers there is room.
func (w *worker) flowToUpstream(id flowID, room *[clientHeaderBytes]byte, train sock.Train) {
	for n := train.Count(); n > 0; {
		head := w.header(room, id)
		if head == nil {
			w.trainToUpstream(id, nil, train)
			return
		}
		var first []byte
		first, train = train.Cut()
		w.trainToUpstream(id, head, sock.Train{Bytes: first})
		n--
	}
}

// trainToUpstream sends datagrams of a flow's client, each behind head.
func (w *worker) trainToUpstream(id flowID, head []byte, train sock.Train) {
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	n := train.Count()
	if len(head)+train.Longest() > sock.MaxPayload(t.upstream) {
		w.dropAll(stats.DropTooBig, n)
		return
	}
	f.introduced = true
	w.flows.fromClient(id, w.now)
	w.countIn(id, t.shard, n, len(train.Bytes))
	src := sock.Addr{IP: t.key.block.addr.IP, Port: t.key.block.port(id)}
	dst := sock.Addr{IP: t.upstream.IP, Port: f.upstreamPort}
	w.send(&src, &dst, head, train)
}

// header returns what goes to the upstream before a datagram of a flow.
func (w *worker) header(room *[clientHeaderBytes]byte, id flowID) []byte {
	f := &w.flows.flows[id]
	kind := w.flows.targets.list[f.target].key.route.ProxyProtocol
	if kind == conf.ProxyNone || kind == conf.ProxyV2First && f.introduced {
		return nil
	}
	return appendClientHeader(room[:0], kind, &f.key)
}

// addresses returns where datagram i came from and where it was sent to, and false if it must be dropped.
func (w *worker) addresses(i int) (from, to sock.Addr, ok bool) {
	if w.batch.Truncated(i) {
		w.dropAll(stats.DropTruncated, w.batch.Train(i).Count())
		return from, to, false
	}
	if to, ok = w.batch.OriginalDst(i); !ok {
		w.drop(stats.DropNoDst)
	}
	return w.batch.Source(i), to, ok
}

// fromUpstreams forwards what waits on the replies' socket to clients, a batch of it, and returns how much that was.
func (w *worker) fromUpstreams() (n int) {
	n, err := w.batch.Recv(w.replies)
	if err != nil {
		w.complain("receive from upstreams", err)
	}
	for i := range n {
		w.toClient(i)
	}
	w.raw.Flush()
	return n
}

func (w *worker) toClient(i int) {
	upstream, nat, ok := w.addresses(i)
	if !ok {
		return
	}
	train := w.batch.Train(i)
	id := w.flows.findNAT(&nat)
	if id == noFlow || !w.isUpstream(id, &upstream) {
		w.dropAll(stats.DropStray, train.Count())
		return
	}
	f := &w.flows.flows[id]
	r := w.flows.targets.list[f.target].key.route
	if isTooLong(r.MaxDatagram, train) {
		w.warnUpstream(i, id, r.MaxDatagram)
	}
	if r.ProxyProtocol != conf.ProxySPP {
		w.trainToClient(id, train)
		return
	}
	for n := train.Count(); n > 0; n-- {
		var first []byte
		first, train = train.Cut()
		if first, ok = trimSPP(first, &f.key); !ok {
			w.drop(stats.DropBadHeader)
			continue
		}
		w.trainToClient(id, sock.Train{Bytes: first})
	}
}

// trainToClient sends datagrams of a flow's upstream.
func (w *worker) trainToClient(id flowID, train sock.Train) {
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	n := train.Count()
	if train.Longest() > sock.MaxPayload(f.key.client) {
		w.dropAll(stats.DropTooBig, n)
		return
	}
	if f.state == fresh {
		t.key.member.Connected()
	}
	w.flows.fromUpstream(id, w.now)
	w.countOut(id, t.shard, n, len(train.Bytes))
	if limit := t.key.route.MaxDatagram; isTooLong(limit, train) {
		w.sendCut(id, train, limit)
		return
	}
	w.send(&f.key.dst, &f.key.client, nil, train)
}

// send sends datagrams, each behind head: several as a train where the way out allows that, others one by one.
func (w *worker) send(src, dst *sock.Addr, head []byte, train sock.Train) {
	n := train.Count()
	if n > 1 && len(head) == 0 && w.trains != nil {
		w.raw.Flush() // what was before stays before
		sent := w.trains.Send(src, dst, train, w.sinceStart)
		if sent == n {
			return
		}
		train.Bytes = train.Bytes[sent*train.Size:]
		n -= sent
	}
	for ; n > 0; n-- {
		var first []byte
		first, train = train.Cut()
		w.raw.Queue(src, dst, head, first)
	}
}

// isUpstream reports whether a flow's upstream is at addr.
func (w *worker) isUpstream(id flowID, addr *sock.Addr) bool {
	f := &w.flows.flows[id]
	return f.upstreamPort == addr.Port && w.flows.targets.list[f.target].upstream.IP == addr.IP
}

func (w *worker) drop(why stats.Drop) { w.dropAll(why, 1) }

// dropAll counts n datagrams that are not forwarded.
func (w *worker) dropAll(why stats.Drop, n int) { w.registry.Drops[w.number].N[why].Add(uint64(n)) }
