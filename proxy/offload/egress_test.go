package offload

import (
	"net/netip"
	"testing"

	"anyport/proxy/sock"
)

// TestEgressCacheSpreads has flows send in turn whose ends differ in one thing each. Nearly all of them must be
// remembered: an answer of the routing tables is good for many trains.
func TestEgressCacheSpreads(t *testing.T) {
	const flows = 64
	at := func(a netip.Addr, more, port int) sock.Addr {
		ip := a.As16()
		ip[15] += byte(more)
		return sock.AddrFrom(netip.AddrPortFrom(netip.AddrFrom16(ip), uint16(port)))
	}
	here, there := netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("10.1.0.2")
	for name, ends := range map[string]func(i int) (src, dst sock.Addr){
		"NAT ports":            func(i int) (src, dst sock.Addr) { return at(here, 0, 10000+i), at(there, 0, 443) },
		"NAT ports afar":       func(i int) (src, dst sock.Addr) { return at(here, 0, 1024+1009*i), at(there, 0, 443) },
		"clients' ports":       func(i int) (src, dst sock.Addr) { return at(here, 0, 443), at(there, 0, 40000+i) },
		"clients":              func(i int) (src, dst sock.Addr) { return at(here, 0, 443), at(there, i, 40000) },
		"original ports":       func(i int) (src, dst sock.Addr) { return at(here, 0, 1+i), at(there, 0, 40000) },
		"clients, their ports": func(i int) (src, dst sock.Addr) { return at(here, 0, 443), at(there, i%8, 40000+i/8) },
	} {
		var c egressCache
		var err error
		if c.query, err = openRouteQuery(); err != nil {
			t.Fatal(err)
		}
		for range 2 * flows {
			for i := range flows {
				src, dst := ends(i)
				if e := c.find(&src, &dst, 0); e.src != src || e.dst != dst {
					t.Fatalf("%s: the way from %v to %v is that from %v to %v", name, src, dst, e.src, e.dst)
				}
			}
		}
		if n := int(c.query.sequence) / (2 * flows); n > flows/8 {
			t.Errorf("%s: %d of %d flows are asked for again each time", name, n, flows)
		}
		if err := c.query.close(); err != nil {
			t.Error(err)
		}
	}
}
