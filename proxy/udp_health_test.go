package proxy

import (
	"fmt"
	"net"
	"testing"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// TestUDPHealthCheck has the first of two upstreams fall silent, which only checks can find out: its flows end, their
// clients' next datagrams go to the second one, and once it answers again it gets its share of new flows.
func TestUDPHealthCheck(t *testing.T) {
	for _, f := range []struct{ name, dst, first, second string }{
		{"v4", "198.18.0.1:9", "127.0.0.2:7001", "127.0.0.2:7002"}, {"v6", "[2001:db8::1]:9", "[::1]:7001", "[::1]:7002"},
	} {
		t.Run(f.name, func(t *testing.T) {
			r := steeredWorkers(t, 2)
			first := newMirror(t, f.first)
			newMirror(t, f.second)
			must(t, r.put(workers(2)+home+fmt.Sprintf(`[[route]]
name = "all"
balance = "round_robin"
upstream = [%q, %q]
health_check = {type = "udp", interval = "100ms", timeout = "300ms", rise = 1, fall = 2, send = "alive?", expect = "alive?"}
`, f.first, f.second)))
			r.run(t.Context())
			clients := openFlows(t, f.dst, 8)
			wantActive(t, r, 4, 4)
			first.mute.Store(true)
			netlab.Eventually(t, "the silent upstream's flows to end", func() bool {
				return stats.Sum(r.Stats().Route("all").UDP).Ended[stats.UpstreamDown.String()] == 4
			})
			for _, c := range clients {
				wantSame(t, c, "again")
			}
			wantActive(t, r, 0, 8)
			first.mute.Store(false)
			netlab.Eventually(t, "the upstream to come back", func() bool {
				return r.Routes()[0].Upstreams[0].State == upstream.Up
			})
			openFlows(t, f.dst, 8)
			wantActive(t, r, 4, 12)
			r.stop()
		})
	}
}

// openFlows opens flows and has each answered.
func openFlows(t *testing.T, dst string, n int) (clients []net.Conn) {
	t.Helper()
	for range n {
		c := open(t, "udp", dst)
		wantSame(t, c, "hello")
		clients = append(clients, c)
	}
	return clients
}

// wantActive wants so many flows at a route's two upstreams.
func wantActive(t *testing.T, r *rig, first, second int) {
	t.Helper()
	list := r.Routes()[0].Upstreams
	if list[0].Active != first || list[1].Active != second {
		t.Errorf("%d and %d flows, want %d and %d", list[0].Active, list[1].Active, first, second)
	}
}
