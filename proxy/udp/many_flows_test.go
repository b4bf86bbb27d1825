package udp

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// TestManyFlows opens 15,000 flows from one client socket to as many addresses and ports, and counts sockets and
// descriptors before and after.
func TestManyFlows(t *testing.T) {
	const flows = 15000
	r := newRig(t, flows, echoUpstream)
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	before := descriptors(t)
	c := listen(t, r.Client, "[::]:0")
	for first := 0; first < flows; first += 500 {
		waiting := make(map[netip.AddrPort]bool)
		for i := first; i < first+500; i++ {
			dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i % 16), byte(i)}), uint16(i+1))
			if i%2 == 1 {
				dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i)}), uint16(i+1))
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
	out := shell(t, r.Proxy, "cat", "/proc/net/udp", "/proc/net/udp6")
	if lines := strings.Count(out, "\n") - 2; lines != 2 {
		t.Errorf("%d UDP sockets, want 2:\n%s", lines, out)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}
