package udp

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/route"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// balanced puts one route in force whose upstreams a pool keeps.
func (r *rig) balanced(t *testing.T, pool *upstream.Pool, c conf.Route) *upstream.Group {
	t.Helper()
	c.Name = "0"
	var g *upstream.Group
	must(t, r.Proxy.Do(func() error {
		g = pool.Group(&c)
		g.Use(upstream.NewNames(nil, nil).Endpoints([]*upstream.Group{g})[0])
		return nil
	}))
	pool.Settle([]*upstream.Group{g}, nil)
	compiled, err := rule.Compile(rule.Set{
		Prefixes: []rule.Prefix{{Prefix: netlab.Prefix4}, {Prefix: netlab.Prefix6}},
		Rules:    []rule.Rule{{Name: "0", Protocol: rule.UDP, Verdict: rule.Steer, Fallback: rule.NoService}}})
	must(t, err)
	r.live.Swap(route.NewTable(compiled, []*route.Route{{Name: "0", Stats: r.registry.Route("0"), Upstreams: g}}))
	return g
}

// TestFlowsLeaveWhatIsOut ejects the first of two upstreams: its flows end, and their clients' next datagrams go to the
// second. The flows of a route whose upstreams are all out stay.
func TestFlowsLeaveWhatIsOut(t *testing.T) {
	for _, f := range []struct{ dst, first, second string }{
		{"198.18.0.1:9", "10.2.0.2:7000", "10.2.0.2:7777"}, {"[2001:db8::1]:9", "[fd00:2::2]:7000", "[fd00:2::2]:7777"},
	} {
		r := newRig(t, 100)
		pool := upstream.NewPool(nil)
		g := r.balanced(t, pool, conf.Route{Upstreams: []conf.Upstream{to(f.first), to(f.second)},
			Balance: conf.RoundRobin, MaxFails: 2, FailTimeout: time.Hour})
		r.run(t)
		echo(t, listen(t, r.Upstream, f.first))
		echo(t, listen(t, r.Upstream, f.second))
		var clients []*net.UDPConn
		for range 8 {
			clients = append(clients, dial(t, r.Client, f.dst))
			exchange(t, clients[len(clients)-1], []byte("?"))
		}
		first, second := g.Endpoints()[0].Member(), g.Endpoints()[1].Member()
		first.Failed(unix.ECONNREFUSED)
		first.Failed(unix.ECONNREFUSED)
		<-pool.Lost()
		r.engine.FollowUpstreams()
		if n := r.ended("0", stats.UpstreamDown); n != 4 || first.Active() != 0 || second.Active() != 4 {
			t.Errorf("%d flows ended, %d and %d are left; want 4, 0 and 4", n, first.Active(), second.Active())
		}
		for _, c := range clients {
			exchange(t, c, []byte("!"))
		}
		if first.Active() != 0 || second.Active() != 8 {
			t.Errorf("%d and %d flows, want all 8 at the second upstream", first.Active(), second.Active())
		}
	}
}

// TestICMPEjects has an upstream without anybody on its port: ICMP says so, and the client comes through with its next
// datagram.
func TestICMPEjects(t *testing.T) {
	for _, f := range []struct{ dst, refusing, works string }{
		{"198.18.0.1:9", "10.2.0.2:7000", "10.2.0.2:7777"}, {"[2001:db8::1]:9", "[fd00:2::2]:7000", "[fd00:2::2]:7777"},
	} {
		r := newRig(t, 100)
		backup := to(f.works)
		backup.Backup = true
		g := r.balanced(t, upstream.NewPool(nil), conf.Route{Upstreams: []conf.Upstream{to(f.refusing), backup},
			MaxFails: 2, FailTimeout: time.Hour})
		r.run(t)
		echo(t, listen(t, r.Upstream, f.works))
		for n := uint64(1); n <= 2; n++ {
			send(t, r, f.dst)
			netlab.Eventually(t, "the flow to end", func() bool { return r.ended("0", stats.UpstreamRefused) == n })
		}
		if !g.Endpoints()[0].Member().IsOut() {
			t.Error("two flows in a row were refused, and the upstream is not ejected")
		}
		exchange(t, dial(t, r.Client, f.dst), []byte("!"))
	}
}

// TestFlowsEndWithRemovedUpstream removes an upstream from a route that closes, and from one that does not.
func TestFlowsEndWithRemovedUpstream(t *testing.T) {
	for _, closes := range []bool{true, false} {
		r := newRig(t, 100)
		pool := upstream.NewPool(nil)
		two := conf.Route{Upstreams: []conf.Upstream{to("10.2.0.2:7000"), to("10.2.0.2:7777")}, Balance: conf.RoundRobin,
			CloseOnRemoval: closes}
		g := r.balanced(t, pool, two)
		r.run(t)
		echo(t, listen(t, r.Upstream, "10.2.0.2:7000"))
		echo(t, listen(t, r.Upstream, "10.2.0.2:7777"))
		first, second := dial(t, r.Client, "198.18.0.1:9"), dial(t, r.Client, "198.18.0.1:9")
		exchange(t, first, []byte("?"))
		exchange(t, second, []byte("?"))
		gone, stays := g.Endpoints()[0].Member(), g.Endpoints()[1].Member()
		if gone.Active() != 1 || stays.Active() != 1 {
			t.Fatalf("%d and %d flows, want one each", gone.Active(), stays.Active())
		}
		one := two
		one.Upstreams = two.Upstreams[1:]
		r.balanced(t, pool, one)
		r.engine.FollowUpstreams()
		want := uint64(0)
		if closes {
			want = 1
		}
		if n := r.ended("0", stats.UpstreamRemoved); n != want || gone.Active() != 1-int(want) || stays.Active() != 1 {
			t.Errorf("closes %v: %d flows ended, %d and %d are left", closes, n, gone.Active(), stays.Active())
		}
		exchange(t, first, []byte("!"))
		exchange(t, second, []byte("!"))
	}
}
