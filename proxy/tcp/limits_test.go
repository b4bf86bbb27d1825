package tcp

import (
	"net"
	"net/netip"
	"testing"

	"anyport/bench/netlab"
	"anyport/proxy/limit"
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// Whichever limit is 2: two are served, the third is reset, and once one of the two has gone there is room again.
func TestLimits(t *testing.T) {
	tests := []struct {
		reason  stats.Reason
		route   route.Route
		options func(*Options)
	}{
		{reason: stats.Limit, options: func(o *Options) { o.MaxConnections = 2 }},
		{reason: stats.RouteLimit, route: route.Route{MaxConnections: 2}},
		{reason: stats.SourceLimit, options: func(o *Options) { o.Sources = limit.NewSources(2, 32, 64) }},
	}
	for _, f := range []family{v4, v6} {
		for _, test := range tests {
			t.Run(f.name+"/"+test.reason.String(), func(t *testing.T) {
				need(t, f)
				up := newServer(t, f.upstream)
				r := newRig(t, f, setup{route: test.route, upstreams: addrs(up), options: test.options})
				first, second := r.dial(), r.dial()
				up.accept()
				up.accept()
				r.dialReset()
				r.awaitEnded(test.reason, 1)
				first.rst()
				r.awaitEnded(stats.ClientReset, 1)
				third := r.dial()
				third.send(some)
				up.accept().expect(some)
				second.rst()
				r.awaitEnded(stats.ClientReset, 2)
			})
		}
	}
}

// One source at its limit keeps no other one out, nor do connections that another limit has refused count for it.
func TestSourceLimitIsEachSources(t *testing.T) {
	tests := []struct {
		f           family
		same, other string // addresses of the first client's source, and of another one
	}{
		{v4, "127.0.0.1", "127.0.0.9"},
		{v6, "fd00:a::4", "::1"},
	}
	for _, test := range tests {
		t.Run(test.f.name, func(t *testing.T) {
			need(t, test.f)
			up := newServer(t, test.f.upstream)
			sources := limit.NewSources(1, 32, 64)
			r := newRig(t, test.f, setup{upstreams: addrs(up), options: func(o *Options) { o.Sources = sources }})
			first := r.dialFrom(test.same)
			up.accept()
			r.dialReset()
			other := r.dialFrom(test.other)
			other.send(some)
			up.accept().expect(some)
			if n := sources.Networks(); n != 2 {
				t.Errorf("%d sources are counted, want 2", n)
			}
			first.rst()
			other.rst()
			r.awaitEnded(stats.ClientReset, 2)
			r.awaitEnded(stats.SourceLimit, 1)
			netlab.Eventually(t, "no source is counted", func() bool { return sources.Networks() == 0 })
		})
	}
}

// dialFrom connects a client from a source address.
func (r *rig) dialFrom(source string) *peer {
	r.t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))}
	c, err := d.Dial("tcp", r.addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, "client", c)
}

// A route's connections count on when a reload replaces it by one of the same name, under the new one's limit.
func TestRouteLimitOutlivesReload(t *testing.T) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{upstreams: addrs(up)})
	first := r.dial()
	up.accept()
	r.claim(&route.Route{Name: r.route.Name, Stats: r.route.Stats, MaxConnections: 1}, up.addr)
	r.dialReset()
	r.awaitEnded(stats.RouteLimit, 1)
	first.rst()
	r.awaitEnded(stats.ClientReset, 1)
	r.dial().rst()
	up.accept().expectRST()
	r.awaitEnded(stats.ClientReset, 2)
}
