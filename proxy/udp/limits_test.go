package udp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf/rule"
	"anyport/proxy/limit"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// clientKey returns the key of a flow of the n-th address and port.
func clientKey(addr, port int) flowKey {
	ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(addr)})
	return flowKey{client: sock.AddrFrom(netip.AddrPortFrom(ip, uint16(port)))}
}

// limitedWorker returns a worker with room for many flows, and a route with a limit of 2 beside one without.
func limitedWorker() (w *worker, limited, other *route.Route) {
	w, routes := tableWorker(100, rule.PortRange{First: 1, Last: 1000}, time.Hour, time.Hour+time.Second)
	routes[0].MaxFlows = 2
	return w, routes[0], routes[1]
}

func endedOf(r *route.Route, why stats.Reason) uint64 { return r.Stats.UDP[0].Ended[why].Load() }

// TestRouteLimit fills a route while a flow of another one has been idle for longer than any of its own.
func TestRouteLimit(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w, limited, other := limitedWorker()
		w.keepFlows = keep
		oldest := w.openAt(clientKey(1, 1), other)
		w.now++
		first := w.openAt(clientKey(1, 2), limited)
		w.openAt(clientKey(1, 3), limited)
		if w.openAt(clientKey(1, 4), limited) != noFlow || endedOf(limited, stats.RouteLimit) != 1 {
			t.Error("a flow made room that had not been idle")
		}
		w.now += evictFreshTicks
		opened := w.openAt(clientKey(1, 4), limited) != noFlow
		if opened == keep || w.flows.flows[first].state.isOpen() != keep {
			t.Errorf("keep %v: the new flow is open: %v", keep, opened)
		}
		if !w.flows.flows[oldest].state.isOpen() || limited.Stats.OpenUDP.Open() != 2 || other.Stats.OpenUDP.Open() != 1 {
			t.Errorf("%d and %d flows", limited.Stats.OpenUDP.Open(), other.Stats.OpenUDP.Open())
		}
		if w.openAt(clientKey(1, 5), other) == noFlow {
			t.Error("another route is limited as well")
		}
		w.endAll(stats.Drained)
		if limited.Stats.OpenUDP.Open() != 0 || other.Stats.OpenUDP.Open() != 0 {
			t.Error("flows are counted that have ended")
		}
	}
}

// TestLoweredLimit has a limit below what is open: each new flow is refused, and takes an idle one along, until there is
// room.
func TestLoweredLimit(t *testing.T) {
	w, limited, _ := limitedWorker()
	limited.MaxFlows = 5
	for i := range 5 {
		w.openAt(clientKey(1, i), limited)
	}
	w.now += evictFreshTicks
	limited.MaxFlows = 3
	for i, want := range []int{4, 3, 3} {
		opened := w.openAt(clientKey(2, i), limited) != noFlow
		if got := limited.Stats.OpenUDP.Open(); got != want || opened != (i == 2) || w.flows.open != want {
			t.Errorf("new flow %d is open: %v; %d flows, want %d", i, opened, got, want)
		}
	}
}

// TestTotalLimit fills the table under both policies.
func TestTotalLimit(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w, limited, other := limitedWorker()
		w.keepFlows, w.flows.max = keep, 3
		for i := range 3 {
			w.openAt(clientKey(1, i), other)
		}
		w.now += evictEstablishedTicks
		if opened := w.openAt(clientKey(1, 9), limited) != noFlow; opened == keep {
			t.Errorf("keep %v: the new flow is open: %v", keep, opened)
		}
		if got := endedOf(limited, stats.Limit); (got == 1) != keep || limited.Stats.OpenUDP.Open() != w.flows.open-other.Stats.OpenUDP.Open() {
			t.Errorf("keep %v: %d refused; %d flows of %d are counted", keep, got, limited.Stats.OpenUDP.Open(), w.flows.open)
		}
	}
}

