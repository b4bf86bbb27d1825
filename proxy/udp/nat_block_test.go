package udp

import (
	"slices"
	"testing"
	"time"

	"anyport/conf/rule"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// TestShortOfPorts opens flows at a steady rate that the ports are only just enough for: once ports come back from
// quarantine, no flow is refused.
func TestShortOfPorts(t *testing.T) {
	const perTick = 20
	hold := evictFreshTicks + quarantineTicks + 1 // how long each flow has its port, and one tick of rounding
	w, routes := tableWorker(100_000, rule.PortRange{First: 1, Last: uint16(perTick * hold)}, time.Hour)
	refused := 0
	for i := range 200 * perTick {
		w.now = tick(i / perTick)
		w.flows.endQuarantines(w.now)
		if w.openAt(flowKey{client: sock.Addr{Port: uint16(i)}}, routes[0]) != noFlow {
			continue
		}
		if refused++; w.now > hold+quarantineTicks {
			t.Fatalf("flow %d was refused", i)
		}
	}
	if refused == 0 || routes[0].Stats.UDP[0].Ended[stats.Evicted].Load() == 0 {
		t.Error("there was no shortage")
	}
}

// TestPortsAreRandom takes all ports of a block twice: each once, and in orders that have little in common.
func TestPortsAreRandom(t *testing.T) {
	ranges := []rule.PortRange{{First: 100, Last: 599}, {First: 700, Last: 1199}}
	var orders [2][]uint16
	for i := range orders {
		b := newNATBlock(natAddr, rule.PortRange{First: 100, Last: 1199}, ranges)
		for id := b.take(); id != noFlow; id = b.take() {
			orders[i] = append(orders[i], b.port(id))
		}
		sorted := slices.Sorted(slices.Values(orders[i]))
		if len(slices.Compact(sorted)) != 1000 || sorted[0] != 100 || sorted[499] != 599 || sorted[500] != 700 {
			t.Fatalf("%d ports, from %d to %d", len(sorted), sorted[0], sorted[len(sorted)-1])
		}
	}
	same, ascents := 0, 0
	for i := 1; i < 1000; i++ {
		if orders[0][i] == orders[1][i] {
			same++
		}
		if orders[0][i] > orders[0][i-1] {
			ascents++
		}
	}
	// Of random orders 1 place is the same on average, and half are ascents with a deviation of 9.
	if same > 15 || ascents < 400 || ascents > 600 {
		t.Errorf("%d of 1000 places are the same, %d ascents", same, ascents)
	}
}
