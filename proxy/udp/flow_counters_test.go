package udp

import (
	"testing"
	"time"

	"anyport/conf/rule"
)

// TestCountersPast32Bits adds to the counters of a flow until they carry, and looks at those of the next flow of its
// NAT port.
func TestCountersPast32Bits(t *testing.T) {
	w, routes := tableWorker(10, rule.PortRange{First: 1, Last: 1}, time.Second)
	id := w.openAt(flowKey{}, routes[0])
	var want flowTotals
	for i := range 1000 {
		n := uint64(i) << 25
		want[bytesOut] += n
		w.flows.count(id, bytesOut, n)
		want[packetsIn]++
		w.flows.count(id, packetsIn, 1)
	}
	if got := w.flows.totals(id); got != want {
		t.Errorf("counters %v, want %v", got, want)
	}
	w.flows.remove(id, w.now)
	w.now += quarantineTicks
	w.flows.endQuarantines(w.now)
	if again := w.openAt(flowKey{}, routes[0]); again != id || w.flows.totals(id) != (flowTotals{}) {
		t.Errorf("flow %d begins with %v", again, w.flows.totals(again))
	}
}