// TestSourceLimit has a source at its limit: it evicts nobody's flow, and no other source is refused.
func TestSourceLimit(t *testing.T) {
	w, limited, other := limitedWorker()
	w.sources = limit.NewSources(2, 32, 64)
	ids := []flowID{w.openAt(clientKey(1, 1), other), w.openAt(clientKey(1, 2), limited)}
	w.now += evictEstablishedTicks
	if w.openAt(clientKey(1, 3), other) != noFlow || endedOf(other, stats.SourceLimit) != 1 {
		t.Error("the source has more flows than it may")
	}
	if w.openAt(clientKey(2, 1), other) == noFlow {
		t.Error("another source is refused")
	}
	w.endFlow(ids[0], stats.IdleTimeout)
	if w.openAt(clientKey(1, 3), limited) == noFlow {
		t.Error("a place that is free again is not given out")
	}
	// Refused by the route, and for want of a port, nothing may stay counted.
	w.flows.blocks[0].free = nil
	w.openAt(clientKey(3, 1), limited)
	w.openAt(clientKey(3, 1), other)
	w.endAll(stats.Drained)
	if n := w.sources.Networks(); n != 0 || endedOf(limited, stats.RouteLimit)+endedOf(other, stats.NoSource) == 0 {
		t.Errorf("%d sources are counted without a flow", n)
	}
}

// talk has every client exchange a datagram. Under a flood datagrams may be lost, as on any network.
func talk(t *testing.T, clients []*net.UDPConn) {
	t.Helper()
	for i, c := range clients {
		want := fmt.Appendf(nil, "%d", i)
		netlab.Eventually(t, "an established client to be answered", func() bool {
			_, err := c.Write(want)
			must(t, err)
			must(t, c.SetReadDeadline(time.Now().Add(time.Second)))
			buf := make([]byte, 10)
			n, err := c.Read(buf)
			if err == nil && !bytes.Equal(buf[:n], want) {
				t.Fatalf("client %d got %q", i, buf[:n])
			}
			return err == nil
		})
	}
}

// TestForgedFlood sends datagrams from random sources to an engine at its limit for some seconds, 20 times as many as it
// has room for. The flows of clients that talk must all be there afterwards.
func TestForgedFlood(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		const talking, room, forged = 60, 150, 3000
		r := newRig(t, room, spec{upstream: to("10.2.0.2:7777"), idle: time.Hour})
		r.engine.w.keepFlows = keep
		r.run(t)
		echo(t, listen(t, r.Upstream, "[::]:7777"))
		var clients []*net.UDPConn
		for i := range talking {
			clients = append(clients, dial(t, r.Client, icmpDsts[i%2]))
		}
		talk(t, clients)
		talk(t, clients) // a word after an answer: established
		before := r.establishedFlows()
		stop := make(chan struct{})
		go r.flood(t, forged, stop)
		for open := true; open; {
			talk(t, clients)
			select {
			case <-stop:
				open = false
			default:
			}
		}
		talk(t, clients)
		sum := stats.Sum(r.registry.Route("0").UDP)
		t.Logf("keep %v: %v", keep, sum.Ended)
		if sum.Ended["limit"] == 0 || (sum.Ended["evicted"] == 0) != keep {
			t.Errorf("keep %v: the flood did not get to the point: %v", keep, sum.Ended)
		}
		after := r.establishedFlows()
		for key, start := range before {
			if after[key] != start {
				t.Errorf("keep %v: the flow of %v has ended", keep, key.client.AddrPort())
			}
		}
		if len(before) != talking {
			t.Errorf("keep %v: %d clients were established, want %d", keep, len(before), talking)
		}
	}
}

// flood sends datagrams of random clients at some 1,000 a second, then closes done.
func (r *rig) flood(t *testing.T, n int, done chan<- struct{}) {
	defer close(done)
	err := r.Client.Do(func() error {
		raw, err := sock.OpenRawUDP(batchSize, func(error) {})
		if err != nil {
			return err
		}
		for i := range n {
			src := netip.AddrFrom4([4]byte{10, 1, 0, byte(3 + rand.IntN(250))})
			if i%2 == 1 {
				src = netip.AddrFrom16([16]byte{0xfd, 3: 1, 15: byte(3 + rand.IntN(250))})
			}
			from := sock.AddrFrom(netip.AddrPortFrom(src, uint16(1024+rand.IntN(60000))))
			dst := sock.AddrFrom(netip.MustParseAddrPort(icmpDsts[i%2]))
			raw.Queue(&from, &dst, nil, []byte("forged"))
			if i%10 == 9 {
				raw.Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}
		return raw.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

// establishedFlows returns when each established flow began.
func (r *rig) establishedFlows() map[flowKey]time.Duration {
	w := r.engine.w
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[flowKey]time.Duration)
	for i := range w.flows.flows {
		if f := &w.flows.flows[i]; f.state == established {
			all[f.key] = f.start
		}
	}
	return all
}
