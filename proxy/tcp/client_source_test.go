package tcp

import (
	"net/netip"
	"testing"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

var asClient = route.Route{ClientSource: true, Sources: pool[v4.name]}

// The upstream sees the client's own address and port. On the loopback interface, replies to it come here by themselves.
func TestClientSource(t *testing.T) {
	netlab.RequireRoot(t)
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			up := newServer(t, f.upstream)
			r := newRig(t, f, setup{route: asClient, upstreams: addrs(up)})
			for range 3 {
				client, upstream := r.through(up)
				if got, want := upstream.RemoteAddr().String(), client.LocalAddr().String(); got != want {
					t.Errorf("the upstream sees %s, the client is %s", got, want)
				}
				talk(client, upstream)
				client.rst()
				upstream.expectRST()
			}
			r.awaitEnded(stats.ClientReset, 3)
		})
	}
}

// Of several upstreams those of the client's family are tried; with none of them, there is no source.
func TestClientSourceOfOtherFamily(t *testing.T) {
	netlab.RequireRoot(t)
	for _, path := range paths[2:] {
		t.Run(path.name, func(t *testing.T) {
			other, same := newServer(t, path.upstream.upstream), newServer(t, path.client.upstream)
			r := newRig(t, path.client, setup{route: asClient, upstreams: addrs(other)})
			r.dialReset()
			r.awaitEnded(stats.NoSource, 1)
			r.redirect(other.addr, same.addr)
			for range 2 {
				client, upstream := r.through(same)
				client.rst()
				upstream.expectRST()
			}
			r.awaitEnded(stats.ClientReset, 2)
		})
	}
}

// The client that a PROXY header names is the one that the upstream sees, if it can be anybody's address.
func TestClientSourceFromHeader(t *testing.T) {
	netlab.RequireRoot(t)
	for _, c := range []struct {
		f             family
		named, absurd string
	}{
		{v4, "127.0.0.77:1023", "0.0.0.0:1023"},
		{v4, "127.0.0.77:1023", "224.0.0.1:1023"},
		{v6, "[" + pool[v6.name].V6[0].String() + "]:1023", "[::]:1023"},
		{v6, "[" + pool[v6.name].V6[0].String() + "]:1023", "[fd00:a::11]:0"},
	} {
		t.Run(c.absurd, func(t *testing.T) {
			up := newServer(t, c.f.upstream)
			rt := asClient
			rt.HeaderSenders = everybody
			r := newRig(t, c.f, setup{route: rt, upstreams: addrs(up)})
			dst := addr(netip.AddrPortFrom(c.f.served, 80).String())
			client := r.dial()
			client.write(string(appendHeader(nil, conf.ProxyV2, addr(c.named), dst)))
			upstream := up.accept()
			if got := upstream.RemoteAddr().String(); got != c.named {
				t.Errorf("the upstream sees %s, the header named %s", got, c.named)
			}
			talk(client, upstream)
			second := r.dial() // the address and port are taken towards this upstream
			second.write(string(appendHeader(nil, conf.ProxyV2, addr(c.named), dst)))
			second.expectRST()
			third := r.dial()
			third.write(string(appendHeader(nil, conf.ProxyV2, addr(c.absurd), dst)))
			third.expectRST()
			r.awaitEnded(stats.NoSource, 2)
			client.rst()
			upstream.expectRST()
		})
	}
}
