package proxy

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// limitedRig is a rig with four UDP workers and keys of the top level, whose upstream echoes.
func limitedRig(t *testing.T, keys, routes string) *rig {
	t.Helper()
	keys = workers(4) + keys
	r := steeredBy(t, keys)
	newMirror(t, "127.0.0.2:7001")
	must(t, r.put(keys+home+routes))
	r.run(t.Context())
	return r
}

// tryFlow sends a datagram from one address and a new port to another.
func tryFlow(t *testing.T, from, to string) {
	t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, "?")
	must(t, err)
}

// wantFlows waits until so many flows of a route have begun, and wants an exact number of them open and the others ended
// for one reason.
func (r *rig) wantFlows(route string, opened, open uint64, why stats.Reason) {
	r.t.Helper()
	var got stats.Totals
	netlab.Eventually(r.t, "the flows to be there or refused", func() bool {
		got = stats.Sum(r.Stats().Route(route).UDP)
		return got.Opened == opened
	})
	if got.Active != open || got.Ended[why.String()] != opened-open {
		r.t.Errorf("%s: %d flows are open, want %d; the others: %v", route, got.Active, open, got.Ended)
	}
}

// stop stops the server.
func (r *rig) stop() {
	r.t.Helper()
	must(r.t, r.Stop())
	r.wantReturned()
}

var flowDsts = []string{"198.18.0.1:9", "[2001:db8::1]:9"}

// TestUDPWorkersTotalLimit has the flows of all workers together reach max_flows, to the last one.
func TestUDPWorkersTotalLimit(t *testing.T) {
	const limit = 50
	r := limitedRig(t, "max_flows = 50\nat_max_flows = \"refuse\"\n", routeOf("all", "127.0.0.2:7001"))
	for i := range 4 * limit {
		tryFlow(t, []string{"127.0.0.1:0", "[::1]:0"}[i%2], flowDsts[i%2])
	}
	r.wantFlows("all", 4*limit, limit, stats.Limit)
	r.stop()
}

// TestUDPWorkersRouteLimit does the same with the limit of one of two routes.
func TestUDPWorkersRouteLimit(t *testing.T) {
	const limit = 30
	r := limitedRig(t, "at_max_flows = \"refuse\"\n", "[[route]]\nname = \"limited\"\nports = \"9\"\nupstream = [\"127.0.0.2:7001\"]\n"+
		"max_flows = 30\n"+routeOf("other", "127.0.0.2:7001"))
	for i := range 4 * limit {
		tryFlow(t, []string{"127.0.0.1:0", "[::1]:0"}[i%2], flowDsts[i%2])
		tryFlow(t, "127.0.0.1:0", "198.18.0.1:10")
	}
	r.wantFlows("limited", 4*limit, limit, stats.RouteLimit)
	r.wantFlows("other", 4*limit, 4*limit, stats.RouteLimit)
	r.stop()
}

// TestUDPWorkersSourceLimit has some sources open too many flows each.
func TestUDPWorkersSourceLimit(t *testing.T) {
	const sources, limit = 8, 5
	r := limitedRig(t, "max_flows_per_source = 5\n", routeOf("all", "127.0.0.2:7001"))
	for range 4 * limit {
		for i := range sources - 1 {
			tryFlow(t, fmt.Sprintf("127.0.1.%d:0", i+1), flowDsts[0])
		}
		tryFlow(t, "[::1]:0", flowDsts[1])
	}
	r.wantFlows("all", 4*limit*sources, limit*sources, stats.SourceLimit)
	r.stop()
}

// TestUDPWorkersEvict has flows make room, of the same worker or of another one that is not busy: few new ones, if any, are
// refused, and there are never more flows than allowed, and never fewer.
func TestUDPWorkersEvict(t *testing.T) {
	const limit = 80
	r := limitedRig(t, "max_flows = 80\n", routeOf("all", "127.0.0.2:7001"))
	for range limit {
		tryFlow(t, "127.0.0.1:0", flowDsts[0])
		tryFlow(t, "[::1]:0", flowDsts[1])
	}
	r.wantFlows("all", 2*limit, limit, stats.Limit)
	time.Sleep(1500 * time.Millisecond) // flows that have been idle for a second may go
	for range limit / 2 {
		tryFlow(t, "127.0.0.1:0", flowDsts[0])
		tryFlow(t, "[::1]:0", flowDsts[1])
	}
	var got stats.Totals
	netlab.Eventually(t, "the new flows", func() bool {
		got = stats.Sum(r.Stats().Route("all").UDP)
		return got.Opened == 3*limit
	})
	evicted, refused := got.Ended[stats.Evicted.String()], got.Ended[stats.Limit.String()]-limit
	if got.Active != limit || evicted+refused != limit || evicted < limit*3/4 {
		t.Errorf("%d flows are open; %d were evicted, %d refused", got.Active, evicted, refused)
	}
	r.stop()
}

// TestUDPWorkersChurn has 200 clients share 60 flows of four workers, and an upstream that answers up to two seconds late,
// when the flow may have made room for another: no client may get what is not its own.
func TestUDPWorkersChurn(t *testing.T) {
	const clients, rounds = 200, 2
	r := steeredBy(t, workers(4)+"max_flows = 60\n")
	lateMirror(t, "127.0.0.2:7001")
	must(t, r.put("udp_sources = [\"127.0.0.5:10000-10399\"]\n"+workers(4)+home+routeOf("all", "127.0.0.2:7001")))
	r.run(t.Context())
	var own, wrong atomic.Int64
	var readers sync.WaitGroup
	var conns []net.Conn
	for i := range clients {
		c := open(t, "udp", flowDsts[i%2])
		conns = append(conns, c)
		readers.Go(func() { countOwn(c, fmt.Sprint(i), &own, &wrong) })
	}
	for n := range clients * rounds {
		_, err := fmt.Fprint(conns[n%clients], n%clients)
		must(t, err)
		time.Sleep(10 * time.Millisecond)
	}
	for _, c := range conns {
		c.Close()
	}
	readers.Wait()
	totals := stats.Sum(r.Stats().Route("all").UDP)
	t.Logf("%d answers; flows: %v", own.Load(), totals)
	if wrong.Load() > 0 {
		t.Errorf("%d answers went to the wrong client", wrong.Load())
	}
	if own.Load() == 0 || totals.Ended[stats.Evicted.String()] == 0 || totals.Active > 60 {
		t.Error("the test did not get to the point")
	}
	r.stop()
}

// countOwn reads answers until the connection is closed.
func countOwn(c net.Conn, want string, own, wrong *atomic.Int64) {
	buf := make([]byte, 100)
	for {
		n, err := c.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil && string(buf[:n]) == want:
			own.Add(1)
		default:
			wrong.Add(1)
		}
	}
}

// lateMirror answers each datagram after a random time.
func lateMirror(t *testing.T, address string) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	must(t, err)
	var pending sync.WaitGroup
	pending.Go(func() {
		buf := make([]byte, 100)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed
			}
			answer := append([]byte(nil), buf[:n]...)
			pending.Add(1)
			time.AfterFunc(rand.N(2*time.Second), func() {
				defer pending.Done()
				_, _ = c.WriteToUDPAddrPort(answer, from)
			})
		}
	})
	t.Cleanup(func() { c.Close(); pending.Wait() })
}
