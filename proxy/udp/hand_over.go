package udp

import (
	"fmt"
	"io"
	"slices"
	"time"

	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// Export stops the engine and writes its flows and the NAT ports in quarantine, for the next engine to Import. What the
// sockets hold stays in them: a next engine that gets the same sockets, or others that everything is steered to before,
// loses no datagram. Run returns. The flows end here as HandedOver, without a line in the access log: the next engine
// will write it. If they cannot be written, they end as Drained.
//
// Flows that an Offloader has are taken back first.
func (e *Engine) Export(to io.Writer) error {
	if e.tell(func(w *worker) { w.stopping, w.exporting = true, true }) {
		<-e.stopped
	}
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := to.Write(w.save().encode()); err != nil {
		w.endAll(stats.Drained)
		return fmt.Errorf("export flows: %w", err)
	}
	w.endAll(stats.HandedOver)
	return nil
}

// save returns what there is to hand over.
func (w *worker) save() *savedTable {
	w.sinceStart = time.Since(w.started)
	w.now = tickOf(w.sinceStart)
	s := &savedTable{}
	for i := range w.flows.flows {
		if id := flowID(i); w.flows.flows[i].state.isOpen() {
			w.withdraw(id)
			s.flows = append(s.flows, w.saveFlow(id))
		}
	}
	slices.SortStableFunc(s.flows, func(a, b savedFlow) int { return int(b.idle - a.idle) })
	for id := w.flows.resting.head; id != noFlow; id = w.flows.flows[id].next {
		block := w.flows.blocks[w.flows.flows[id].target]
		s.ports = append(s.ports, savedPort{sock.Addr{IP: block.addr.IP, Port: block.port(id)}, w.since(id)})
	}
	return s
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

// Import takes over the flows that another engine has exported: those of current's routes, by name, whose upstream is
// still one of the route's and whose NAT port is one of ours. They go on as if nothing had happened. The others end, with
// a line in the access log that says why, and their ports rest, as do those that rested there. It is to be called between
// AddSource and Run. It returns ErrFlowsVersion or ErrFlowsDamaged, and has taken over nothing then.
func (e *Engine) Import(from io.Reader, current map[string]*route.Route) (kept, ended int, err error) {
	s, err := decodeFlows(from)
	if err != nil {
		return 0, 0, fmt.Errorf("import flows: %w", err)
	}
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sinceStart = time.Since(w.started)
	w.now = tickOf(w.sinceStart)
	for i := range s.ports {
		w.rest(&s.ports[i].nat, s.ports[i].rested)
	}
	for i := range s.flows {
		if why := w.restore(&s.flows[i], current[s.flows[i].route]); why != stats.Done {
			w.notRestored(&s.flows[i], why)
			ended++
			continue
		}
		kept++
	}
	w.flows.takeFree()
	return kept, ended, nil
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
