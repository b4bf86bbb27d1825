package udp

import (
	"fmt"
	"io"
	"time"

	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// Export stops the engines of a proxy and writes their flows and the NAT ports in quarantine, for the engines of the next
// process to Import. What waits in the sockets is forwarded first; what comes later stays there. So no datagram is lost if
// the next engines get the same sockets, or others that everything is steered to before. Run returns. The flows end here
// as HandedOver, without a line in the access log: the next process will write it. If they cannot be written, they end as
// Drained.
//
// Flows that an Offloader has are taken back first.
func Export(engines []*Engine, to io.Writer) error {
	for _, e := range engines {
		e.halt()
	}
	var all savedTable
	for _, e := range engines {
		e.w.save(&all)
	}
	all.sort()
	why, err := stats.HandedOver, error(nil)
	if _, err = to.Write(all.encode()); err != nil {
		why, err = stats.Drained, fmt.Errorf("export flows: %w", err)
	}
	for _, e := range engines {
		e.w.mu.Lock()
		e.w.endAll(why)
		e.w.mu.Unlock()
	}
	return err
}

// lastBatches bounds what is forwarded at the end, more than the default buffers hold.
const lastBatches = 256

// halt stops an engine and leaves its flows as they are.
func (e *Engine) halt() {
	if e.tell(func(w *worker) { w.stopping, w.exporting = true, true }) {
		<-e.stopped
	}
	w := e.w
	for n, left := 1, lastBatches; n > 0 && left > 0; left-- {
		w.mu.Lock()
		w.readClock()
		n = w.fromUpstreams() + w.fromClients()
		w.mu.Unlock()
		w.passOn()
	}
}

// save adds what there is to hand over.
func (w *worker) save(s *savedTable) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readClock()
	for i := range w.flows.flows {
		if id := flowID(i); w.flows.flows[i].state.isOpen() {
			w.withdraw(id)
			s.flows = append(s.flows, w.saveFlow(id))
		}
	}
	for id := w.flows.resting.head; id != noFlow; id = w.flows.flows[id].next {
		block := w.flows.blocks[w.flows.flows[id].target]
		s.ports = append(s.ports, savedPort{sock.Addr{IP: block.addr.IP, Port: block.port(id)}, w.since(id)})
	}
}

// since returns how long ago a flow has carried its last datagram, or its port began to rest.
func (w *worker) since(id flowID) time.Duration {
	return time.Duration(w.now-w.flows.flows[id].seen) * tickLength
}

func (w *worker) saveFlow(id flowID) savedFlow {
	f := &w.flows.flows[id]
	return savedFlow{
		key:        f.key,
		nat:        w.natOf(id),
		upstream:   w.upstreamOf(id),
		route:      w.flows.targets.list[f.target].key.route.Name,
		state:      f.state,
		introduced: f.introduced,
		age:        w.sinceStart - f.start,
		idle:       w.since(id),
		totals:     w.flows.totals(id),
	}
}

// Import takes over the flows that the engines of another process have exported: those of current's routes, by name, whose
// upstream is still one of the route's and whose NAT port is one of an engine's. They go on as if nothing had happened. The
// others end, with a line in the access log that says why, and their ports rest, as do those that rested there. It is to be
// called between AddSource and Run. It returns ErrFlowsVersion or ErrFlowsDamaged, and has taken over nothing then.
func Import(engines []*Engine, from io.Reader, current map[string]*route.Route) (kept, ended int, err error) {
	s, err := decodeFlows(from)
	if err != nil {
		return 0, 0, fmt.Errorf("import flows: %w", err)
	}
	for _, e := range engines {
		e.w.mu.Lock()
		defer e.w.mu.Unlock()
		e.w.readClock()
	}
	for i := range s.ports {
		natOwner(engines, &s.ports[i].nat).rest(&s.ports[i].nat, s.ports[i].rested)
	}
	for i := range s.flows {
		f := &s.flows[i]
		w := natOwner(engines, &f.nat)
		if why := w.restore(f, current[f.route]); why != stats.Done {
			w.notRestored(f, why)
			ended++
			continue
		}
		kept++
	}
	for _, e := range engines {
		e.w.flows.takeFree()
	}
	return kept, ended, nil
}

// natOwner returns the worker that has a NAT port, or any if none has.
func natOwner(engines []*Engine, nat *sock.Addr) *worker {
	for _, e := range engines {
		if e.w.flows.ownerOf(e.w.flows.place(nat)) >= 0 {
			return e.w
		}
	}
	return engines[0].w
}

// restore opens a saved flow again, or says why it ends; Done means that it goes on.
func (w *worker) restore(f *savedFlow, r *route.Route) stats.Reason {
	if r == nil {
		return stats.RouteRemoved
	}
	id, why := w.reopen(&f.nat, &f.upstream, r, flow{key: f.key, introduced: f.introduced, start: w.sinceStart - f.age,
		seen: w.now - tick(f.idle/tickLength)})
	if id == noFlow {
		return why
	}
	for i, n := range f.totals {
		w.flows.count(id, i, n)
	}
	w.flows.setState(id, f.state)
	return stats.Done
}

// notRestored counts and logs a flow that ends with the process that it was opened in.
func (w *worker) notRestored(f *savedFlow, why stats.Reason) {
	w.refuse(w.registry.Route(f.route), why)
	w.record = stats.Record{
		Start:       w.started.Add(w.sinceStart - f.age),
		Duration:    f.age,
		Protocol:    "udp",
		Route:       f.route,
		Client:      f.key.client.AddrPort(),
		Destination: f.key.dst.AddrPort(),
		Upstream:    f.upstream.AddrPort(),
		PacketsIn:   f.totals[packetsIn],
		PacketsOut:  f.totals[packetsOut],
		BytesIn:     f.totals[bytesIn],
		BytesOut:    f.totals[bytesOut],
		Reason:      why,
	}
	w.accessLog.Log(&w.record)
	w.rest(&f.nat, 0)
}

// rest has a NAT port without a flow go on resting, if it is ours.
func (w *worker) rest(nat *sock.Addr, rested time.Duration) {
	id := w.flows.place(nat)
	block := w.flows.ownerOf(id)
	if block < 0 || w.flows.flows[id].state != unused {
		return
	}
	f := &w.flows.flows[id]
	f.state, f.seen, f.target = resting, w.now-tick(rested/tickLength), uint32(block)
	w.flows.resting.push(w.flows.flows, id)
}
