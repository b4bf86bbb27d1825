package udp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// TestMemory holds the package comment to its word.
func TestMemory(t *testing.T) {
	if size := unsafe.Sizeof(flow{}); size != 80 {
		t.Errorf("a flow takes %d bytes", size)
	}
	const flows = 100_000
	table := newFlowTable(flows)
	for i := range 2 {
		ports := rule.PortRange{First: 10000, Last: 10000 + flows/2 - 1}
		table.addBlock(sock.Addr{IP: [16]byte{15: byte(i)}}, ports, []rule.PortRange{ports})
	}
	total := len(table.index.entries)*int(unsafe.Sizeof(indexEntry{})) + cap(table.flows)*int(unsafe.Sizeof(flow{}))
	for _, b := range table.blocks {
		total += cap(b.free) * 2
	}
	if total > 9_300_000 || len(table.flows) != flows {
		t.Errorf("%d flows take %d bytes", len(table.flows), total)
	}
}

// tableWorker returns a worker that has a table and counters but no sockets, and one route of each idle timeout.
func tableWorker(maxFlows int, ports rule.PortRange, idle ...time.Duration) (*worker, []*route.Route) {
	w := &worker{registry: stats.NewRegistry(1), flows: newFlowTable(maxFlows), shared: NewShared()}
	w.shared.add(w)
	w.flows.addBlock(natAddr, ports, []rule.PortRange{ports})
	var routes []*route.Route
	for _, d := range idle {
		name := d.String()
		routes = append(routes, &route.Route{Name: name, UDPIdle: d, Stats: w.registry.Route(name)})
	}
	return w, routes
}

var (
	natAddr      = sock.AddrFrom(netip.MustParseAddrPort("10.2.0.1:0"))
	upstreamAddr = [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: 2, 15: 2}
	anyGroup     = upstream.NewGroup([]conf.Upstream{to("10.2.0.2:7777")}, conf.RoundRobin)
)

// openAt is what openFlow does once the route and the endpoint are known.
func (w *worker) openAt(key flowKey, r *route.Route) flowID {
	client := key.client.AddrPort().Addr()
	if why, ok := w.admit(r, client); !ok {
		return w.refuse(r.Stats, why)
	}
	id, block := w.takePort(&upstream.Endpoint{Addr: natAddr.AddrPort().Addr(), Source: natAddr.AddrPort().Addr()})
	if id == noFlow {
		w.dismiss(r, client)
		return w.refuse(r.Stats, stats.NoSource)
	}
	var choice upstream.Choice
	member := anyGroup.Next(&choice).Member()
	target := w.flows.targets.get(targetKey{r, member, upstreamAddr, block}, func(t *target) {
		t.shard = &r.Stats.UDP[0]
		t.class = w.flows.class(r, block)
	})
	w.flows.insert(id, flow{key: key, target: target, seen: w.now, start: w.sinceStart})
	r.Stats.UDP[0].Opened.Add(1)
	return id
}

// TestExpiry checks timeouts to the tick, in lists of several timeouts.
func TestExpiry(t *testing.T) {
	w, routes := tableWorker(100, rule.PortRange{First: 1, Last: 100}, 0, time.Second, 3*time.Second)
	key := func(i int) flowKey { return flowKey{client: sock.Addr{Port: uint16(i)}} }
	for i, r := range routes {
		w.openAt(key(i), r)
	}
	refreshed := w.openAt(key(3), routes[1])
	var alive []int
	for ; w.now < 20; w.now++ {
		if w.now == 2 {
			w.flows.fromUpstream(refreshed, w.now)
		}
		w.expire()
		alive = append(alive, w.flows.open)
	}
	// One second is 4 ticks and one for the rounding: at tick 5 the untouched flow ends, at 7 the refreshed one.
	want := []int{4, 4, 4, 4, 4, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1}
	if !slices.Equal(alive, want) {
		t.Errorf("flows by tick: %v\nwant          %v", alive, want)
	}
}

// TestExpiryInBatches ends more flows than one turn may.
func TestExpiryInBatches(t *testing.T) {
	w, routes := tableWorker(1000, rule.PortRange{First: 1, Last: 1000}, time.Second)
	for i := range 1000 {
		w.openAt(flowKey{client: sock.Addr{Port: uint16(i)}}, routes[0])
	}
	w.now += 100
	turns := 1
	for w.expire() {
		turns++
	}
	if w.flows.open != 0 || turns != 1000/expireBatch+1 {
		t.Errorf("%d flows are left after %d turns", w.flows.open, turns)
	}
}
