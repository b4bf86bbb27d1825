package udp

import (
	"fmt"
	"net"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// balanceDsts are a destination of each family, and two upstreams.
var balanceDsts = []struct{ dst, first, second string }{
	{"198.18.0.1:9", "10.2.0.2:7000", "10.2.0.2:7777"}, {"[2001:db8::1]:9", "[fd00:2::2]:7000", "[fd00:2::2]:7777"},
}

// TestFlowsByWeight opens flows to upstreams of weights 3 and 1, by each way of balancing.
func TestFlowsByWeight(t *testing.T) {
	for _, balance := range []conf.Balance{conf.RoundRobin, conf.LeastConn, conf.Maglev} {
		for _, f := range balanceDsts {
			t.Run(fmt.Sprintf("%s to %s", balance, f.dst), func(t *testing.T) {
				const flows = 200
				r := newRig(t, 1000)
				heavy := to(f.first)
				heavy.Weight = 3
				g := r.balanced(t, upstream.NewPool(nil), conf.Route{Upstreams: []conf.Upstream{heavy, to(f.second)}, Balance: balance})
				r.run(t)
				echo(t, listen(t, r.Upstream, f.first))
				echo(t, listen(t, r.Upstream, f.second))
				for range flows {
					exchange(t, dial(t, r.Client, f.dst), []byte("?"))
				}
				first, second := g.Endpoints()[0].Member().Active(), g.Endpoints()[1].Member().Active()
				slack := 0
				if balance == conf.Maglev {
					slack = 40 // it goes by a hash: six times the standard deviation
				}
				if first+second != flows || first < 3*flows/4-slack || first > 3*flows/4+slack {
					t.Errorf("%d and %d flows", first, second)
				}
			})
		}
	}
}

// TestFlowsByLoad has least_conn give new flows to the upstream whose flows have ended.
func TestFlowsByLoad(t *testing.T) {
	for _, f := range balanceDsts {
		r := newRig(t, 100)
		g := r.balanced(t, upstream.NewPool(nil), conf.Route{Upstreams: []conf.Upstream{to(f.first), to(f.second)}, Balance: conf.LeastConn})
		r.run(t)
		server := listen(t, r.Upstream, f.first)
		echo(t, listen(t, r.Upstream, f.second))
		echo(t, server)
		for range 10 {
			exchange(t, dial(t, r.Client, f.dst), []byte("?"))
		}
		first := g.Endpoints()[0].Member()
		must(t, server.Close()) // nobody listens any more: each flow there ends with its next datagram
		for range 10 {
			send(t, r, f.dst)
		}
		netlab.Eventually(t, "flows to be refused", func() bool { return r.ended("0", stats.UpstreamRefused) >= 5 })
		echo(t, listen(t, r.Upstream, f.first))
		before := g.Endpoints()[1].Member().Active()
		for range before - first.Active() {
			exchange(t, dial(t, r.Client, f.dst), []byte("!"))
		}
		if a, b := first.Active(), g.Endpoints()[1].Member().Active(); a != b {
			t.Errorf("%d and %d flows, want as many", a, b)
		}
	}
}

// TestEjectedComesBack ejects an upstream that refuses. Once its time is over it gets a flow on trial: the next failure
// ejects it at once, and an answer makes it one like any other.
func TestEjectedComesBack(t *testing.T) {
	t.Parallel()
	for _, f := range balanceDsts {
		r := newRig(t, 100)
		g := r.balanced(t, upstream.NewPool(nil), conf.Route{Upstreams: []conf.Upstream{to(f.first), to(f.second)},
			Balance: conf.RoundRobin, MaxFails: 2, FailTimeout: time.Second})
		r.run(t)
		echo(t, listen(t, r.Upstream, f.second))
		first := g.Endpoints()[0].Member()
		netlab.Eventually(t, "the ejection", func() bool { send(t, r, f.dst); return first.IsOut() })
		exchange(t, dial(t, r.Client, f.dst), []byte("?"))
		netlab.Eventually(t, "the end of the ejection", func() bool { return !first.IsOut() })
		send(t, r, f.dst)
		send(t, r, f.dst) // one of the two goes to the upstream on trial
		netlab.Eventually(t, "the ejection after one failure", first.IsOut)
		netlab.Eventually(t, "the end of the second ejection", func() bool { return !first.IsOut() })
		echo(t, listen(t, r.Upstream, f.first))
		var clients []*net.UDPConn
		for range 4 {
			clients = append(clients, dial(t, r.Client, f.dst))
			exchange(t, clients[len(clients)-1], []byte("!"))
		}
		if first.IsOut() || first.Active() < 2 {
			t.Errorf("the upstream answers, and has %d flows", first.Active())
		}
	}
}
