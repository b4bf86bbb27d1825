package udp

import (
	"net"
	"net/netip"
	"testing"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// TestStrayReplies sends datagrams to a flow's NAT port from others than its upstream, and to ports without a flow.
func TestStrayReplies(t *testing.T) {
	for _, c := range []struct{ upstream, dst, stranger, same string }{
		{"10.2.0.2:7777", "198.18.0.1:9", "10.2.0.3", "10.2.0.2"},
		{"[fd00:2::2]:7777", "[2001:db8::1]:9", "fd00:2::3", "fd00:2::2"},
	} {
		r := newRig(t, 100, spec{upstream: to(c.upstream)})
		r.run(t)
		stranger := netip.MustParseAddr(c.stranger)
		must(t, r.Upstream.AddAddr("proxy0", netip.PrefixFrom(stranger, stranger.BitLen()-8)))
		server := listen(t, r.Upstream, c.upstream)
		client := dial(t, r.Client, c.dst)
		_, err := client.Write([]byte("?"))
		must(t, err)
		_, nat := receive(t, server)

		otherPort := listen(t, r.Upstream, netip.AddrPortFrom(netip.MustParseAddr(c.same), 7778).String())
		otherAddr := listen(t, r.Upstream, netip.AddrPortFrom(stranger, 7777).String())
		for _, s := range []*net.UDPConn{otherPort, otherAddr} {
			_, err = s.WriteToUDPAddrPort([]byte("stray"), nat)
			must(t, err)
		}
		unused := netip.AddrPortFrom(nat.Addr(), natPorts.First+(nat.Port()-natPorts.First+1)%1000)
		_, err = server.WriteToUDPAddrPort([]byte("stray"), unused)
		must(t, err)
		netlab.Eventually(t, "three strays", func() bool { return r.dropped(stats.DropStray) == 3 })
		_, err = server.WriteToUDPAddrPort([]byte("answer"), nat)
		must(t, err)
		if got, _ := receive(t, client); string(got) != "answer" {
			t.Fatalf("the client got %q", got)
		}
	}
}
