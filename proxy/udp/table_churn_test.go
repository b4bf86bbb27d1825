package udp

import (
	"math/rand/v2"
	"testing"
	"time"

	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// TestChurn drives a table at its cap and compares every step with a map: no NAT port has two flows or comes back
// before its quarantine is over, flows are evicted in the order that evictable promises, and only after their timeout
// do they expire.
func TestChurn(t *testing.T) {
	ports := rule.PortRange{First: 20000, Last: 20000 + 149}
	w, routes := tableWorker(100, ports, 0, 2*time.Second, 15*time.Second)
	rnd := rand.New(rand.NewPCG(5, 6))
	o := &oracle{flows: make(map[flowKey]oracleFlow), ended: make(map[uint16]tick)}
	for range 50_000 {
		if rnd.IntN(100) == 0 {
			w.now += tick(rnd.IntN(30)) // bursts and pauses
		}
		w.expire()
		w.flows.endQuarantines(w.now)
		key := flowKey{client: sock.Addr{Port: uint16(rnd.IntN(150) + rnd.IntN(150))}, dst: sock.Addr{Port: 9}}
		o.forget(t, w, key)
		if id := w.flows.find(&key); id != noFlow {
			o.pass(t, w, key, id, rnd.IntN(2) == 0)
			continue
		}
		if _, ok := o.flows[key]; ok {
			t.Fatalf("flow %v is lost", key)
		}
		r := routes[rnd.IntN(len(routes))]
		id := w.openAt(key, r)
		o.forget(t, w, key)
		o.open(t, w, key, id, r)
	}
	var active uint64
	ended := make(map[string]uint64)
	for _, r := range routes {
		sum := stats.Sum(r.Stats.UDP)
		active += sum.Active
		for why, n := range sum.Ended {
			ended[why] += n
		}
	}
	if int(active) != w.flows.open || w.flows.open != len(o.flows) {
		t.Errorf("%d flows by the counters, %d by the table, %d by the oracle", active, w.flows.open, len(o.flows))
	}
	t.Log(ended)
	for _, why := range []stats.Reason{stats.Evicted, stats.Limit, stats.NoSource, stats.IdleTimeout} {
		if ended[why.String()] < 100 {
			t.Errorf("the test did not get to the point: %v", ended)
		}
	}
}

// oracle is what a flow table must be, as a map.
type oracle struct {
	flows map[flowKey]oracleFlow
	ended map[uint16]tick // when the last flow of a NAT port ended
}

type oracleFlow struct {
	id    flowID
	seen  tick
	idle  tick // 0: none
	state flowState
}

// pass lets a datagram of a flow pass.
func (o *oracle) pass(t *testing.T, w *worker, key flowKey, id flowID, fromClient bool) {
	t.Helper()
	f := o.flows[key]
	if f.id != id {
		t.Fatalf("flow %v is at %d, want %d", key, id, f.id)
	}
	f.seen = w.now
	if fromClient {
		w.flows.fromClient(id, w.now)
		if f.state == answered {
			f.state = established
		}
	} else {
		w.flows.fromUpstream(id, w.now)
		f.state = max(f.state, answered)
	}
	o.flows[key] = f
}

// forget takes out the flows that the table has ended, and checks that it might. Key is the one that a flow may just
// have been opened for.
func (o *oracle) forget(t *testing.T, w *worker, key flowKey) {
	t.Helper()
	evicted := map[bool]tick{}                             // by established: the youngest that was evicted
	left := map[bool]tick{false: ^tick(0), true: ^tick(0)} // the oldest that was not
	for k, f := range o.flows {
		isEstablished := f.state == established
		if s := w.flows.flows[f.id]; s.state.isOpen() && s.key == k {
			left[isEstablished] = min(left[isEstablished], f.seen)
			continue
		}
		if idle := w.now - f.seen; f.idle == 0 || idle < f.idle {
			least := evictFresh
			if isEstablished {
				least = evictEstablished
			}
			if time.Duration(idle-1)*tickLength < least {
				t.Fatalf("a flow of state %d was evicted after %d ticks", f.state, idle)
			}
			evicted[isEstablished] = max(evicted[isEstablished], f.seen)
		}
		o.ended[w.flows.blocks[0].port(f.id)] = w.now
		delete(o.flows, k)
	}
	for isEstablished, seen := range evicted {
		if seen > left[isEstablished] {
			t.Fatalf("a flow of tick %d was evicted before one of tick %d", seen, left[isEstablished])
		}
	}
	if _, ok := evicted[true]; ok && w.now-left[false] >= evictFreshTicks && left[false] <= w.now {
		t.Fatalf("an established flow was evicted before a fresh one of tick %d", left[false])
	}
}

// open notes a new flow, and checks that there may be one.
func (o *oracle) open(t *testing.T, w *worker, key flowKey, id flowID, r *route.Route) {
	t.Helper()
	if id == noFlow {
		return
	}
	port := w.flows.blocks[0].port(id)
	if when, ok := o.ended[port]; ok && time.Duration(w.now-when-1)*tickLength < quarantine {
		t.Fatalf("port %d came back after %d ticks", port, w.now-when)
	}
	for other, f := range o.flows {
		if f.id == id {
			t.Fatalf("flows %v and %v share NAT port %d", key, other, port)
		}
	}
	f := oracleFlow{id: id, seen: w.now, state: fresh}
	if r.UDPIdle > 0 {
		f.idle = ticksIn(r.UDPIdle)
	}
	o.flows[key] = f
	nat := sock.Addr{IP: natAddr.IP, Port: port}
	if got := w.flows.findNAT(&nat); got != id {
		t.Fatalf("NAT port %d leads to flow %d, want %d", port, got, id)
	}
}
