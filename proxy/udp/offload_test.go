package udp

import (
	"net/netip"
	"testing"
	"time"

	"anyport/conf/rule"
	"anyport/proxy/offload"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// kernel is an Offloader that a test plays the kernel of.
type kernel struct {
	flows map[uint32]*offload.Flow
	full  bool
}

func (k *kernel) Offer(f *offload.Flow) (uint32, bool) {
	if k.full {
		return 0, false
	}
	slot := uint32(len(k.flows)) // the first is 0
	k.flows[slot] = f
	return slot, true
}

func (k *kernel) Count(slot uint32, u offload.Usage) {
	f := k.flows[slot]
	f.PacketsIn += u.PacketsIn
	f.BytesIn += u.BytesIn
	f.PacketsOut += u.PacketsOut
	f.BytesOut += u.BytesOut
	f.Silent = 0
}

func (k *kernel) Usage(slot uint32) offload.Usage { return k.flows[slot].Usage }

func (k *kernel) Withdraw(slot uint32) offload.Usage {
	defer delete(k.flows, slot)
	return k.flows[slot].Usage
}

func (k *kernel) Adopt(keep func(uint32, *offload.Flow) bool) {
	for slot, f := range k.flows {
		if !keep(slot, f) {
			delete(k.flows, slot)
		}
	}
}

// offloadingWorker is tableWorker with one route, whose flows are offered after three datagrams.
func offloadingWorker(maxFlows int, ports rule.PortRange, idle time.Duration) (*worker, *route.Route, *kernel) {
	w, routes := tableWorker(maxFlows, ports, idle)
	k := &kernel{flows: make(map[uint32]*offload.Flow)}
	routes[0].OffloadAfter, routes[0].Upstreams = 3, anyGroup
	w.routes = new(route.Live)
	(&Engine{w: w}).UseOffloader(k)
	return w, routes[0], k
}

func (w *worker) openOffloaded(t *testing.T, key flowKey, r *route.Route) flowID {
	t.Helper()
	id := w.openAt(key, r)
	target := &w.flows.targets.list[w.flows.flows[id].target]
	target.offloadAfter = offloadAfter(r)
	for range 3 {
		w.flows.fromClient(id, w.now)
		w.countIn(id, target.shard, 1, 10)
	}
	if _, ok := w.flows.slot(id); !ok {
		t.Fatal("the flow was not offered")
	}
	return id
}

func (w *worker) passTime(d time.Duration) {
	w.sinceStart += d
	w.now = tickOf(w.sinceStart)
}

var somePorts = rule.PortRange{First: 100, Last: 199}

// TestOffered counts datagrams of a flow up to the one that it is offered at, alone and in trains.
func TestOffered(t *testing.T) {
	for _, c := range []struct {
		train, want int // datagrams at once, and in all when the flow is offered
	}{{1, 3}, {2, 4}, {10, 10}} {
		w, r, k := offloadingWorker(10, somePorts, time.Minute)
		id := w.openAt(flowKey{dst: sock.Addr{Port: 9}}, r)
		target := &w.flows.targets.list[w.flows.flows[id].target]
		target.offloadAfter = offloadAfter(r)
		r.MaxDatagram = 1400
		n := 0
		for len(k.flows) == 0 && n < 100 {
			w.countIn(id, target.shard, c.train, 100)
			n += c.train
		}
		if n != c.want || k.flows[0].PacketsIn != uint64(n) || k.flows[0].MaxDatagram != 1400 {
			t.Errorf("%d at once: offered after %d with %d, want %d", c.train, n, k.flows[0].PacketsIn, c.want)
		}
		w.countOut(id, target.shard, c.train, 7) // comes to the engine all the same
		k.Count(0, offload.Usage{PacketsIn: 5, BytesIn: 50, PacketsOut: 1, BytesOut: 2})
		w.endFlow(id, stats.IdleTimeout)
		shard := &r.Stats.UDP[0]
		if in, out := shard.PacketsIn.Load(), shard.PacketsOut.Load(); in != uint64(n+5) || out != uint64(c.train+1) {
			t.Errorf("%d datagrams in and %d out, want %d and %d", in, out, n+5, c.train+1)
		}
		if in, out := shard.BytesIn.Load(), shard.BytesOut.Load(); in != uint64(n/c.train*100+50) || out != 7+2 {
			t.Errorf("%d bytes in and %d out", in, out)
		}
		if len(k.flows) != 0 {
			t.Error("the flow has ended, and is not withdrawn")
		}
	}
}

// TestOfferedAgain has a flow refused at first.
func TestOfferedAgain(t *testing.T) {
	w, r, k := offloadingWorker(10, somePorts, time.Minute)
	k.full = true
	id := w.openAt(flowKey{}, r)
	target := &w.flows.targets.list[w.flows.flows[id].target]
	target.offloadAfter = offloadAfter(r)
	for n := range 2 * offerEvery {
		w.countIn(id, target.shard, 1, 1)
		if n == offerEvery/2 {
			k.full = false
		}
		if taken := len(k.flows) > 0; taken != (n+1 >= offerEvery) {
			t.Fatalf("taken after %d datagrams: %v", n+1, taken)
		}
	}
}

// TestEvictsIdleElsewhere has the flow that has been idle longest by what the engine has seen be busy elsewhere.
func TestEvictsIdleElsewhere(t *testing.T) {
	w, r, k := offloadingWorker(2, somePorts, time.Minute)
	busy := w.openOffloaded(t, flowKey{client: sock.Addr{Port: 1}}, r)
	w.passTime(time.Second)
	idle := w.openOffloaded(t, flowKey{client: sock.Addr{Port: 2}}, r)
	w.passTime(30 * time.Second)
	k.Count(0, offload.Usage{PacketsOut: 1})
	if !w.evict(scope{}) || w.flows.flows[idle].state.isOpen() || !w.flows.flows[busy].state.isOpen() {
		t.Error("the flow that is busy elsewhere was evicted")
	}
}

// TestSweepTakesTurns looks at more flows than one turn of the loop does.
func TestSweepTakesTurns(t *testing.T) {
	const flows = 2*sweepBatch + 100
	w, r, k := offloadingWorker(flows, rule.PortRange{First: 1, Last: flows}, time.Minute)
	var open []flowID
	for i := range uint16(flows) {
		open = append(open, w.openOffloaded(t, flowKey{client: sock.Addr{Port: i}}, r))
	}
	w.passTime(time.Second)
	for slot := range k.flows {
		k.Count(slot, offload.Usage{PacketsOut: 1})
	}
	turns := 1
	for w.sweep() {
		turns++
	}
	for _, id := range open {
		if w.flows.totals(id)[packetsOut] != 1 {
			t.Fatalf("%d turns of a sweep have left flow %d out", turns, id)
		}
	}
	if turns != 3 || w.sweep() || w.sweptAt != w.now {
		t.Errorf("a sweep over %d flows takes %d turns, and then begins again", flows, turns)
	}
}

// TestIdleElsewhere ends and evicts flows by what they have carried elsewhere, not by what the engine has seen.
func TestIdleElsewhere(t *testing.T) {
	w, r, k := offloadingWorker(2, somePorts, time.Minute)
	busy := w.openOffloaded(t, flowKey{client: sock.Addr{Port: 1}}, r)
	idle := w.openOffloaded(t, flowKey{client: sock.Addr{Port: 2}}, r)
	for range 30 {
		w.passTime(time.Second)
		k.Count(0, offload.Usage{PacketsOut: 1, BytesOut: 100})
		w.sweep()
	}
	if got := w.flows.totals(busy)[packetsOut]; got < 29 {
		t.Errorf("a sweep has seen %d datagrams of 30", got)
	}
	k.flows[1].Silent = 30 * time.Second
	if !w.evict(scope{}) || w.flows.flows[idle].state.isOpen() || !w.flows.flows[busy].state.isOpen() {
		t.Error("the flow that has been idle longest was not evicted")
	}
	w.passTime(2 * time.Minute)
	k.Count(0, offload.Usage{PacketsIn: 1})
	w.expire()
	if !w.flows.flows[busy].state.isOpen() {
		t.Error("a flow that is busy elsewhere has expired")
	}
	w.passTime(2 * time.Minute)
	k.flows[0].Silent = 2 * time.Minute
	w.expire()
	if w.flows.open != 0 || len(k.flows) != 0 {
		t.Error("an idle flow has not expired")
	}
}

// TestFollowRoutes takes offload from a route, and then the route.
func TestFollowRoutes(t *testing.T) {
	w, r, k := offloadingWorker(10, somePorts, time.Minute)
	e := &Engine{w: w}
	id := w.openOffloaded(t, flowKey{}, r)
	e.FollowRoutes(map[string]*route.Route{r.Name: r})
	if len(k.flows) != 1 {
		t.Error("a reload that changes nothing has withdrawn a flow")
	}
	e.FollowRoutes(map[string]*route.Route{r.Name: {Name: r.Name}})
	if len(k.flows) != 0 || !w.flows.flows[id].state.isOpen() {
		t.Error("a route without offload still has it, or has lost its flow")
	}
	e.FollowRoutes(nil)
	if w.flows.open != 0 || r.Stats.UDP[0].Ended[stats.RouteRemoved].Load() != 1 {
		t.Error("the flow of a route that has gone has not ended")
	}
}

// TestAdopt takes over a flow, and leaves others: of a route that has gone or does not want it, to an upstream that has
// gone, from a NAT port that is not ours or has a flow.
func TestAdopt(t *testing.T) {
	w, r, k := offloadingWorker(10, somePorts, time.Minute)
	flow := func(client, nat uint16) *offload.Flow {
		return &offload.Flow{Client: sock.Addr{Port: client}, NAT: sock.Addr{IP: natAddr.IP, Port: nat},
			Upstream: sock.AddrFrom(netip.MustParseAddrPort("10.2.0.2:7777")), Route: r.Name, Age: time.Hour,
			Usage: offload.Usage{PacketsIn: 7, BytesIn: 70, PacketsOut: 1}}
	}
	for i, nat := range []uint16{150, 99, 151, 152, 153} {
		k.flows[uint32(i)] = flow(uint16(i+1), nat)
	}
	k.flows[2].Route, k.flows[3].Upstream.Port, k.flows[4].Route = "gone", 7778, "off"
	r.MaxDatagram = 1300
	off := &route.Route{Name: "off", Upstreams: anyGroup, Stats: r.Stats}
	kept, refused := Adopt([]*Engine{{w: w}}, k, map[string]*route.Route{r.Name: r, off.Name: off})
	if kept != 1 || refused != 4 || len(k.flows) != 1 || w.flows.open != 1 {
		t.Fatalf("%d kept and %d refused, %d left", kept, refused, len(k.flows))
	}
	id := w.flows.find(&flowKey{client: sock.Addr{Port: 1}})
	if id == noFlow || w.flows.blocks[0].port(id) != 150 || w.flows.totals(id)[packetsIn] != 7 || k.flows[0].MaxDatagram != 1300 {
		t.Errorf("flow %d is adopted with %v", id, w.flows.totals(id))
	}
	k.flows[9] = flow(9, 150)
	if kept, _ = Adopt([]*Engine{{w: w}}, k, map[string]*route.Route{r.Name: r}); kept != 0 || len(k.flows) != 0 {
		t.Error("two flows have one NAT port")
	}
	for range int(somePorts.Last-somePorts.First) - 1 {
		if again := w.flows.blocks[0].take(); again == id || again == noFlow {
			t.Fatal("the flow's NAT port is free")
		}
	}
}
