package udp

import (
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// TestNoAllocations forwards datagrams of an open flow both ways, without Run, on this goroutine.
func TestNoAllocations(t *testing.T) {
	r := newRig(t, 100, echoUpstream, spec{prefix: netlab.Prefix6, upstream: to("[fd00:2::2]:7777"), proxy: conf.ProxyV2})
	r.sources(t, netlab.ProxyUpstream4, netlab.ProxyUpstream6)
	w := r.engine.w
	for route, c := range []struct{ dst, upstream string }{
		{"198.18.0.1:9", "10.2.0.2:7777"}, {"[2001:db8::1]:9", "[fd00:2::2]:7777"},
	} {
		server, client := listen(t, r.Upstream, c.upstream), dial(t, r.Client, c.dst)
		_, err := client.Write([]byte("?"))
		must(t, err)
		netlab.Eventually(t, "the flow to open", func() bool {
			w.fromClients()
			return w.flows.open == route+1
		})
		_, nat := receive(t, server)
		send := func() {
			for range 3 {
				_, _ = client.Write([]byte("question"))
				_, _ = server.WriteToUDPAddrPort([]byte("answer"), nat)
			}
		}
		forward := func() {
			w.turn(nil)
			w.fromClients()
			w.fromUpstreams()
		}
		both := testing.AllocsPerRun(100, func() { send(); forward() })
		allocations := both - testing.AllocsPerRun(100, send) // package net allocates under the race detector
		shard := &r.registry.Route([]string{"0", "1"}[route]).UDP[0]
		if in, out := shard.PacketsIn.Load(), shard.PacketsOut.Load(); allocations > 0 || in < 300 || out < 300 {
			t.Errorf("%v allocations for 6 datagrams of %d in and %d out", allocations, in, out)
		}
	}
}

// TestNoAllocationsPerFlow opens and ends flows, among them the first and the last one of a target.
func TestNoAllocationsPerFlow(t *testing.T) {
	w, routes := tableWorker(100, rule.PortRange{First: 1, Last: 100}, time.Second)
	port := uint16(0)
	if n := testing.AllocsPerRun(1000, func() {
		port++
		id := w.openAt(flowKey{client: sock.Addr{Port: port}}, routes[0])
		if id == noFlow {
			t.Fatal("no flow")
		}
		w.endFlow(id, stats.IdleTimeout)
		w.now += quarantineTicks
		w.flows.endQuarantines(w.now)
	}); n > 0 {
		t.Errorf("%v allocations for a flow", n)
	}
}
