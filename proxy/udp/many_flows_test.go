package udp

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"anyport/conf"
)

// TestManyFlows opens 100,000 flows from one client socket to as many addresses and ports, and counts sockets and
// descriptors before and after.
func TestManyFlows(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) { testManyFlows(t, way) })
	}
}

func testManyFlows(t *testing.T, way transmitWay) {
	const flows = 100_000
	r := newRigBy(t, way, flows, echoUpstream)
	r.useAddresses(t, 6) // some ports to spare
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	before := descriptors(t)
	c := listen(t, r.Client, "[::]:0")
	for first := 0; first < flows; first += 500 {
		waiting := make(map[netip.AddrPort]bool)
		for i := first; i < first+500; i++ {
			port := uint16(i%50_000 + 1)
			dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i / 50_000), byte(i)}), port)
			if i%2 == 1 {
				dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i / 50_000)}), port)
			}
			waiting[dst] = true
			_, err := c.WriteToUDPAddrPort(fmt.Appendf(nil, "%v", dst), dst)
			must(t, err)
		}
		for len(waiting) > 0 {
			got, from := receive(t, c)
			if !waiting[from] || string(got) != from.String() {
				t.Fatalf("got %q from %v", got, from)
			}
			delete(waiting, from)
		}
	}
	if n := r.engine.Active(); n != flows {
		t.Errorf("%d flows, want %d", n, flows)
	}
	if after := descriptors(t); after > before+1 {
		t.Errorf("%d descriptors before and %d after, one of them the client's", before, after)
	}
	want := 2
	if way.opens {
		want = 4 // those that trains come from
	}
	out := shell(t, r.Proxy, "cat", "/proc/net/udp", "/proc/net/udp6")
	if lines := strings.Count(out, "\n") - 2; lines != want {
		t.Errorf("%d UDP sockets, want %d:\n%s", lines, want, out)
	}
}

// useAddresses has flows leave from n addresses towards the IPv4 upstream, each with natPorts.
func (r *rig) useAddresses(t *testing.T, n int) {
	t.Helper()
	var list []conf.UDPSource
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 2, 0, byte(100 + i)})
		must(t, r.Proxy.AddAddr("upstream0", netip.PrefixFrom(addr, 24)))
		r.sources(t, addr)
		list = append(list, conf.UDPSource{Addr: addr, Ports: natPorts})
	}
	r.engine.UseSources(list)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}
