package upstream

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"anyport/conf"
)

func literal(s string) conf.Upstream { return conf.Upstream{Addr: netip.MustParseAddr(s)} }

func literals(n int) []conf.Upstream {
	specs := make([]conf.Upstream, n)
	for i := range specs {
		specs[i] = literal(fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250))
	}
	return specs
}

func randomPair(rng *rand.Rand) (client, dst netip.AddrPort) {
	addr := func() netip.Addr {
		var b [16]byte
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16(b)
	}
	return netip.AddrPortFrom(addr(), uint16(rng.Uint32())), netip.AddrPortFrom(addr(), uint16(rng.Uint32()))
}

// first returns the endpoint that a new connection gets, with its claim given back.
func first(t *testing.T, g *Group, client, dst netip.AddrPort) *Endpoint {
	t.Helper()
	c := g.Begin(client, dst)
	e := g.Next(&c)
	if e == nil {
		t.Fatal("no endpoint")
	}
	e.Member().Release()
	return e
}

// attempts returns all endpoints that one connection gets.
func attempts(g *Group, client, dst netip.AddrPort) (list []string) {
	c := g.Begin(client, dst)
	for e := g.Next(&c); e != nil; e = g.Next(&c) {
		list = append(list, e.String())
		e.Member().Release()
	}
	return list
}

func TestDialPort(t *testing.T) {
	for _, c := range []struct {
		spec conf.Upstream
		want uint16
	}{
		{conf.Upstream{}, 4242},
		{conf.Upstream{Port: 80}, 80},
		{conf.Upstream{Offset: 1000}, 5242},
	} {
		c.spec.Addr = netip.MustParseAddr("::1")
		e := first(t, NewGroup([]conf.Upstream{c.spec}, conf.RoundRobin), netip.AddrPort{}, netip.AddrPort{})
		if want := netip.AddrPortFrom(c.spec.Addr, c.want); e.Dial(4242) != want {
			t.Errorf("%+v: dial %v, want %v", c.spec, e.Dial(4242), want)
		}
	}
}

func TestSourceIsTheRoutedOne(t *testing.T) {
	e := first(t, NewGroup([]conf.Upstream{literal("127.9.9.9")}, conf.Maglev), netip.AddrPort{}, netip.AddrPort{})
	if want := netip.MustParseAddr("127.0.0.1"); e.Source != want {
		t.Errorf("source towards 127.9.9.9 = %v, want %v", e.Source, want)
	}
}

func TestEmptyGroup(t *testing.T) {
	g := NewGroup([]conf.Upstream{{Name: "never.test"}}, conf.Maglev)
	if list := attempts(g, netip.AddrPort{}, netip.AddrPort{}); list != nil {
		t.Errorf("endpoints %v of a group without any", list)
	}
}

// Two names, or a name and an address, that lead to one place are one endpoint, with the options of the first.
func TestOnePlaceIsOneEndpoint(t *testing.T) {
	g := NewGroup([]conf.Upstream{{Name: "a.test", Port: 1, Weight: 3}, {Addr: netip.MustParseAddr("127.0.0.8"), Port: 1},
		{Addr: netip.MustParseAddr("127.0.0.8"), Port: 2}}, conf.RoundRobin)
	names := newTestNames()
	names.zone["a.test"] = Answer{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.8")}}
	if err := names.LookUp(t.Context(), []string{"a.test"}); err != nil {
		t.Fatal(err)
	}
	if fresh := names.Endpoints([]*Group{g})[0]; len(fresh) != 2 || fresh[0].weight() != 3 {
		t.Errorf("endpoints %v; want 127.0.0.8:1 of weight 3 and 127.0.0.8:2", fresh)
	}
}
